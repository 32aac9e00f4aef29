"""A ranker's LightGBM models: text in files, so that loading them never runs code."""

from pathlib import Path

import lightgbm as lgb
import numpy as np

from stages.common.stage import StageError

TREES_AT_ONCE = 100  # so many stay in the processor's cache while all rows pass


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


def mean_scores(boosters: list[lgb.Booster], values: np.ndarray, threads: int) -> np.ndarray:
    """[n] means of the boosters' raw scores of the feature rows `values` [n, features]."""
    total = np.zeros(len(values))
    for booster in boosters:
        for first in range(0, booster.num_trees(), TREES_AT_ONCE):
            total += booster.predict(
                values,
                start_iteration=first,
                num_iteration=TREES_AT_ONCE,
                raw_score=True,
                num_threads=threads,
            )
    return total / len(boosters)
