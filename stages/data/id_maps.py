"""Map user ids and movie ids to int32: plain numbers stay as they are, other ids are numbered."""

import polars as pl

from stages.common.stage import StageError

LARGEST_ID = 2**31 - 1
IdMaps = dict[str, pl.DataFrame | None]  # by the name of the id column


def build_id_map(ids: pl.Series, more_ids: pl.Series) -> pl.DataFrame | None:
    """Return an id map, or None if all `ids` are plain numbers, which stay as they are.

    A plain number is a whole number from 0 to 2^31 - 1, written without leading zeros. If one id
    is anything else, the distinct ids are sorted by their bytes and numbered from 1, so the order
    of the rows does not matter. For example, the ids "tt7", "tt10", "tt7" give:

        raw_id  id
        tt10    1
        tt7     2

    Args:
        ids: Text or whole numbers. They decide whether a map is needed.
        more_ids: Ids of the same kind from another table, which get numbers as well.

    Returns:
        `raw_id` (text, sorted) and `id` (i64).
    """
    raw_ids = _clean_text(pl.DataFrame({"raw_id": ids.unique()}))
    number = pl.col("raw_id").cast(pl.Int64, strict=False)
    is_plain = number.is_between(0, LARGEST_ID) & (number.cast(pl.String) == pl.col("raw_id"))
    if raw_ids.select(is_plain.fill_null(False).all()).item():
        return None
    all_ids = pl.concat([raw_ids, _clean_text(pl.DataFrame({"raw_id": more_ids}))])
    id_map = all_ids.unique().sort("raw_id").with_row_index("id", offset=1)
    return id_map.select("raw_id", pl.col("id").cast(pl.Int64))


def _clean_text(ids: pl.DataFrame) -> pl.DataFrame:
    """Return `raw_id` as text without surrounding spaces, and without null and empty ids."""
    text = pl.col("raw_id").cast(pl.String).str.strip_chars()
    return ids.select(text).filter(pl.col("raw_id") != "")


def refuse_lookalikes(raw_ids: pl.Series, label: str, where: str) -> None:
    """Raise a StageError if two ids look the same.

    They differ in characters that nobody sees, such as a zero-width space, in the kind of blanks
    between words, or in how Unicode writes an accent. Zero-width joiners change what is seen.

    Args:
        raw_ids: Different ids, as text.
        label: `user` or `movie`, for messages.
        where: Path of the raw file, for messages.
    """
    looks = raw_ids.str.normalize("NFC").str.replace_all(r"[\p{Cf}\p{Cc}--\x{200C}\x{200D}]", "")
    looks = looks.str.replace_all(r"\s+", " ").str.strip_chars()
    is_twin = looks.is_duplicated()
    if is_twin.any():
        first = is_twin.arg_max()
        twins = raw_ids.filter(looks == looks[first])
        raise StageError(
            f"{where}: the {label} ids {twins[0]!a} and {twins[1]!a} look the same; "
            "write each id in one way"
        )


def apply_id_map(table: pl.DataFrame, id_maps: IdMaps) -> pl.DataFrame:
    """Return `table` with the columns named in `id_maps` as i64; null for an id without a number.

    Where a column has no map, its ids are parsed as plain numbers.
    """
    plain_numbers = {}
    for key, id_map in id_maps.items():
        text = pl.col(key).cast(pl.String).str.strip_chars()
        if id_map is None:
            plain_numbers[key] = text.cast(pl.Int64, strict=False)
            continue
        joined = table.with_columns(text).join(
            id_map, left_on=key, right_on="raw_id", how="left", maintain_order="left"
        )
        table = joined.with_columns(pl.col("id").alias(key)).drop("id")
    in_range = [pl.when(pl.col(key).is_between(0, LARGEST_ID)).then(key) for key in plain_numbers]
    return table.with_columns(**plain_numbers).with_columns(in_range)


def id_table(key: str, ids: pl.Series, id_map: pl.DataFrame | None) -> pl.DataFrame:
    """Return `key` (i32, sorted) and `raw_id` (text) for the distinct mapped `ids`."""
    table = pl.DataFrame({key: ids.unique().sort().cast(pl.Int32)})
    if id_map is None:
        return table.with_columns(raw_id=pl.col(key).cast(pl.String))
    raw_ids = id_map.select(pl.col("id").cast(pl.Int32).alias(key), "raw_id")
    return table.join(raw_ids, on=key, how="left", maintain_order="left")
