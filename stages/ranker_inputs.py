"""What the features of candidates are made of, the same to learn from and to order."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from stages.common.files import read_arrays
from stages.common.tables import CATALOGUE, DISLIKES, POPULARITY, RECOMMENDATIONS, read_table
from stages.feature_groups import Past
from stages.features import past
from stages.folds import folds


class Sources(NamedTuple):
    """Files, and folders of one file per fold, that features are computed from."""

    catalogue: Path
    genres: Path
    popularity: Path
    dislikes: Path
    train: Path
    val: Path
    histories: Path
    vectors: Path  # of a retriever
    item_knn: Path
    ease: Path


def pasts(sources: Sources, wanted: tuple[str, ...]) -> Iterator[tuple[str, pl.DataFrame, Past]]:
    """The `wanted` folds' names, histories, and all that may be known before their targets."""
    movies, flags = read_table(sources.catalogue, CATALOGUE), read_table(sources.genres)
    for fold, likings, before in folds(sources.train, sources.val, sources.histories, wanted):
        data = past(
            movies,
            flags,
            read_table(sources.popularity / f"{fold}.parquet", POPULARITY),
            likings,
            read_table(sources.dislikes / f"{fold}.parquet", DISLIKES),
            read_table(sources.vectors / fold / "movies.parquet"),
            read_table(sources.vectors / fold / "users.parquet").sort("user_id"),
            {m.name: read_arrays(m / f"{fold}.npz") for m in (sources.item_knn, sources.ease)},
        )
        yield fold, before, data


def as_pool(table: pl.DataFrame, generator: str) -> pl.DataFrame:
    """A single generator's RECOMMENDATIONS as a pool; a merged pool stays as it is."""
    if table.schema != RECOMMENDATIONS:
        return table
    named = table.rename({"score": f"score_{generator}", "rank": f"rank_{generator}"})
    return named.sort("user_id", "movie_id")
