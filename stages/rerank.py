"""Stage: order the test candidates by a ranker's score."""

from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl

from stages.boosters import booster_texts, read_boosters
from stages.common.params import read_value
from stages.common.stage import run_stage
from stages.common.tables import RECOMMENDATIONS, read_table, write_table


def rerank(boosters: list[lgb.Booster], examples: pl.DataFrame, threads: int) -> pl.DataFrame:
    """RECOMMENDATIONS of all rows of `examples` by the mean score of the boosters.

    Equal scores are ordered by movie id.
    """
    values = examples.select(boosters[0].feature_name()).to_numpy(order="c")
    scores = np.mean([b.predict(values, num_threads=threads) for b in boosters], axis=0)
    table = examples.select("user_id", "movie_id").with_columns(score=pl.Series(scores))
    ordered = table.sort(["user_id", "score", "movie_id"], descending=[False, True, False])
    return ordered.with_columns(rank=pl.int_range(1, pl.len() + 1).over("user_id"))


def main(model: Path, examples: Path, recommendations: Path) -> str:
    """Read the boosters and examples without labels, write RECOMMENDATIONS."""
    threads = read_value("lightgbm.threads", int)
    ordered = rerank(read_boosters(booster_texts(model)), read_table(examples), threads)
    write_table(ordered, recommendations, RECOMMENDATIONS)
    return f"{ordered.height:,} candidates of {ordered['user_id'].n_unique():,} users"


if __name__ == "__main__":
    run_stage(main)
