"""Stage: order the test candidates by a ranker's score."""

from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl

from stages.common.params import read_value
from stages.common.stage import StageError, run_stage
from stages.common.tables import RECOMMENDATIONS, read_table, write_table


def booster_texts(folder: Path) -> list[str]:
    """All boosters of a ranker's folder, as text."""
    paths = sorted(folder.glob("*.txt"))
    if not paths:
        raise StageError(f"{folder}: holds no booster; run `dvc repro`")
    return [path.read_text(encoding="utf-8") for path in paths]


def read_boosters(texts: list[str]) -> list[lgb.Booster]:
    """LightGBM models from their texts.

    Raises:
        StageError: A text is no model.
    """
    try:
        return [lgb.Booster(model_str=text) for text in texts]
    except lgb.basic.LightGBMError as error:
        raise StageError(f"ranker: cannot be read ({error}); delete it and repro") from None


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
