"""`python -m benchmarks.search` through DVC, on tiny data."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.common.params import YAML
from tests.conftest import dvc, ran, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(
        not importlib.util.find_spec("optuna"), reason="needs tests/requirements.txt"
    ),
]
TRAINING = "train_retrieval@id"
OPTIONS = ["--objective", f"{TRAINING}:ndcg@10", "--params", "retrievers.id.l2=0.02..0.5:log"]


def search(repo: Path, name: str, *options: str) -> list[str]:
    done = run([sys.executable, "-m", "benchmarks.search", "--name", name, *options], repo)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def experiments(repo: Path, study: str) -> set[str]:
    names = dvc(repo, "exp", "list", "--name-only").split()
    return {name for name in names if name.startswith(f"{study}-")}


def copies(repo: Path) -> list[str]:
    """The folders in which DVC runs experiments, and its stash of experiments to run."""
    folder = repo / ".dvc" / "tmp" / "exps" / "standalone"
    stash = run(["git", "for-each-ref", "refs/exps/stash"], repo).stdout
    return [*(path.name for path in folder.glob("tmp*")), *stash.splitlines()]


def out(repo: Path, study: str) -> Path:
    return repo / "benchmarks" / "out" / "search" / study


def test_a_retriever_is_searched_alone_and_the_best_trial_applied(repo: Path) -> None:
    lines = search(repo, "alone", *OPTIONS, "--trials", "2", "--jobs", "2")
    assert [line.startswith("trial ") for line in lines] == [True, True, False, False, False]
    assert experiments(repo, "alone") == {"alone-0", "alone-1"}
    for number in (0, 1):
        log = (out(repo, "alone") / f"alone-{number}.log").read_text()
        assert ran(log) == {TRAINING}
        assert len((out(repo, "alone") / f"alone-{number}.curve").read_text().splitlines()) == 2
    assert (out(repo, "alone") / "study.html").read_text().count("<svg") == 2
    # Nothing is left of the copies, and the workspace is as it was.
    assert copies(repo) == []
    assert run(["git", "status", "--porcelain"], repo).stdout == ""

    lines = search(repo, "alone", *OPTIONS, "--trials", "3")
    assert [line.partition(":")[0] for line in lines[:-3]] == ["trial 2"]
    best = lines[-3].split(",")[0].removeprefix("best: ")
    assert lines[-2] == f"dvc exp apply {best}"
    before = YAML().load(repo / "params.yaml")["retrievers"]["id"]["l2"]
    dvc(repo, "exp", "apply", best)
    assert YAML().load(repo / "params.yaml")["retrievers"]["id"]["l2"] != before
    assert TRAINING not in dvc(repo, "status", TRAINING)
    # The study goes on from there too: it has its three trials.
    assert len(search(repo, "alone", *OPTIONS, "--trials", "3")) == 3


def test_a_ranker_is_searched_by_its_validation_figures(repo: Path) -> None:
    options = ["--objective", "ranker_basic:ndcg@10", "--trials", "2"]
    lines = search(repo, "few", *options, "--params", "rankers.basic.negatives_per_user=2..6")
    assert len(lines) == 5
    stages = ran((out(repo, "few") / "few-0.log").read_text())
    assert "validate" in stages
    assert not any(stage.startswith(("train_retrieval", "leaderboard")) for stage in stages)
    best, value = re.fullmatch(
        r"best: (few-\d), ranker_basic:ndcg@10 (0\.\d{4})", lines[2]
    ).groups()
    dvc(repo, "exp", "apply", best)
    figures = json.loads((repo / "metrics" / "validation.json").read_text())
    assert f"{figures['ranker_basic']['ndcg@10']:.4f}" == value


def test_an_interrupted_search_leaves_nothing_behind_and_goes_on(repo: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.search", "--name", "cut", *OPTIONS]
    command += ["--params", "retrievers.id.epochs=9000,10000", "--params"]
    command += ["retrievers.id.patience=9000,10000", "--trials", "2"]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    for name in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{name}_NAME": "Test", f"GIT_{name}_EMAIL": "test@example.org"}
    process = subprocess.Popen(
        command, cwd=repo, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    curve = out(repo, "cut") / "cut-0.curve"
    while not curve.exists():
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    text = process.communicate()[0].decode()
    assert process.returncode == 1, text
    assert "-> interrupted, " in text
    assert text.endswith("error: interrupted; the same command goes on with the study\n")
    assert experiments(repo, "cut") == set()
    assert copies(repo) == []
    assert run(["git", "status", "--porcelain"], repo).stdout == ""
    dvc(repo, "status")
    # DVC is as it was: the next experiment runs.
    search(repo, "next", *OPTIONS, "--trials", "1")
    assert copies(repo) == []
