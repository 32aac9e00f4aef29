"""The names of movies, in a form in which the ways of typing them are equal.

"Godfather, The (1972)", "the godfather" and "GODFATHER, THE" have one key, "the godfather". "Seven
(Se7en) (1995)" has two names, whose keys are "7" and "se7en".
"""

import polars as pl

# Articles that some catalogues write behind the title, as in "Enfer, L'".
ARTICLES = (
    "the|a|an|le|la|les|l'|un|une|des|el|los|las|lo|il|gli|i|uno|una|der|die|das|ein|eine|"
    "den|det|de|het|een|en|ett|os|as|o|um|uma"
)
ARTICLE_AT_END = rf"^(.*\S), ?({ARTICLES})$"
YEAR_AT_END = r"\s*\((\d{4})\)\s*$"
YEAR_TYPED = r"^(.*\S)(?:\s*\(|[\s,]\s*)((?:18|19|20|21)\d\d)\)?$"
ALIASES_AT_END = r"((?:\s*\([^()]*\))+)\s*$"
APOSTROPHES = "['`\u2018\u2019\u00b4]"
# Characters that Unicode does not take apart into plain letters and digits.
LETTERS = {
    "ß": "ss",
    "æ": "ae",
    "œ": "oe",
    "ø": "o",
    "ł": "l",
    "đ": "d",
    "ð": "d",
    "þ": "th",
    "\u0131": "i",
    "½": " 1/2",
    "&": " and ",
}
# "i", "v" and "x" are words and letters as often as numbers.
ROMAN = {"ii": 2, "iii": 3, "iv": 4, "vi": 6, "vii": 7, "viii": 8, "ix": 9}
WORDS = {
    **{"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6},
    **{"seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12},
}


def make_words(names: pl.Series) -> pl.Series:
    """Return `names` in lower case, with plain letters, digits and single spaces only.

    An article at the end moves to the front. A name without a letter or a digit, such as "$", keeps
    its characters.
    """
    texts = names.str.strip_chars().str.to_lowercase().str.replace(ARTICLE_AT_END, "$2 $1")
    texts = texts.str.replace_all(APOSTROPHES, "")
    texts = texts.str.replace_many(list(LETTERS), list(LETTERS.values()))
    texts = texts.str.normalize("NFKD").str.replace_all(r"\p{M}", "")
    words = texts.str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars().alias("words")
    return words.to_frame().select(pl.when(words != "").then("words").otherwise(texts)).to_series()


def make_keys(names: pl.Series) -> pl.Series:
    """Return the words of `names`, with digits for Roman numerals and for the words of numbers."""
    keys = make_words(names)
    for word, number in (ROMAN | WORDS).items():
        keys = keys.str.replace_all(rf"\b{word}\b", str(number))
    return keys


def join_words(keys: pl.Series) -> pl.Series:
    """Return keys without spaces, so that "starwars" and "star wars" are equal."""
    return keys.str.replace_all(" ", "")


def drop_article(keys: pl.Series) -> pl.Series:
    """Return keys without an English article at the front."""
    return keys.str.replace(r"^(?:the|an?) ", "")


def split_years(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return the titles and the years of texts like "Heat (1995)", "Heat, 1995" or "Heat 1995".

    The year is null where a text ends with none, or is nothing else.
    """
    parts = texts.str.strip_chars().str.extract_groups(YEAR_TYPED).struct.unnest()
    years = parts["2"].cast(pl.Int32)
    titles = parts["1"].str.strip_chars(", ").fill_null(texts)
    return titles, years


def movie_names(titles: pl.Series) -> pl.DataFrame:
    """Return every name of every title.

    A title's names are the whole of it, what is before the names in brackets at its end, and each
    of these; a year in brackets at the end belongs to none of them.

    Returns:
        `index` in `titles`; `key`; `joined`, the key without spaces; `core`, also without an
        English article. Sorted by index, the whole title first.
    """
    whole = titles.str.replace(YEAR_AT_END, "")
    main = whole.str.replace(ALIASES_AT_END, "")
    aliases = whole.str.extract(ALIASES_AT_END, 1).str.extract_all(r"\(([^()]*)\)")
    names = pl.DataFrame({"whole": whole, "main": main, "alias": aliases}).with_row_index()
    alias = pl.col("alias").str.strip_chars("()").str.replace(r"(?i)^a\.? ?k\.? ?a\.? ", "")
    names = pl.concat(
        [
            names.select("index", name="whole"),
            names.select("index", name="main"),
            names.select("index", "alias").explode("alias").select("index", name=alias),
        ]
    ).filter(pl.col("name").str.strip_chars() != "")
    keys = make_keys(names["name"])
    return (
        names.select(
            "index", key=keys, joined=join_words(keys), core=join_words(drop_article(keys))
        )
        .unique(["index", "key"], keep="first", maintain_order=True)
        .sort("index", maintain_order=True)
    )
