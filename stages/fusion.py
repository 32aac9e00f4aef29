"""Stage: merge the generators' lists, and rank the merged candidates without training."""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import Field

from stages.common.params import Section, load_params
from stages.common.stage import run_stage
from stages.common.systems import generator_names, merged_generators, refuse_leftovers
from stages.common.tables import (
    RECOMMENDATIONS,
    merged_schema,
    parquet_appender,
    read_user_ids,
    read_user_rows,
    user_ranges,
)
from stages.data.pairs import pair_keys, sorted_unique
from stages.data.snapshots import TARGET_SNAPSHOTS, TEST_SNAPSHOT
from stages.models.top_k import CandidateParams
from stages.parallel.executor import parallel_map


class Params(Section):
    """Which lists are merged, and the fusion of their ranks."""

    exclude: list[str]
    """Generators that are not merged; all others are."""

    k: float = Field(ge=0, le=10_000)
    """Constant of reciprocal rank fusion that damps the first ranks; 60 in the paper."""

    max_candidates: int = Field(ge=1, le=10**12)
    """Approximate limit on the rows of the test snapshot's merged candidates.

    Where it is exceeded, each user keeps only the first movies of the fused list. All snapshots
    have the same limit per user.
    """


def merge(lists: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Merge the generators' lists: one row per user and movie of any list.

    Args:
        lists: RECOMMENDATIONS by generator.

    Returns:
        user_id, movie_id, then `score_<generator>` and `rank_<generator>`, null where the
        generator did not recommend the movie; sorted by user and movie.
    """
    keys = {
        name: pair_keys(table["user_id"].to_numpy(), table["movie_id"].to_numpy())
        for name, table in lists.items()
    }
    merged_keys = sorted_unique(np.concatenate(list(keys.values())))
    pairs = {"user_id": merged_keys >> 32, "movie_id": merged_keys & 0xFFFFFFFF}
    columns = pl.DataFrame(pairs, schema_overrides=RECOMMENDATIONS).get_columns()
    for name, table in lists.items():
        row = np.full(len(merged_keys), table.height)
        row[np.searchsorted(merged_keys, keys[name])] = np.arange(table.height)
        for kind in ("score", "rank"):
            # A movie that the list lacks takes the value after its last one: NaN, and then null.
            values = np.append(table[kind].to_numpy(), np.float32(np.nan))[row]
            column = pl.Series(f"{kind}_{name}", values, nan_to_null=True)
            columns.append(column.cast(RECOMMENDATIONS[kind]))
    return pl.DataFrame(columns)


def fuse(merged: pl.DataFrame, generators: list[str], k: float) -> pl.DataFrame:
    """Rank the merged candidates by reciprocal rank fusion (Cormack et al. 2009).

    The score is the sum of 1 / (k + rank) over the lists. Equal scores are ordered by movie id.

    Returns:
        RECOMMENDATIONS.
    """
    gains = [
        (1 / (k + pl.col(f"rank_{name}").cast(pl.Float64))).fill_null(0) for name in generators
    ]
    scored = merged.select("user_id", "movie_id", score=pl.sum_horizontal(gains).cast(pl.Float32))
    ordered = scored.sort(["user_id", "score", "movie_id"], descending=[False, True, False])
    return ordered.with_columns(rank=pl.int_range(1, pl.len() + 1).over("user_id"))


def max_per_user(max_candidates: int, users: int, count: int) -> int:
    """Return how many merged candidates a user keeps: at least the `count` of one generator."""
    return max(count, max_candidates // max(users, 1))


def cut(merged: pl.DataFrame, fused: pl.DataFrame, limit: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Keep the rows of both tables whose movie is among the first `limit` of the fused list."""
    if not (fused["rank"] > limit).any():
        return merged, fused
    head = fused.filter(pl.col("rank") <= limit)
    return merged.join(head, on=["user_id", "movie_id"], how="semi", maintain_order="left"), head


def main(candidates: Path, merged: Path, fused: Path) -> str:
    """Read `candidates/<generator>`; write the merged and the fused lists of its snapshots."""
    params = load_params(Params, "fusion")
    refuse_leftovers(candidates, generator_names())
    generators = merged_generators()
    rows, schema = 0, merged_schema(generators)
    files = {
        snapshot: {name: candidates / name / f"{snapshot}.parquet" for name in generators}
        for snapshot in TARGET_SNAPSHOTS
    }
    users = {snapshot: read_user_ids(*paths.values()) for snapshot, paths in files.items()}
    count = load_params(CandidateParams, "candidates").count
    limit = max_per_user(params.max_candidates, len(users[TEST_SNAPSHOT]), count)

    def read(paths: dict[str, Path], ids: tuple[int, int]) -> dict[str, pl.DataFrame]:
        return {name: read_user_rows(path, ids) for name, path in paths.items()}

    def merge_and_fuse(lists: dict[str, pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame]:
        batch = merge(lists)
        return cut(batch, fuse(batch, generators, params.k), limit)

    for snapshot, paths in files.items():
        with (
            parquet_appender(merged / f"{snapshot}.parquet", schema) as append_merged,
            parquet_appender(fused / f"{snapshot}.parquet", RECOMMENDATIONS) as append_fused,
        ):
            ranges = user_ranges(users[snapshot])
            batches = parallel_map(
                merge_and_fuse, ranges, "batches of users", read=partial(read, paths)
            )
            for merged_rows, fused_rows in batches:
                append_merged(merged_rows)
                append_fused(fused_rows)
                rows += merged_rows.height
    return f"{len(generators)} lists -> {rows:,} candidates"


if __name__ == "__main__":
    run_stage(main)
