"""No value and no name in params.yaml is run by a shell, and a source may have any name."""

import re
import time
from pathlib import Path

import pytest
from dvc.repo import Repo

from stages.common.params import YAML
from tests.conftest import copy_repository, dvc, edit_params, ran, run, write_tiny

pytestmark = pytest.mark.slow

COMMANDS = "x'; touch pwned; '\"$(touch pwned)\" `touch pwned` & touch pwned\ntouch pwned\n"
ODD = "100% %s {a,b} ${seed} é [b] = # , * ~"
# `-S` is read by Hydra, which fills in `${...}` itself.
ODD_FOR_HYDRA = "bob's é [b] {c,d} = # & e, $(touch pwned) `touch pwned`; touch pwned"
# Of each section, one of the stages that have a run for each of its blocks.
GROUPS = {"generators": "fit_generator", "retrievers": "faiss_index", "rankers": "train_ranker"}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone in which nothing has run."""
    folder = copy_repository(tmp_path / "repo")
    (folder / "dvc.lock").unlink(missing_ok=True)
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "all files"]):
        assert run(["git", *command], folder).returncode == 0
    return folder


def assert_nothing_ran(folder: Path) -> None:
    assert list(folder.rglob("pwned*")) == []


@pytest.mark.parametrize("name", [COMMANDS + ODD, " ", "-rf"])
def test_a_source_of_any_name_is_copied_and_watched(clone: Path, tmp_path: Path, name: str) -> None:
    source = write_tiny(tmp_path / "sources" / name)
    value = str(source)
    if name.startswith("-"):
        (clone / "data" / "sources" / name).symlink_to(source)
        value = name
    edit_params(clone, data__source=value)
    assert ran(dvc(clone, "repro", "download")) == {"source", "download"}
    raw = {path.name: path.read_bytes() for path in (clone / "data" / "raw").iterdir()}
    assert raw == {path.name: path.read_bytes() for path in source.iterdir()}
    with (source / "ratings.csv").open("a") as file:
        file.write("1,1,4.0,1000000000\n")
    assert "changed deps" in dvc(clone, "status", "download")
    assert_nothing_ran(tmp_path)


def run_alone(repo: Path, names: list[str]) -> str:
    """Run the stages without those before them, with empty files for all that they depend on."""
    with Repo(str(repo)) as dvc_repo:
        deps = [dep.fs_path for s in dvc_repo.index.stages if s.name in names for dep in s.deps]
    for path in map(Path, deps):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    text = dvc(repo, "repro", "--single-item", "--keep-going", *names, ok=False)
    assert text.count("Running stage '") == len(names)
    return text


def test_a_block_of_a_hostile_name_is_one_line(clone: Path) -> None:
    params = YAML().load(clone / "params.yaml")
    for section in GROUPS:
        params[section][COMMANDS] = dict(list(params[section].values())[-1])
    YAML().dump(params, clone / "params.yaml")
    names = [f"{stage}@{COMMANDS}" for stage in GROUPS.values()]
    text = run_alone(clone, names)
    for name in names:
        assert f"error: {name!r}: is no name of a block; use letters, digits and _" in text
    assert "Traceback" not in text
    assert_nothing_ran(clone)


def test_a_hostile_value_runs_nothing(clone: Path) -> None:
    values = ("export__ranker", "evaluate__item_vectors")
    values += ("rankers__basic__candidates", "rankers__basic__retriever")
    edit_params(clone, **dict.fromkeys(values, COMMANDS))
    text = run_alone(clone, ["export", "beyond_accuracy", "ranker_data@basic"])
    assert f"error: export.ranker: is {COMMANDS!r}; use one of basic, history, hit" in text
    assert_nothing_ran(clone)


@pytest.mark.long
@pytest.mark.parametrize("option", ["--force", "--temp", "--queue"])
def test_a_source_of_an_odd_name_can_be_tried_as_an_experiment(
    clone: Path, tmp_path: Path, option: str
) -> None:
    source = write_tiny(tmp_path / "sources" / ODD_FOR_HYDRA)
    text = dvc(
        clone, "exp", "run", option, "-n", "odd", "-S", f'data.source="{source}"', "download"
    )
    if option == "--queue":
        dvc(clone, "queue", "start")
        for _ in range(120):
            text = dvc(clone, "queue", "status")
            if not re.search("Queued|Running", text):
                break
            time.sleep(1)
        dvc(clone, "queue", "stop")
    assert "odd" in dvc(clone, "exp", "list", "--name-only").split(), text
    dvc(clone, "exp", "branch", "odd", "tried")
    run(["git", "checkout", "-q", "-f", "tried"], clone)
    assert YAML().load(clone / "params.yaml")["data"]["source"] == str(source)
    assert "download" in YAML().load(clone / "dvc.lock")["stages"]
    assert_nothing_ran(tmp_path)
