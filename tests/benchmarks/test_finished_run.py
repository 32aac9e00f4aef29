"""The programs that measure a finished run: on the tiny one, each prints its table to the end."""

import importlib
from pathlib import Path

import pytest

from benchmarks import new_movies
from tests.conftest import ROOT, edit_params

# By command: the number of rows of its tables.
PROGRAMS = {
    "ablation generators": 8,  # seven generators and the fusion
    "ablation rankers --seeds 1": 23,  # all, 12 groups, 7 generators, 2 objectives, a snapshot
    "new_users --positives 1 2": 8,  # two tables of 1, 2, all, and all of known users
    "new_users --positives 1 2 --random": 8,
    "new_movies --kept 1 --seeds 1": 3,  # the retrievers with a vector per user
    "index --users 20 --top 5": 6,  # flat, IVF with three settings, HNSW with two
    "serving --users 5": 2,  # a user and a new person
    "load --requests 5 --connections 1": 1,
}


@pytest.mark.parametrize("command", PROGRAMS)
def test_a_program_prints_its_table(
    command: str,
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    (tmp_path / "data").symlink_to(tiny_run / "data")
    (tmp_path / "params.yaml").write_text((tiny_run / "params.yaml").read_text())
    edit_params(tmp_path, retrievers__id__epochs=1, retrievers__genre__epochs=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    name, *options = command.split()
    monkeypatch.setattr(new_movies, "MIN_POSITIVES", 5)  # the tiny data set has few
    monkeypatch.setattr("sys.argv", [name, *options])
    importlib.import_module(f"benchmarks.{name}").main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    num_heads = sum("---:" in line for line in lines)
    assert len(lines) - 2 * num_heads == PROGRAMS[command]
    assert len({line.count("|") for line in lines}) <= num_heads
    assert not any("nan" in line for line in lines)
