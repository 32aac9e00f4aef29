"""Stage: order the test candidates by a ranker's score."""

from pathlib import Path

import lightgbm as lgb
import polars as pl

from stages.common.params import read_value
from stages.common.stage import log, run_stage
from stages.common.tables import RECOMMENDATIONS, read_table, write_table


def rerank(booster: lgb.Booster, examples: pl.DataFrame, threads: int) -> pl.DataFrame:
    """RECOMMENDATIONS of all rows of `examples`; equal scores are ordered by movie id."""
    values = examples.select(booster.feature_name()).to_numpy(order="c")
    scores = booster.predict(values, num_threads=threads)
    table = examples.select("user_id", "movie_id").with_columns(score=pl.Series(scores))
    ordered = table.sort(["user_id", "score", "movie_id"], descending=[False, True, False])
    return ordered.with_columns(rank=pl.int_range(1, pl.len() + 1).over("user_id"))


def main(model: Path, examples: Path, recommendations: Path) -> None:
    """Read the booster and examples without labels, write RECOMMENDATIONS."""
    threads = read_value("lightgbm.threads", int)
    booster = lgb.Booster(model_str=model.read_text(encoding="utf-8"))
    ordered = rerank(booster, read_table(examples), threads)
    write_table(ordered, recommendations, RECOMMENDATIONS)
    log.info("%d rows of %d users", ordered.height, ordered["user_id"].n_unique())


if __name__ == "__main__":
    run_stage(main)
