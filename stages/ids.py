"""Users and movies as int32 numbers: plain numbers stay as they are, other ids get new ones."""

import polars as pl

LARGEST_ID = 2**31 - 1


def numbering(ids: pl.Series, more: pl.Series) -> pl.DataFrame | None:
    """A number for each id; None if every one of `ids` is a plain number and can stay.

    A plain number is a whole one from 0 to 2^31 - 1, written without zeros in front. Otherwise
    the distinct ids are sorted by their bytes and numbered from 1, whatever their order of rows.

    Args:
        ids: Text or whole numbers, which decide.
        more: Ids of the same things from another table, to be numbered too.

    Returns:
        `original` (text, sorted) and `number` (i64).
    """
    known = _text(pl.DataFrame({"original": ids.unique()}))
    number = pl.col("original").cast(pl.Int64, strict=False)
    plain = number.is_between(0, LARGEST_ID) & (number.cast(pl.String) == pl.col("original"))
    if known.select(plain.fill_null(False).all()).item():
        return None
    both = pl.concat([known, _text(pl.DataFrame({"original": more}))])
    table = both.unique().sort("original").with_row_index("number", offset=1)
    return table.select("original", pl.col("number").cast(pl.Int64))


def _text(ids: pl.DataFrame) -> pl.DataFrame:
    """The ids that are there, as text without spaces around it."""
    text = pl.col("original").cast(pl.String).str.strip_chars()
    return ids.select(text).filter(pl.col("original") != "")


def renumber(table: pl.DataFrame, numbers: dict[str, pl.DataFrame | None]) -> pl.DataFrame:
    """`table` with the columns named in `numbers` as i64; null where an id has no number."""
    plain = {}
    for key, known in numbers.items():
        text = pl.col(key).cast(pl.String).str.strip_chars()
        if known is None:
            plain[key] = text.cast(pl.Int64, strict=False)
            continue
        joined = table.with_columns(text).join(
            known, left_on=key, right_on="original", how="left", maintain_order="left"
        )
        table = joined.with_columns(pl.col("number").alias(key)).drop("number")
    inside = [pl.when(pl.col(key).is_between(0, LARGEST_ID)).then(key) for key in plain]
    return table.with_columns(**plain).with_columns(inside)


def id_table(key: str, used: pl.Series, numbers: pl.DataFrame | None) -> pl.DataFrame:
    """`key` (i32, sorted) and `original` (text) of the distinct `used` numbers."""
    table = pl.DataFrame({key: used.unique().sort().cast(pl.Int32)})
    if numbers is None:
        return table.with_columns(original=pl.col(key).cast(pl.String))
    named = numbers.select(pl.col("number").cast(pl.Int32).alias(key), "original")
    return table.join(named, on=key, how="left", maintain_order="left")
