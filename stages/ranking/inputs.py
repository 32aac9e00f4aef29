"""Read what the features of a snapshot are computed from, for training and for reranking."""

import dataclasses
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import Field

from stages.common.files import read_arrays
from stages.common.params import Section
from stages.common.systems import block_names, refuse_leftovers
from stages.common.tables import (
    CATALOGUE,
    POPULARITY,
    RECOMMENDATIONS,
    read_table,
)
from stages.data.snapshots import read_histories, read_positives
from stages.ranking.feature_groups import FeatureContext
from stages.ranking.features import build_context


class RankerParams(Section):
    """A ranker: its candidates, its features, and its objective."""

    candidates: str
    """A folder of data/ with the lists to rank: `merged`, or `candidates/<generator>`."""

    retriever: str
    """The retriever of the groups `retriever_log_softmax` and `embedding_similarity`."""

    objective: Literal["lambdarank", "rank_xendcg", "binary"]
    """LightGBM's objective."""

    metric: Literal["ndcg", "auc", "binary_logloss", "map"]
    """LightGBM's metric, whose cross-validated mean chooses the number of trees."""

    eval_at: int = Field(ge=1, le=1000)
    """LightGBM's cutoff k of the metrics ndcg and map."""

    drop_users_without_hit: bool
    """Whether users whose target is not among their candidates are left out of the training."""

    negatives_per_user: int = Field(ge=1, le=100_000)
    """The most candidates without a target's label that are sampled for a user in training."""

    feature_groups: list[str]
    """The groups of features: `GENERATOR_GROUPS` of `stages.ranking.features`, and `GROUPS` of
    `stages.ranking.feature_groups`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSources:
    """The folders that features are computed from, whichever the ranker."""

    lists: Path  # the folder of `merged` and `candidates`, of which each ranker names one
    movies: Path  # the catalogue, its genres, and the popularity by snapshot
    histories: Path
    embeddings: Path  # the vectors of all retrievers
    generators: Path  # the models of the generators without a trained tower


def read_context(
    sources: FeatureSources, retriever: str, snapshot: str
) -> tuple[pl.DataFrame, FeatureContext]:
    """Return the HISTORIES of `snapshot`, and the context that its features are computed from.

    `retriever` is the one whose vectors are features.
    """
    names = block_names("generators")
    refuse_leftovers(sources.generators, names)
    models = {name: read_arrays(sources.generators / name / f"{snapshot}.npz") for name in names}
    vectors = sources.embeddings / retriever / snapshot
    context = build_context(
        catalogue=read_table(sources.movies / "catalogue.parquet", CATALOGUE),
        genres=read_table(sources.movies / "genres.parquet"),
        popularity=read_table(sources.movies / "popularity" / f"{snapshot}.parquet", POPULARITY),
        positives=read_positives(sources.histories, snapshot),
        movie_vectors=read_table(vectors / "movies.parquet"),
        user_vectors=read_table(vectors / "users.parquet").sort("user_id"),
        item_item={name: arrays for name, arrays in models.items() if "weights" in arrays},
    )
    return read_histories(sources.histories, snapshot), context


def as_merged(table: pl.DataFrame, generator: str) -> pl.DataFrame:
    """Return the lists of one generator as merged candidates.

    Args:
        table: RECOMMENDATIONS of `generator`, or merged candidates, which are returned unchanged.
        generator: The suffix of the columns.
    """
    if table.schema != RECOMMENDATIONS:
        return table
    columns = {"score": f"score_{generator}", "rank": f"rank_{generator}"}
    return table.rename(columns).sort("user_id", "movie_id")
