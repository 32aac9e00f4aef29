"""A ranker's LightGBM models: text in files, so that loading them never runs code."""

from pathlib import Path

import lightgbm as lgb

from stages.common.stage import StageError


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
