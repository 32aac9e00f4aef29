import importlib.util
from pathlib import Path

import pytest

from stages.common.stage import StageError
from stages.live import live_view


def test_nothing_is_written_unless_wanted(tmp_path: Path) -> None:
    with live_view(tmp_path / "live", False) as watch:
        watch({"ndcg@10": 0.5})
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(StageError, match=r"dvclive: is true, but not installed; `pip install dvc"),
        live_view(tmp_path / "live", True),
    ):
        pass
