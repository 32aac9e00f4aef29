"""Split the genres of movies, which raw files write in many ways, into lists."""

import json
import re

import polars as pl

from stages.data.raw_text import MISSING

NO_GENRES = {*MISSING, "(no genres listed)", "unknown"}
SEPARATORS = "|;,/"
# Lists as Python and NumPy print them; JSON is parsed.
NAME = re.compile(r"""['"]name['"]\s*:\s*(['"])(.*?)\1""")
QUOTED = re.compile(r"""(['"])(.*?)\1""")
SPLIT = {"text": pl.String, "genres": pl.List(pl.String)}


def split_genres(genres: pl.Series, separators: str = SEPARATORS) -> pl.Series:
    """Return the genres of each movie as a list of text, empty if there are none.

    The separator is the one that most of the values contain. A value in brackets is a list of
    names, or of objects with a `name`; the genres of an object without one are its keys.

    Args:
        genres: One text or list of text per movie; null for none.
        separators: The choices. A blank and a slash count half, because a genre may have them in
            its name.
    """
    if isinstance(genres.dtype, pl.List):
        name = pl.element().str.strip_chars()
        return genres.list.eval(name.filter(~name.is_in(list(NO_GENRES)))).fill_null([])
    texts = genres.cast(pl.String)
    counts = {
        mark: texts.str.contains(mark, literal=True).sum() / (2 if mark in " /" else 1)
        for mark in separators
    }
    separator = max(separators, key=counts.__getitem__)
    distinct = texts.drop_nulls().unique()
    lists = [_split(text.strip(), separator) for text in distinct]
    split = pl.DataFrame({"text": distinct, "genres": lists}, schema=SPLIT)
    table = pl.DataFrame({"text": texts})
    return table.join(split, on="text", how="left", maintain_order="left")["genres"].fill_null([])


def _split(text: str, separator: str) -> list[str]:
    items = _items(text) if text[:1] + text[-1:] in ("[]", "{}") else text.split(separator)
    names = [item.strip() for item in items]
    return [name for name in names if name not in NO_GENRES]


def _items(text: str) -> list[str]:
    """Return the items of a list or an object in brackets."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        matches = NAME.findall(text) or QUOTED.findall(text)
        return [item for _, item in matches] or text[1:-1].split(",")
    if isinstance(value, dict) and "name" not in value:
        value = list(value)
    items = value if isinstance(value, list) else [value]
    return [str(i["name"] if isinstance(i, dict) and "name" in i else i) for i in items if i]
