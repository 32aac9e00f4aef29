"""A small catalogue of real titles, for tests of the search and of what people write."""

import polars as pl

from stages.serving.title_search import TitleSearch

# By movie_id, the most popular first.
TITLES = {
    50: "Star Wars (1977)",
    1: "Toy Story (1995)",
    127: "Godfather, The (1972)",
    77: "Theatre of Blood (1973)",
    187: "Godfather: Part II, The (1974)",
    183: "Alien (1979)",
    176: "Aliens (1986)",
    665: "Alien 3 (1992)",
    273: "Heat (1995)",
    656: "M (1931)",
    11: "Seven (Se7en) (1995)",
    172: "Empire Strikes Back, The (1980)",
    705: "Sabrina (1954)",
    274: "Sabrina (1995)",
    268: "Chasing Amy (1997)",
    246: "Chasing Amy (1997)",
    96: "Terminator 2: Judgment Day (1991)",
    195: "Terminator, The (1984)",
    7: "Twelve Monkeys (1995)",
    181: "Léon (1994)",
    70: "Four Weddings and a Funeral (1994)",
    71: "Full Metal Jacket (1987)",
    72: "Full Metal Racket (1988)",
    73: "Dead Heat (1988)",
    74: "300",
    300: "Twins (1988)",
    75: "id:9",
    28: "Apollo 13 (1995)",
}


def search_of(titles: dict[int, str], prefix: str = "") -> TitleSearch:
    """Return the search in `titles`, of which the first is the most popular.

    `prefix` is put before the movie_id in the raw ids.
    """
    ids = pl.Series(titles.keys(), dtype=pl.Int32)
    catalogue = pl.DataFrame({"movie_id": ids, "title": titles.values()}).with_columns(
        year=pl.col("title").str.extract(r"\((\d{4})\)$").cast(pl.Int16)
    )
    popularity = pl.DataFrame({"movie_id": ids, "positives": range(len(ids), 0, -1)})
    movie_ids = pl.DataFrame({"movie_id": ids, "raw_id": prefix + ids.cast(pl.String)})
    return TitleSearch(catalogue.sort("movie_id"), movie_ids, popularity)
