"""A ranker's LightGBM models, which are text files, so that loading them never runs code."""

import re
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl

from stages.common.stage import StageError, atomic_write

TREES_PER_PASS = 100  # so few trees stay in the processor's cache while all rows pass through


def read_booster_texts(folder: Path) -> list[str]:
    """Return the boosters that `write_booster_texts` wrote into a folder, in their order.

    Raises:
        StageError: There is none.
    """
    paths = sorted(folder.glob("*.txt"), key=lambda path: (len(path.name), path.name))
    if not paths:
        raise StageError(f"{folder}: has no booster; run `dvc repro`")
    return [path.read_text(encoding="utf-8") for path in paths]


def booster_text(booster: lgb.Booster, num_iteration: int | None = None) -> str:
    """Return a booster as text, without the number of threads that it was trained with.

    Args:
        booster: The model.
        num_iteration: Its trees that are kept; by default all, or the best ones.
    """
    text = booster.model_to_string(num_iteration=num_iteration)
    return re.sub(r"\n\[num_threads: \d+\]\n", "\n[num_threads: 0]\n", text)


def write_booster_texts(texts: list[str], folder: Path) -> None:
    """Write boosters as 0.txt, 1.txt and so on."""
    for number, text in enumerate(texts):
        with atomic_write(folder / f"{number}.txt") as temporary:
            temporary.write_text(text, encoding="utf-8")


def parse_boosters(texts: list[str]) -> list[lgb.Booster]:
    """Load LightGBM models from their texts.

    Raises:
        StageError: A text is truncated, or LightGBM cannot read it.
    """
    if any("\nend of trees\n" not in text for text in texts):  # LightGBM would end the process
        raise StageError("ranker: cannot be read (it is truncated); delete it and repro")
    try:
        return [lgb.Booster(model_str=text) for text in texts]
    except lgb.basic.LightGBMError as error:
        raise StageError(f"ranker: cannot be read ({error}); delete it and repro") from None


def mean_scores(boosters: list[lgb.Booster], values: np.ndarray, threads: int) -> np.ndarray:
    """Return the [n] means of the boosters' raw scores.

    Args:
        boosters: The models.
        values: [n, features] in the order of the models' features.
        threads: Threads of a prediction.
    """
    total = np.zeros(len(values))
    for booster in boosters:
        for start in range(0, booster.num_trees(), TREES_PER_PASS):
            total += booster.predict(
                values,
                start_iteration=start,
                num_iteration=TREES_PER_PASS,
                raw_score=True,
                num_threads=threads,
            )
    return total / len(boosters)


def importance(boosters: list[lgb.Booster]) -> pl.DataFrame:
    """Return each feature's share of the total gain and number of splits, best first."""
    gain = np.sum([booster.feature_importance("gain") for booster in boosters], axis=0)
    splits = np.sum([booster.feature_importance("split") for booster in boosters], axis=0)
    table = pl.DataFrame(
        {
            "feature": boosters[0].feature_name(),
            "gain_share": gain / max(gain.sum(), 1e-12),
            "splits": splits,
        }
    )
    return table.sort(["gain_share", "feature"], descending=[True, False])
