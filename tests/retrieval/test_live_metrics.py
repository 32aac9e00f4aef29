import importlib.util
import sys
import types
from pathlib import Path

import pytest

from benchmarks.search import trial
from benchmarks.search.trial import read_epochs
from stages.common.stage import StageError
from stages.retrieval.live_metrics import CURVE_FILE, log_live


def test_nothing_is_written_unless_enabled(tmp_path: Path) -> None:
    with log_live(tmp_path / "live", False) as log:
        log({"ndcg@10": 0.5})
    assert list(tmp_path.iterdir()) == []


def test_a_search_reads_each_epoch_as_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "curve"
    monkeypatch.setenv(CURVE_FILE, str(path))
    with log_live(tmp_path / "live", False) as log:
        log({"ndcg@10": 0.5})
        assert read_epochs(path, 0) == [{"ndcg@10": 0.5}]
        log({"ndcg@10": 0.25})
    assert read_epochs(path, 1) == [{"ndcg@10": 0.25}]
    assert trial.CURVE_FILE == CURVE_FILE


def test_without_the_package_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(StageError, match=r"dvclive: is true, but not installed; `pip install dvc"),
        log_live(tmp_path / "live", True),
    ):
        pass


def test_each_epoch_is_a_step_of_dvclive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []

    class Live:
        def __init__(self, folder: str, **options: bool) -> None:
            calls.append((folder, options))

        def __enter__(self) -> "Live":
            return self

        def __exit__(self, *_: object) -> None:
            calls.append(("end",))

        def log_metric(self, name: str, value: float) -> None:
            calls.append((name, value))

        def next_step(self) -> None:
            calls.append(("step",))

    package = types.ModuleType("dvclive")
    package.Live = Live
    monkeypatch.setitem(sys.modules, "dvclive", package)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with log_live(tmp_path, True) as log:
        log({"ndcg@10": 0.5, "recall@10": 0.6})
        log({"ndcg@10": 0.7})
    assert calls == [
        (str(tmp_path), {"dvcyaml": False, "save_dvc_exp": False}),
        ("ndcg@10", 0.5),
        ("recall@10", 0.6),
        ("step",),
        ("ndcg@10", 0.7),
        ("step",),
        ("end",),
    ]
