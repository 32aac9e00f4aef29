import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.search import study as studies
from benchmarks.search.__main__ import parse_options
from benchmarks.search.page import study_page
from benchmarks.search.space import Choice, Range, parse_objective, parse_param, setting
from benchmarks.search.study import (
    Search,
    code_digest,
    count_ended,
    only_process,
    open_study,
    params_digest,
)
from benchmarks.search.trial import (
    CURVE_FILE,
    PrunedError,
    StoppedError,
    experiment_command,
    read_epochs,
    run_command,
)
from stages.common.params import read_all
from stages.common.stage import StageError
from tests.conftest import ROOT, run

needs_optuna = pytest.mark.skipif(
    not importlib.util.find_spec("optuna"), reason="needs tests/requirements.txt"
)
SPACE = [Range("a", 0.0, 1.0, False)]


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("retrievers.id.l2=0.02..0.5:log", Range("retrievers.id.l2", 0.02, 0.5, True)),
        ("retrievers.id.l2=0..1", Range("retrievers.id.l2", 0.0, 1.0, False)),
        ("retrievers.id.l2=1e-4..1.5e-1", Range("retrievers.id.l2", 1e-4, 0.15, False)),
        ("retrievers.id.l2=1.0..2.0", Range("retrievers.id.l2", 1.0, 2.0, False)),
        ("lightgbm.num_leaves=7..63", Range("lightgbm.num_leaves", 7, 63, False)),
        ("lightgbm.num_leaves=7,15,31", Choice("lightgbm.num_leaves", (7, 15, 31))),
        ("retrievers.id.loss=softmax,bpr", Choice("retrievers.id.loss", ("softmax", "bpr"))),
        (
            "retrievers.history.use_genres=true,false",
            Choice("retrievers.history.use_genres", (True, False)),
        ),
        ("retrievers.id.l2=0,0.5", Choice("retrievers.id.l2", (0.0, 0.5))),
    ],
)
def test_a_param_is_a_range_or_a_choice(text: str, param: Range | Choice) -> None:
    parsed = parse_param(text, read_all())
    assert parsed == param
    numbers = [parsed.low, parsed.high] if isinstance(parsed, Range) else parsed.values
    expected = [param.low, param.high] if isinstance(param, Range) else param.values
    assert [type(number) for number in numbers] == [type(number) for number in expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("retrievers.id.l3=0..1", "--params retrievers.id.l3: is not in params.yaml; use one of"),
        ("retrievers.id.l2.x=0..1", "is not in params.yaml; use one of its keys"),
        ("retrievers.id=0..1", "--params retrievers.id: is no single value; use a key of one"),
        ("evaluate.cutoffs=1,2", "is no single value"),
        ("retrievers.id.l2", "has no values; write KEY=LOW..HIGH, "),
        ("retrievers.id.l2=", "has no values"),
        ("retrievers.id.l2=0.5..0.02", "is empty; write the lower bound first"),
        ("retrievers.id.l2=0.5..0.5", "is empty; write the lower bound first"),
        ("retrievers.id.l2=0..1:log", "has no logarithm at 0.0; start above 0"),
        ("retrievers.id.l2=a..b", "'a' is of another type than 0.1 in params.yaml"),
        ("retrievers.id.l2=0...inf", "write"),
        ("retrievers.id.l2=0..1:exp", "'0..1:exp' is of another type than 0.1"),
        ("lightgbm.num_leaves=7.5..63", "7.5 is of another type than 15 in params.yaml"),
        ("retrievers.history.use_genres=0..1", "retrievers.history.use_genres is no number"),
        ("retrievers.id.loss=softmax", "needs two different values or more"),
        ("retrievers.id.loss=softmax,softmax", "needs two different values or more"),
        ("retrievers.id.loss=[,]", "is no value of YAML"),
    ],
)
def test_a_wrong_param_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(StageError) as error:
        parse_param(text, read_all())
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_are_in_the_grammar_of_dvc() -> None:
    values = [0.25, 7, True, None, "softmax"]
    assert [setting("a.b", value) for value in values] == [
        *("a.b=0.25", "a.b=7", "a.b=true", "a.b=null"),
        'a.b="softmax"',
    ]


def test_an_objective_names_the_stage_that_it_needs() -> None:
    board = {"ranker_hit": {"ndcg@10": 0.25, "recall@10": 0.5}, "id": {"ndcg@10": 0.1}}
    objective = parse_objective("ranker_hit:recall@10")
    assert (objective.target, objective.has_curve) == ("validate", False)
    assert objective.read(json.dumps(board)) == 0.5
    objective = parse_objective("train_retrieval@id:recall@10")
    assert (objective.target, objective.has_curve) == ("train_retrieval@id", True)
    assert objective.path == "metrics/curves/id.csv"
    # That of the epoch which the training keeps, not the largest.
    curve = "epoch,loss,ndcg@10,recall@10\n1,9,0.10,0.20\n2,8,0.13,0.21\n3,7,0.12,0.25\n"
    assert objective.read(curve) == 0.21


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ranker_hit", "ends with no metric; use :ndcg@10, :recall@10, :recall@200"),
        ("ranker_hit:mrr", "ends with no metric"),
        ("ranker_hits:ndcg@10", "'ranker_hits' does not exist; use popularity, "),
        ("train_retrieval@ease:ndcg@10", "'ease' does not exist; use id, genre, "),
    ],
)
def test_a_wrong_objective_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(StageError, match=message):
        parse_objective(text)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--trials", "0"], "--trials 0: give 1 or more"),
        (["--jobs", "-1"], "--jobs -1: give 1 or more"),
        (["--name", "../x"], "--name ../x: use letters, digits"),
    ],
)
def test_wrong_options_are_refused_in_one_line(option: list[str], message: str) -> None:
    with pytest.raises(StageError, match=message):
        parse_options(["--params", "a=1,2", *option])


def test_without_optuna_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StageError, match=r"optuna: is not installed; `pip install optuna==\d"):
        studies.import_optuna()
    pins = (ROOT / "tests" / "requirements.in").read_text().splitlines()
    assert studies.PACKAGE in pins


def fill(path: Path, trial: Callable, trials: int, jobs: int = 1, **facts: str) -> Any:
    """Open the study at `path` and run its trials with a fake of DVC."""
    study = open_study(path, facts, seed=0)
    Search(study, SPACE, trial, trials, threading.Event()).run_all(jobs)
    return study


def value_of(number: int, values: dict[str, Any], is_behind: Callable) -> float:
    return values["a"]


@needs_optuna
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_study_goes_on_where_it_has_stopped(tmp_path: Path, jobs: int) -> None:
    first = [t.value for t in fill(tmp_path / "study.db", value_of, 3, jobs).trials]
    again = fill(tmp_path / "study.db", value_of, 5, jobs)
    assert [trial.number for trial in again.trials] == [0, 1, 2, 3, 4]
    assert [trial.value for trial in again.trials[:3]] == first
    values = [trial.params["a"] for trial in again.trials]
    assert len(set(values)) == 5  # the second call draws other random numbers
    assert again.best_value == max(values)
    fill(tmp_path / "study.db", lambda *_: pytest.fail("there are enough"), 5)


@needs_optuna
def test_a_study_with_other_facts_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "study.db", value_of, 1, objective="x")
    with pytest.raises(StageError, match=r"study.db: objective differ from those at its start"):
        open_study(tmp_path / "study.db", {"objective": "y"}, 0)


def test_the_params_of_a_search_may_differ_and_no_others() -> None:
    params = {"seed": 1, "a": {"b": 2, "c": [3]}}
    digest = params_digest(params, ["a.b"])
    assert params_digest({**params, "a": {"b": 9, "c": [3]}}, ["a.b"]) == digest
    assert params_digest({**params, "a": {"b": 2, "c": [4]}}, ["a.b"]) != digest
    assert params_digest({**params, "seed": 2}, ["a.b"]) != digest


def test_an_edit_of_a_stage_changes_the_digest_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "a.py").write_text("1")
    (tmp_path / "notes").write_text("1")
    run(["git", "init", "-q"], tmp_path)
    run(["git", "add", "-A"], tmp_path)
    digest = code_digest()
    (tmp_path / "notes").write_text("2")
    assert code_digest() == digest
    (tmp_path / "stages" / "a.py").write_text("2")
    assert code_digest() != digest


@needs_optuna
def test_a_damaged_study_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StageError, match=r"study.db: cannot be read \(.*\); delete it"):
        open_study(tmp_path / "study.db", {}, 0)


@needs_optuna
def test_a_trial_of_a_killed_search_counts_as_failed(tmp_path: Path) -> None:
    open_study(tmp_path / "study.db", {}, 0).ask()
    study = fill(tmp_path / "study.db", value_of, 1)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]


@needs_optuna
def test_ctrl_c_ends_all_trials_as_failed(tmp_path: Path) -> None:
    # A program that a shell starts in the background ignores Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stop = threading.Event()

    def trial(number: int, values: dict[str, Any], is_behind: Callable) -> float:
        if number == 0:
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(30)
        raise StoppedError

    study = open_study(tmp_path / "study.db", {}, 0)
    with pytest.raises(KeyboardInterrupt):
        Search(study, SPACE, trial, 5, stop).run_all(2)
    assert {trial.state.name for trial in study.trials} == {"FAIL"}
    assert len(study.trials) <= 2


@needs_optuna
def test_three_failures_in_a_row_end_the_search(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def trial(number: int, values: dict[str, Any], is_behind: Callable) -> float:
        if number in (0, 1, 3, 4, 5):
            raise StageError("a: is bad; mend it")
        return 1.0

    with pytest.raises(StageError, match="3 trials in a row have failed"):
        fill(tmp_path / "study.db", trial, 9)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[0].endswith("-> failed: a: is bad; mend it, 0 s")
    assert lines[2].endswith("-> 1.0000, 0 s")


@needs_optuna
def test_a_trial_whose_curve_is_behind_is_pruned(tmp_path: Path) -> None:
    def trial(number: int, values: dict[str, Any], is_behind: Callable) -> float:
        for epoch in range(1, 21):
            if is_behind(epoch, 0.001 * epoch if number == 6 else 0.1 * epoch):
                raise PrunedError
        return 1.0

    study = fill(tmp_path / "study.db", trial, 8)
    assert [trial.number for trial in study.trials if trial.state.name == "PRUNED"] == [6]
    assert count_ended(study) == 8
    assert studies.WARMUP_EPOCHS <= max(study.trials[6].intermediate_values) < 20
    page = study_page(study.trials, "s", "id:ndcg@10", SPACE)
    assert page.count("<svg") == 2
    assert "7 of 8 trials have a value" in page
    assert "pruned" in page


def test_a_folder_has_one_search_at_a_time(tmp_path: Path) -> None:
    with (
        only_process(tmp_path),
        pytest.raises(StageError, match="another search is at work"),
        only_process(tmp_path),
    ):
        pass
    with only_process(tmp_path):
        pass


def python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, sys, time\n{code}"]


EPOCHS = f"""
with open(os.environ["{CURVE_FILE}"], "a") as file:
    for n in range(3):
        print('{{"ndcg@10": 0.%d}}' % n, file=file, flush=True)
"""


def test_the_curve_of_a_command_is_watched_while_it_runs(tmp_path: Path) -> None:
    epochs = []

    def is_behind(epoch: int, metrics: dict[str, float]) -> bool:
        epochs.append((epoch, metrics["ndcg@10"]))
        return epoch == 3

    command = python(f"{EPOCHS}time.sleep(60)")
    (tmp_path / "curve").write_text('{"ndcg@10": 9}\n')  # of an earlier run
    start = time.monotonic()
    with pytest.raises(PrunedError):
        run_command(command, tmp_path / "log", tmp_path / "curve", is_behind, threading.Event())
    assert epochs == [(1, 0.0), (2, 0.1), (3, 0.2)]
    assert time.monotonic() - start < 50


def test_a_stopped_command_ends_with_its_children(tmp_path: Path) -> None:
    child = python("print(os.getpid(), flush=True); time.sleep(60)")
    code = f"import subprocess; subprocess.run({child!r})"
    stop = threading.Event()
    threading.Timer(2, stop.set).start()
    with pytest.raises(StoppedError):
        run_command(python(code), tmp_path / "log", tmp_path / "curve", lambda *_: False, stop)
    pid = int((tmp_path / "log").read_text().splitlines()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_failed_command_gives_its_first_error(tmp_path: Path) -> None:
    code = "sys.exit('a line\\nerror: a.b: is 0; use 1 to 2\\nERROR: failed to reproduce')"
    paths = tmp_path / "log", tmp_path / "curve"
    with pytest.raises(StageError, match=r"^a.b: is 0; use 1 to 2$"):
        run_command(python(code), *paths, lambda *_: False, threading.Event())
    run_command(python(""), *paths, lambda *_: False, threading.Event())


def test_an_unfinished_line_of_a_curve_waits(tmp_path: Path) -> None:
    path = tmp_path / "curve"
    assert read_epochs(path, 0) == []
    path.write_text('{"a": 1}\n{"a": 2}\n{"a"')
    assert read_epochs(path, 1) == [{"a": 2}]


def test_a_trial_is_an_experiment_in_a_copy() -> None:
    command = experiment_command("s-3", ["a.b=1", 'c="x"'], "validate")
    assert command[1:] == [
        *("-m", "dvc", "--wait-for-lock", "exp", "run", "--temp", "-n", "s-3"),
        *("-S", "a.b=1", "-S", 'c="x"', "validate"),
    ]


def test_an_unknown_key_ends_the_program_with_one_line() -> None:
    command = [sys.executable, "-m", "benchmarks.search", "--params", "nothing=1,2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: --params nothing: is not in params.yaml; use one of its keys\n"
