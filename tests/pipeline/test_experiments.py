"""docs/experiments.md on tiny data: the recipes that test_repro.py does not cover."""

import csv
import importlib.util
import json
import re
import time
from pathlib import Path

import polars as pl
import pytest

from stages.common.params import YAML
from tests.conftest import ROOT, dvc, ran, run

pytestmark = [pytest.mark.slow, pytest.mark.long]


def recipe(start: str) -> list[str]:
    """The arguments of the command in the docs that begins with `start`."""
    text = (ROOT / "docs" / "experiments.md").read_text()
    (line,) = {line for line in text.splitlines() if line.startswith(f"dvc {start}")}
    return re.findall(r"'[^']*'|\S+", line.split("  ")[0].removeprefix("dvc "))


def board(repo: Path) -> dict[str, dict[str, float]]:
    return json.loads((repo / "metrics" / "leaderboard.json").read_text())


def run_queue(repo: Path) -> None:
    dvc(repo, "queue", "start", "--jobs", "2")
    for _ in range(300):
        status = dvc(repo, "queue", "status")
        if not re.search(r"Queued|Running", status):
            break
        time.sleep(1)
    assert "Failed" not in status, status
    dvc(repo, "queue", "stop")


def test_a_grid_is_run_shown_compared_kept_and_cleaned_up(repo: Path) -> None:
    dvc(repo, "exp", "run", "-n", "grid", "--queue", "-S", "rankers.basic.negatives_per_user=2,6")
    run_queue(repo)
    names = dvc(repo, "exp", "list", "--name-only").split()
    assert {"grid-1", "grid-2"} <= set(names)

    show = [word.strip("'") for word in recipe("exp show")]
    columns = next(csv.reader(dvc(repo, *show, "--csv").splitlines()))
    assert {
        "rankers.basic.negatives_per_user",
        "metrics/validation.json:ranker_basic.recall@10",
        "metrics/validation.json:ranker_basic.ndcg@10",
    } <= {*columns}
    assert not [name for name in columns if "/" in name and "/validation.json" not in name]
    assert not [name for name in columns if name.endswith(("@50", "mrr", "users"))]
    assert len(columns) < 30
    compared = run(["python", "-m", "stages.reporting.compare", "grid-1", "grid-2"], repo).stdout
    assert "rankers.basic.negatives_per_user: 2 -> 6" in compared
    assert re.search(r"ranker_basic +ndcg@10 .* \([-+]0\.\d+ to [-+]0\.\d+\)", compared), compared
    text = dvc(repo, "exp", "diff", "grid-1", "grid-2", "--md")
    assert re.search(r"\| rankers\.basic\.negatives_per_user +\| 2 +\| 6 +\| 4 +\|", text), text

    dvc(repo, "exp", "apply", "grid-2")
    assert YAML().load(repo / "params.yaml")["rankers"]["basic"]["negatives_per_user"] == 6
    assert "up to date" in dvc(repo, "status")
    kept = board(repo)
    run(["git", "checkout", "-q", "-f", "main"], repo)
    dvc(repo, "exp", "branch", "grid-2", "trees")
    run(["git", "checkout", "-q", "trees"], repo)
    dvc(repo, "checkout")
    assert "up to date" in dvc(repo, "status")
    assert board(repo) == kept
    run(["git", "checkout", "-q", "main"], repo)
    run(["git", "branch", "-D", "trees"], repo)
    dvc(repo, "checkout")

    dvc(repo, "exp", "remove", "grid-1")
    would = dvc(repo, *recipe("gc -A --all-experiments --dry"))
    gone = {Path(path) for path in re.findall(r"Removing (\S+)", would)}
    assert gone
    dvc(repo, "gc", "-A", "--all-experiments", "--force")
    assert not any(path.exists() for path in gone)
    dvc(repo, "exp", "apply", "grid-2")
    assert "up to date" in dvc(repo, "status")


def test_a_retriever_is_tried_alone_and_its_curve_compared(repo: Path) -> None:
    text = dvc(repo, *recipe("exp run -n tower"))
    assert ran(text) == {"train_retrieval@id"}
    dvc(repo, *recipe("plots diff main tower"), "--out", "dvc_plots")
    assert "tower" in (repo / "dvc_plots" / "index.html").read_text()
    assert re.search(
        r"\| retrievers\.id\.l2 +\|", dvc(repo, "exp", "diff", "main", "tower", "--md")
    )


def test_a_sample_of_users_says_so(repo: Path) -> None:
    def users() -> set[int]:
        return set(pl.read_parquet(repo / "data" / "positives.parquet")["user_id"])

    everybody = users()
    figures = json.loads((repo / "metrics" / "split.json").read_text())
    assert figures["sample_users"] == 1
    dvc(repo, "exp", "run", "-n", "sketch", "-S", "positives.sample_users=0.5", "leaderboard")
    assert users() < everybody
    figures = json.loads((repo / "metrics" / "split.json").read_text())
    assert figures["sample_users"] == 0.5
    assert figures["users"] == len(users())
    assert board(repo)["item_knn"]["users"] <= len(users())
    text = dvc(repo, "exp", "run", "-S", "positives.sample_users=0", ok=False)
    assert "error: positives.sample_users: is 0; use 0.0001 to 1" in text


@pytest.mark.skipif(not importlib.util.find_spec("dvclive"), reason="needs tests/requirements.txt")
def test_a_training_can_be_watched_and_stays_the_same(repo: Path) -> None:
    curve = (repo / "metrics" / "curves" / "id.csv").read_text()
    text = dvc(repo, "exp", "run", "-S", "dvclive=true", "train_retrieval@id")
    assert ran(text) == {"train_retrieval@id"}
    # The same model and curve, nothing for Git, and dvc.yaml as it was.
    assert (
        run(["git", "diff", "--name-only", "main", "--", "metrics", "dvc.yaml"], repo).stdout == ""
    )
    assert "data/models/retrievers/id" not in dvc(repo, "diff", "main")
    live = repo / "live" / "id" / "plots" / "metrics" / "ndcg@10.tsv"
    assert len(live.read_text().splitlines()) == len(curve.splitlines())
    dvc(repo, "plots", "show", "live/id/plots/metrics", "--out", "dvc_plots")
    assert "ndcg@10" in (repo / "dvc_plots" / "index.html").read_text()


def test_an_unknown_key_is_an_error(repo: Path) -> None:
    text = dvc(repo, "exp", "run", "-S", "positives.sample=0.5", ok=False)
    assert "Could not override" in text
