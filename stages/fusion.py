"""Stage: merge the generators' lists into one pool, and rank it without any training (a bar)."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl

from stages.common.params import Range, load_params
from stages.common.stage import StageError, run_stage
from stages.common.tables import (
    RECOMMENDATIONS,
    growing_table,
    pool_schema,
    read_users,
    user_ranges,
    users_of,
)
from stages.engine import over
from stages.folds import FOLDS, NEWEST
from stages.pairs import distinct, pair_keys
from stages.top_k import CandidateParams


@dataclasses.dataclass(frozen=True)
class Params:
    """`generators`: whose lists are merged; `k` damps the first ranks (60 in the paper).

    `max_candidates`: about how many rows the newest fold's pool may have. With more users than
    that allows, each keeps the movies that are first in the fused list, in every fold.
    """

    generators: list[str]
    k: Annotated[float, Range(0, 10_000)]
    max_candidates: Annotated[int, Range(1, 10**12)]


def merge(lists: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """A pool: one row per user and movie of any list, and each generator's score and rank.

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
    every = distinct(np.concatenate(list(keys.values())))
    pairs = {"user_id": every >> 32, "movie_id": every & 0xFFFFFFFF}
    columns = pl.DataFrame(pairs, schema_overrides=RECOMMENDATIONS).get_columns()
    for name, table in lists.items():
        row = np.full(len(every), table.height)
        row[np.searchsorted(every, keys[name])] = np.arange(table.height)
        # What is not in the list takes the row after its last one, a null.
        for kind in ("score", "rank"):
            said = table[kind].extend_constant(None, 1)
            columns.append(said.gather(row).alias(f"{kind}_{name}"))
    return pl.DataFrame(columns)


def fuse(pool: pl.DataFrame, generators: list[str], k: float) -> pl.DataFrame:
    """RECOMMENDATIONS by reciprocal rank fusion: the sum of 1 / (k + rank) over the lists.

    Cormack, Clarke and Buettcher 2009. Equal sums are ordered by movie id.
    """
    gains = [
        (1 / (k + pl.col(f"rank_{name}").cast(pl.Float64))).fill_null(0) for name in generators
    ]
    scored = pool.select("user_id", "movie_id", score=pl.sum_horizontal(gains).cast(pl.Float32))
    ordered = scored.sort(["user_id", "score", "movie_id"], descending=[False, True, False])
    return ordered.with_columns(rank=pl.int_range(1, pl.len() + 1).over("user_id"))


def most_candidates(max_candidates: int, users: int, count: int) -> int:
    """How many of its merged candidates a user keeps: no fewer than one generator recommends."""
    return max(count, max_candidates // max(users, 1))


def cut(pool: pl.DataFrame, fused: pl.DataFrame, most: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of both whose movie is among the `most` first of its user's fused list."""
    if not (fused["rank"] > most).any():
        return pool, fused
    kept = fused.filter(pl.col("rank") <= most)
    return pool.join(kept, on=["user_id", "movie_id"], how="semi", maintain_order="left"), kept


def main(recommendations: Path, pool: Path, fused: Path) -> str:
    """Read `recommendations/<generator>`; write the pool and the fused list of every fold."""
    params = load_params(Params, "fusion")
    if not params.generators:
        raise StageError("fusion.generators: is empty; name at least one system")
    rows, schema = 0, pool_schema(params.generators)
    files = {
        fold: {name: recommendations / name / f"{fold}.parquet" for name in params.generators}
        for fold in FOLDS
    }
    users_by_fold = {fold: users_of(*paths.values()) for fold, paths in files.items()}
    count = load_params(CandidateParams, "candidates").count
    most = most_candidates(params.max_candidates, len(users_by_fold[NEWEST]), count)

    def read(paths: dict[str, Path], users: tuple[int, int]) -> dict[str, pl.DataFrame]:
        return {name: read_users(path, users) for name, path in paths.items()}

    def part(lists: dict[str, pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame]:
        merged = merge(lists)
        return cut(merged, fuse(merged, params.generators, params.k), most)

    for fold, paths in files.items():
        with (
            growing_table(pool / f"{fold}.parquet", schema) as append_pool,
            growing_table(fused / f"{fold}.parquet", RECOMMENDATIONS) as append_fused,
        ):
            ranges = user_ranges(users_by_fold[fold])
            parts = over(part, ranges, "batches of users", read=partial(read, paths))
            for merged, best in parts:
                append_pool(merged)
                append_fused(best)
                rows += merged.height
    return f"{len(params.generators)} lists -> {rows:,} candidates"


if __name__ == "__main__":
    run_stage(main)
