"""The ids that people write and read, which are those of the raw data, and the models' numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from stages.common.stage import StageError

USER_COLUMN = "user_id"
ID_PREFIX = "id:"  # before a movie's id, where a bare id could be a title as well
MAX_CHOICES = 5


def abbreviate(ids: list, limit: int = MAX_CHOICES) -> str:
    """Return the first ids as text in one line, and the number of the others."""
    texts = [text if text.isprintable() else repr(text) for text in map(str, ids[:limit])]
    rest = f" and {len(ids) - limit} more" if len(ids) > limit else ""
    return ", ".join(texts) + rest


def quote(text: str) -> str:
    """Return a text as messages of one line quote it."""
    return f'"{text}"' if text.isprintable() else repr(text)


def id_suffix(title: str, raw_id: str) -> str:
    """Return the raw id in square brackets, or nothing if it is the title, as without titles."""
    return "" if title == raw_id else f" [{raw_id}]"


def find_users(raw_ids: pl.Series, user_ids: pl.DataFrame) -> np.ndarray:
    """Return the user_id of each of `raw_ids`.

    Args:
        raw_ids: Ids of the raw data, as text.
        user_ids: user_id and raw_id.

    Raises:
        StageError: Some are not in the data.
    """
    users = pl.DataFrame({"raw_id": raw_ids}).join(
        user_ids, on="raw_id", how="left", maintain_order="left"
    )
    missing = users.filter(pl.col("user_id").is_null())["raw_id"].unique(maintain_order=True)
    if len(missing):
        names = abbreviate(missing.to_list())
        raise StageError(f"user {names}: not in the data; give others, or movies that you like")
    return users["user_id"].to_numpy()


@contextmanager
def report_unreadable(path: Path, content: str, form: str, other: str = "") -> Iterator[None]:
    """Turn the failures of reading a file into errors that a person can mend.

    Args:
        path: The file.
        content: What the file should hold.
        form: The remedy for a file of another form.
        other: The remedy for a missing file, if it is not `form`.

    Raises:
        StageError: The file is missing, empty or unreadable.
    """
    try:
        yield
    except FileNotFoundError:
        raise StageError(f"{path}: not found; {other or form}") from None
    except pl.exceptions.NoDataError:
        raise StageError(f"{path}: is empty; write {content} into it") from None
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise StageError(f"{path}: cannot be read ({reason}); {form}") from None


def read_raw_ids(path: Path) -> pl.Series:
    """Read users' raw ids: the column user_id of a csv file, or the lines of a text file.

    Blank lines are skipped.

    Raises:
        StageError: The file is missing, unreadable or without an id, or a line has several ids.
    """
    with report_unreadable(path, "users", "give csv or txt", "give a file of users, or `all`"):
        raw_ids = _read_csv(path) if path.suffix.lower() == ".csv" else _read_lines(path)
    raw_ids = raw_ids.filter(raw_ids != "")
    if not len(raw_ids):
        raise StageError(f"{path}: holds no user; write users into it")
    return raw_ids


def _read_csv(path: Path) -> pl.Series:
    table = pl.read_csv(path.read_bytes(), infer_schema=False)
    columns = [name for name in table.columns if name.partition("_duplicated_")[0] == USER_COLUMN]
    if not columns:
        raise StageError(f"{path}: has no column {USER_COLUMN}; rename the column of the ids")
    if len(columns) > 1:
        raise StageError(f"{path}: has {len(columns)} columns {USER_COLUMN}; rename the others")
    raw_ids = table[USER_COLUMN].str.strip_chars().fill_null("")
    others = table.drop(USER_COLUMN).select(pl.any_horizontal(pl.all().is_not_null()))
    if table.width > 1 and (others.to_series() & (raw_ids == "")).any():
        raise StageError(f"{path}: has a row without {USER_COLUMN}; write it, or delete the row")
    return raw_ids


def _read_lines(path: Path) -> pl.Series:
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    if not lines:
        raise StageError(f"{path}: is empty; write users into it")
    for number, line in enumerate(lines, start=1):
        if "," in line:
            cure = f"write one id a line, or a csv with a column {USER_COLUMN}"
            raise StageError(f"{path}: line {number} has several ids, {line!r}; {cure}")
    return pl.Series(lines, dtype=pl.String)


def to_raw_ids(numbers: pl.Series, ids: pl.DataFrame) -> pl.Series:
    """Return the raw ids of the models' numbers.

    Ids that are plain numbers in the raw data are the models' numbers already; others become text.

    Args:
        numbers: Numbers that `ids` has, or null.
        ids: The numbers and raw_id.
    """
    all_numbers, raw_ids = ids.select(pl.exclude("raw_id")).to_series(), ids["raw_id"]
    if raw_ids.equals(all_numbers.cast(pl.String)):
        return numbers
    return numbers.replace_strict(all_numbers, raw_ids, return_dtype=pl.String)


def with_raw_ids(
    table: pl.DataFrame, user_ids: pl.DataFrame, movie_ids: pl.DataFrame
) -> pl.DataFrame:
    """Return rows with the users' and movies' raw ids, as `to_raw_ids` does.

    Args:
        table: SERVED, or some of its columns.
        user_ids: user_id and raw_id.
        movie_ids: movie_id and raw_id.
    """
    maps = {"user_id": user_ids, "movie_id": movie_ids, "explanation_id": movie_ids}
    columns = [to_raw_ids(table[name], ids) for name, ids in maps.items() if name in table.columns]
    return table.with_columns(columns)
