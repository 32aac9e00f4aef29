"""Stage: join the candidates of the rankers' users with features and labels, for one ranker."""

from pathlib import Path

import numpy as np
import polars as pl

from stages.common.params import load_params, read_seed
from stages.common.stage import StageError, run_stage
from stages.common.tables import TARGETS, read_table, user_ranges, user_rows, write_table
from stages.data.snapshots import RANKER_SNAPSHOTS
from stages.parallel.executor import parallel_map
from stages.ranking.feature_groups import GROUPS, FeatureContext
from stages.ranking.features import GENERATOR_GROUPS, build_features, generator_features
from stages.ranking.inputs import FeatureSources, RankerParams, as_merged, read_context


def add_labels(
    examples: pl.DataFrame, targets: pl.DataFrame, drop_users_without_hit: bool
) -> pl.DataFrame:
    """Append `label`, UInt8: 1 for a target, else 0. A target that is no candidate is not added.

    Args:
        examples: user_id, movie_id and features.
        targets: TARGETS of the snapshot.
        drop_users_without_hit: Whether to leave out users without a target among the candidates.

    Raises:
        StageError: No target is among the candidates.
    """
    positives = targets.select("user_id", "movie_id", label=pl.lit(1, dtype=pl.UInt8))
    labelled = examples.join(
        positives, on=["user_id", "movie_id"], how="left", maintain_order="left"
    ).with_columns(pl.col("label").fill_null(0))
    if drop_users_without_hit:
        labelled = labelled.filter(pl.col("label").max().over("user_id") == 1)
    if labelled["label"].max() != 1:
        raise StageError(
            f"candidates.count: none of {targets.height} targets was retrieved; "
            "set it higher, or add users"
        )
    return labelled


def sample_negatives(labelled: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """Keep all targets, and for each user a random sample of up to `count` other rows."""
    random = pl.Series(np.random.default_rng(seed).random(labelled.height))
    # Targets sort after all other rows of their user, so they are not part of the sample.
    order = (random + 2 * labelled["label"]).alias("order")
    rank = pl.col("order").rank("ordinal").over("user_id")
    table = labelled.with_columns(order)
    return table.filter((rank <= count) | (pl.col("label") == 1)).drop("order")


def append_features(
    examples: pl.DataFrame, histories: pl.DataFrame, context: FeatureContext, groups: list[str]
) -> pl.DataFrame:
    """Append features to `examples`, which are sorted by user; computed in batches of users."""

    def read(users: tuple[int, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
        return user_rows(examples, users), user_rows(histories, users)

    def build(rows: tuple[pl.DataFrame, pl.DataFrame]) -> pl.DataFrame:
        return build_features(*rows, context, groups)

    ranges = user_ranges(examples["user_id"].unique().sort())
    return pl.concat(parallel_map(build, ranges, uses_all_cores=True, read=read))


def main(name: str, sources: FeatureSources, targets: Path, examples: Path) -> str:
    """Write the examples of the ranker `name`, one table per snapshot of `RANKER_SNAPSHOTS`."""
    params = load_params(RankerParams, f"rankers.{name}")
    groups = [*GENERATOR_GROUPS, *GROUPS]
    for group in params.feature_groups:
        if group not in groups:
            key = f"rankers.{name}.feature_groups"
            raise StageError(f"{key}: {group!r} does not exist; use some of {', '.join(groups)}")
    folder = sources.lists / params.candidates
    seed, counts = read_seed(), []
    for snapshot in RANKER_SNAPSHOTS:
        histories, context = read_context(sources, params.retriever, snapshot)
        lists = read_table(folder / f"{snapshot}.parquet")
        table = generator_features(as_merged(lists, folder.name), params.feature_groups)
        labels = read_table(targets / f"{snapshot}.parquet", TARGETS)
        table = add_labels(table, labels, params.drop_users_without_hit)
        table = sample_negatives(table, params.negatives_per_user, seed)
        table = append_features(table, histories, context, params.feature_groups)
        source_users = histories.select("user_id", "source_user_id")
        table = table.join(source_users, on="user_id", how="left", maintain_order="left")
        write_table(table, examples / name / f"{snapshot}.parquet", table.schema)
        counts.append(f"{snapshot} {table.height:,}")
    return f"rows: {', '.join(counts)}; {table.width} columns"


if __name__ == "__main__":
    run_stage(main)
