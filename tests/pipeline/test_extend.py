"""docs/extending.md: its examples, applied to a small clone, are on the leaderboard."""

import json
import re
import shutil
import textwrap
from pathlib import Path

import pytest

from stages.common.params import YAML
from tests.conftest import ROOT, dvc, ran, run

pytestmark = pytest.mark.slow

BLOCK = re.compile(
    r"^```(?:python|yaml) title=(\S+)(?: section=(\S+)| after=\"([^\"]+)\")?\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def apply_examples(repo: Path) -> list[str]:
    """Write the page's modules, blocks and lines into `repo`; return the files that changed."""
    params, changed = repo / "params.yaml", []
    for title, section, after, text in BLOCK.findall((ROOT / "docs" / "extending.md").read_text()):
        path = repo / title
        changed.append(title)
        if section:
            yaml = YAML()
            values = yaml.load(params)
            values[section] |= YAML(typ="safe", pure=True).load(text)
            yaml.dump(values, params)
        elif after:
            source = path.read_text()
            assert source.count(f"{after}\n") == 1
            path.write_text(source.replace(f"{after}\n", f"{after}\n{text}"))
        else:
            assert not path.exists()
            path.write_text(textwrap.dedent(text))
    return changed


def test_the_examples_are_one_module_and_one_block_each() -> None:
    titles = [match[0] for match in BLOCK.findall((ROOT / "docs" / "extending.md").read_text())]
    assert titles == [
        *("stages/retrieval/plain.py", "params.yaml"),
        *("stages/generators/cooccurrence.py", "params.yaml"),
        "params.yaml",
        "stages/evaluation/metrics.py",
    ]


def test_new_systems_and_a_new_metric_are_on_the_leaderboard(
    finished_run: Path, tmp_path: Path
) -> None:
    repo = shutil.copytree(finished_run, tmp_path / "repo", symlinks=True)
    apply_examples(repo)
    stages = ran(dvc(repo, "repro"))
    assert {"train_retrieval@plain", "fit_generator@cooccurrence", "train_ranker@plain"} <= stages
    # Nothing that was trained before is trained again, but the rankers on the merged candidates.
    trained = {name for name in stages if name.startswith(("train_", "fit_"))}
    assert not {"train_retrieval@id", "train_retrieval@history", "fit_generator@ease"} & trained
    status = run(["git", "status", "--porcelain"], repo).stdout
    assert not re.search(r"^.. dvc\.yaml$", status, re.MULTILINE), status
    board = json.loads((repo / "metrics" / "leaderboard.json").read_text())
    assert {"plain", "cooccurrence", "ranker_plain"} <= set(board)
    assert all("r_precision@10" in row for row in board.values())
    assert "r_precision@10" in (repo / "metrics" / "leaderboard.md").read_text()
    features = (repo / "metrics" / "importance" / "history.csv").read_text()
    assert "score_plain" in features
    assert "cooccurrence_decayed" in features
    for name in ("curves", "importance"):
        assert "plain" in (repo / "metrics" / "plots" / f"{name}.csv").read_text()
    assert "ranker_plain" in (repo / "metrics" / "report.html").read_text()
    command = ["python", "-m", "stages.serving", "recommend", "--liked", "7", "--explain"]
    text = run(command, repo).stdout
    assert "cooccurrence" in text
    assert "plain" in text  # a new user is folded in
    assert ran(dvc(repo, "repro")) == set()

    run(["git", "checkout", "-q", "-f", "."], repo)
    run(["git", "clean", "-qfd"], repo)
    text = dvc(repo, "repro", ok=False)
    assert re.search(
        r"error: \S+/(cooccurrence|plain): belongs to no block of params.yaml; delete", text
    )
