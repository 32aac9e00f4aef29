"""What a comparison of two runs says."""

import shutil
from pathlib import Path

import polars as pl
import pytest
from dvc.repo import Repo

from stages.common.stage import StageError
from stages.reporting.compare import Run, compare, flatten, read_run
from tests.conftest import ROOT

SYSTEMS = ["popularity", "item_knn", "ease", "id", "genre", "history", "ranker_hit"]


def run_of(name: str, shift: float, has_values: bool = True, **params: object) -> Run:
    """Twenty users; the system number n hits every user with ndcg .1 n, and `shift` more."""
    values, metrics = [], {}
    for number, system in enumerate(SYSTEMS):
        gain = shift if system == "ranker_hit" else 0
        columns = {
            "user_id": range(20),
            "ndcg@10": [0.1 * number + gain + 0.01 * (user % 2) for user in range(20)],
            "recall@10": [0.5] * 20,
        }
        table = pl.DataFrame(columns).with_columns(system=pl.lit(system))
        values.append(table)
        metrics[system] = {
            "users": 20,
            **table.select("ndcg@10", "recall@10").mean().row(0, named=True),
        }
    return Run(name, {"seed": 1, **params}, metrics, pl.concat(values) if has_values else None)


def test_params_that_differ_are_listed_and_no_others() -> None:
    old, new = run_of("main", 0, **{"fusion.k": 60}), run_of("new", 0, **{"a.b": [1, 2]})
    lines = list(compare(old, new))
    assert lines[:5] == [
        "main -> new",
        "",
        "Changed params:",
        "  a.b: - -> [1, 2]",
        "  fusion.k: 60 -> -",
    ]
    assert "No param has changed." in list(compare(old, old))


def test_the_difference_of_paired_users_has_an_interval() -> None:
    lines = list(compare(run_of("main", 0), run_of("workspace", 0.02)))
    (line,) = (line for line in lines if "ranker_hit" in line)
    # All users differ by the same, so the interval has no width.
    assert line.split() == [
        "ranker_hit",
        "ndcg@10",
        "0.6050",
        "0.6250",
        "+0.0200",
        "(+0.0200",
        "to",
        "+0.0200)",
    ]
    assert not any("popularity" in line or "item_knn" in line for line in lines), "of the best five"
    assert max(map(len, lines)) <= 120


def test_a_system_that_differs_is_shown_though_it_is_not_among_the_best() -> None:
    old, new = run_of("main", 0), run_of("workspace", 0)
    new.metrics["popularity"] = new.metrics["popularity"] | {"recall@10": 0.9}
    lines = list(compare(old, new))
    assert any(line.split()[:2] == ["popularity", "ndcg@10"] for line in lines)
    assert not any("item_knn" in line for line in lines)


def test_without_the_values_of_the_users_there_is_no_interval() -> None:
    lines = list(compare(run_of("main", 0, has_values=False), run_of("workspace", 0.02)))
    (line,) = (line for line in lines if "ranker_hit" in line)
    assert line.endswith("+0.0200")
    assert lines[-1].startswith("No intervals: data/validation.parquet of main is not in the cache")


def test_a_system_of_one_run_only_has_no_difference() -> None:
    old, new = run_of("main", 0), run_of("workspace", 0)
    del old.metrics["ranker_hit"]
    old = old._replace(values=old.values.filter(pl.col("system") != "ranker_hit"))
    lines = list(compare(old, new))
    (line,) = (line for line in lines if "ranker_hit" in line)
    assert line.split() == ["ranker_hit", "ndcg@10", "-", "0.6050"]


def test_params_are_named_by_dotted_keys() -> None:
    params = {"a": {"b": 1, "c": {}}, "d": [1]}
    assert flatten(params) == {"a.b": 1, "a.c": {}, "d": [1]}


@pytest.mark.parametrize("system", ["ranker_hit", "history"])
def test_the_best_system_is_first(system: str) -> None:
    shift = -0.5 if system == "history" else 0
    lines = list(compare(run_of("a", shift), run_of("b", shift)))
    first = lines[lines.index(next(line for line in lines if line.startswith("  system"))) + 1]
    assert first.split()[0] == system


def test_an_unknown_revision_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    message = r"^no-such: is no revision; give a branch, commit or experiment$"
    with pytest.raises(StageError, match=message):
        read_run("no-such")


def test_a_workspace_without_figures_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True).close()
    shutil.copy(ROOT / "params.yaml", tmp_path)
    message = r"^workspace: has no metrics/validation\.json; run `dvc repro`$"
    with pytest.raises(StageError, match=message):
        read_run(None)
