"""The rows that people read: recommendations with titles, generators and explanations."""

import numpy as np
import polars as pl

from stages.common.tables import CATALOGUE, RECOMMENDATIONS
from stages.data.pairs import pair_keys

# RECOMMENDATIONS, with the columns that people read.
SERVED = pl.Schema(
    {
        **RECOMMENDATIONS,
        "title": pl.String,
        "genres": CATALOGUE["genres"],
        "generators": pl.List(pl.String),  # each with the movie's rank in its list
        "explanation_id": pl.Int32,  # a movie of the history, or null
        "explanation": pl.String,  # its title
    }
)


def served_rows(
    best: pl.DataFrame,
    merged: pl.DataFrame,
    explanations: pl.Series,
    catalogue: pl.DataFrame,
    generators: list[str],
) -> pl.DataFrame:
    """Return SERVED rows.

    Rows are taken by position: for one user, each join would take longer than all of this.

    Args:
        best: RECOMMENDATIONS.
        merged: The merged candidates that they come from, sorted by user and movie.
        explanations: `explanation_id` of each row of `best`.
        catalogue: CATALOGUE, sorted by movie.
        generators: Names, in the order of the merged candidates' columns.
    """

    def catalogue_rows(movies: pl.Series) -> np.ndarray:
        """Return the rows of movie_ids, and any row for null."""
        rows = np.searchsorted(catalogue["movie_id"].to_numpy(), movies.to_numpy())
        return rows.clip(max=catalogue.height - 1)

    merged_keys, keys = (
        pair_keys(table["user_id"].to_numpy(), table["movie_id"].to_numpy())
        for table in (merged, best)
    )
    rows = merged[np.searchsorted(merged_keys, keys)]
    ranks = [rows[f"rank_{name}"] for name in generators]
    movies = catalogue[catalogue_rows(best["movie_id"])].drop("movie_id")
    titles = catalogue["title"][catalogue_rows(explanations)].alias("explanation")
    entries = [
        pl.when(pl.col(f"rank_{name}").is_not_null()).then(pl.format(name + " {}", f"rank_{name}"))
        for name in generators
    ]
    computed = {
        "generators": pl.concat_list(entries).list.drop_nulls(),
        "explanation": pl.when(pl.col("explanation_id").is_not_null()).then("explanation"),
    }
    return pl.DataFrame([*best, *movies, *ranks, explanations, titles]).select(
        computed.get(name, pl.col(name)).cast(kind).alias(name) for name, kind in SERVED.items()
    )
