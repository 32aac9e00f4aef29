"""Stage: labelled candidates with their features, for one ranker to learn from."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl

from stages.common.params import Range, load_params, read_seed
from stages.common.stage import StageError, run_stage
from stages.common.tables import TRAIN, VALIDATION, read_table, user_ranges, users_rows, write_table
from stages.engine import over
from stages.feature_groups import GROUPS, Past
from stages.features import POOL_GROUPS, build_features, pool_features
from stages.folds import LEARNT, learnt_targets
from stages.ranker_inputs import Sources, as_pool, pasts


@dataclasses.dataclass(frozen=True)
class RankerParams:
    """One ranker: where its candidates and vectors come from, what it sees, what it learns.

    `candidates`: a folder of data/, `recommendations/<system>` or `pools/fusion`; `vectors`: the
    retriever whose vectors give the `tower` and `similarity` features; `features`: groups of
    `stages.features`; `objective` and `metric` are LightGBM's (`metric` chooses the number of
    trees); `misses`: whether users whose target was not retrieved are kept for training;
    `negatives`: how many of a user's candidates that are no target are drawn for training.
    """

    candidates: str
    vectors: str
    features: list[str]
    objective: Literal["lambdarank", "rank_xendcg", "binary"]
    metric: Literal["ndcg", "auc", "binary_logloss", "map"]
    cutoff: Annotated[int, Range(1, 1000)]
    misses: Literal["keep", "drop"]
    negatives: Annotated[int, Range(1, 100_000)]


def add_labels(examples: pl.DataFrame, targets: pl.DataFrame, misses: str) -> pl.DataFrame:
    """Append `label`, u8: 1 for a user's target. A target that was not retrieved is not added.

    Args:
        examples: user_id, movie_id and features.
        targets: user_id, movie_id of the fold's targets.
        misses: `drop` leaves out users of whom no target was retrieved.
    """
    marked = targets.select("user_id", "movie_id", label=pl.lit(1, dtype=pl.UInt8))
    labelled = examples.join(
        marked, on=["user_id", "movie_id"], how="left", maintain_order="left"
    ).with_columns(pl.col("label").fill_null(0))
    if misses == "drop":
        labelled = labelled.filter(pl.col("label").max().over("user_id") == 1)
    if labelled["label"].max() != 1:
        raise StageError(
            f"candidates.count: no target was retrieved, of {targets.height}; "
            "set it higher, or bring more users"
        )
    return labelled


def sample_negatives(labelled: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """All targets, and for each user up to `count` other rows, drawn at random."""
    drawn = pl.Series(np.random.default_rng(seed).random(labelled.height))
    # Targets have 2 added, so that they come last and do not count.
    order = (drawn + 2 * labelled["label"]).alias("order")
    place = pl.col("order").rank("ordinal").over("user_id")
    table = labelled.with_columns(order)
    return table.filter((place <= count) | (pl.col("label") == 1)).drop("order")


def features_of(
    examples: pl.DataFrame, histories: pl.DataFrame, data: Past, groups: list[str]
) -> pl.DataFrame:
    """`build_features` of `examples`, which are sorted by user: of some users at a time."""

    def read(users: tuple[int, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
        return users_rows(examples, users), users_rows(histories, users)

    def part(rows: tuple[pl.DataFrame, pl.DataFrame]) -> pl.DataFrame:
        return build_features(*rows, data, groups)

    ranges = user_ranges(examples["user_id"].unique().sort())
    return pl.concat(over(part, ranges, alone=True, read=read))


def main(
    name: str,
    pool: Path,
    catalogue: Path,
    genres: Path,
    popularity: Path,
    dislikes: Path,
    train: Path,
    val: Path,
    histories: Path,
    vectors: Path,
    item_knn: Path,
    ease: Path,
    examples: Path,
) -> str:
    """Write a labelled table for each fold that the ranker `name` learns from."""
    params = load_params(RankerParams, f"rankers.{name}")
    known = [*POOL_GROUPS, *GROUPS]
    for group in params.features:
        if group not in known:
            raise StageError(f"rankers.{name}.features: {group!r}; use some of {', '.join(known)}")
    seed = read_seed()
    targets = learnt_targets(read_table(train, TRAIN), read_table(val, VALIDATION))
    files = catalogue, genres, popularity, dislikes, train, val, histories, vectors, item_knn, ease
    rows = []
    for fold, before, data in pasts(Sources(*files), LEARNT):
        candidates = as_pool(read_table(pool / f"{fold}.parquet"), pool.name)
        table = pool_features(candidates, params.features)
        table = add_labels(table, targets[fold], params.misses)
        table = sample_negatives(table, params.negatives, seed)
        table = features_of(table, before, data, params.features)
        write_table(table, examples / f"{fold}.parquet", table.schema)
        rows.append(table.height)
    return f"{rows} rows by fold, {table.width} columns"


if __name__ == "__main__":
    run_stage(main)
