"""dvc.yaml agrees with the code and with itself, and the future has one reader."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from dvc.repo import Repo

from stages.common.params import YAML
from tests.conftest import ROOT

PARAMS = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
TARGETS = "data/split/test.parquet"


def read_stages(root: Path) -> dict[str, dict[str, set[str]]]:
    """Every stage's module, deps, outs and params as DVC resolves them."""
    stages = {}
    with Repo(str(root)) as repo:
        for stage in repo.index.stages:
            named = [d for d in stage.deps if not str(d).startswith("params.yaml")]
            stages[stage.addressing.removeprefix("dvc.yaml:")] = {
                "module": set(re.findall(r"-m stages\.(\w+)", str(stage.cmd))),
                "cmd": set(str(stage.cmd).split()),
                "deps": {Path(d.fs_path).relative_to(root).as_posix() for d in named},
                "outs": {Path(o.fs_path).relative_to(root).as_posix() for o in stage.outs},
                "params": {key for d in stage.deps if hasattr(d, "params") for key in d.params},
            }
    return stages


@cache
def the_stages() -> dict[str, dict[str, set[str]]]:
    return read_stages(ROOT)


# What brings work to a cluster decides where things are done, never what comes out
# (tests/test_cluster.py). No local run imports it, and a change of it makes no result stale.
CLUSTER = {"stages/cluster.py", "stages/shards.py"}


@cache
def imports(path: str) -> frozenset[str]:
    """The project's files that a file imports, directly or not, with itself."""
    if path in CLUSTER:
        return frozenset()
    tree = ast.parse((ROOT / path).read_text())
    found = {path}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if not name.startswith("stages."):
                continue
            file = name.replace(".", "/")
            if (ROOT / f"{file}.py").is_file():
                found |= imports(f"{file}.py")
            elif (ROOT / file / "__init__.py").is_file():
                found |= imports(f"{file}/__init__.py")
    return frozenset(found)


def covered(path: str, deps: set[str]) -> bool:
    return any(path == d or path.startswith(f"{d}/") for d in deps)


def undeclared(stages: dict[str, dict[str, set[str]]]) -> list[str]:
    """Stages whose deps lack a file that their module imports."""
    missing = []
    for name, stage in stages.items():
        (module,) = stage["module"]
        needed = set(imports(f"stages/{module}.py"))
        if module == "train_retrieval":
            needed |= imports(f"stages/retrieval/{name.split('@')[1]}.py")
        code = {p for p in needed if p.removeprefix("stages/") not in ("__init__.py",)}
        missing += [f"{name}: {p}" for p in sorted(code) if not covered(p, stage["deps"])]
    return missing


def readers(stages: dict[str, dict[str, set[str]]], path: str) -> set[str]:
    """Stage definitions that depend on `path` or on a folder that holds it."""
    return {name.split("@")[0] for name, s in stages.items() if covered(path, s["deps"])}


def test_every_stage_declares_the_code_that_it_imports() -> None:
    assert undeclared(the_stages()) == []


def test_an_undeclared_import_is_found() -> None:
    clean = the_stages()["clean"]
    broken = {"clean": {**clean, "deps": clean["deps"] - {"stages/raw_formats.py"}}}
    assert undeclared(broken) == ["clean: stages/raw_formats.py"]


def test_only_the_engine_imports_what_no_stage_declares() -> None:
    names = "|".join(Path(path).stem for path in CLUSTER)
    line = re.compile(
        rf"^( *)from stages(?:\.(?:{names})\b| import .*\b(?:{names})\b)", re.MULTILINE
    )
    found = {}
    for path in sorted((ROOT / "stages").rglob("*.py")):
        spaces = line.findall(path.read_text())
        if spaces and path.relative_to(ROOT).as_posix() not in CLUSTER:
            found[path.stem] = spaces
    trainings = {"cluster_ranker", "cluster_retrieval", "cluster_training"}
    assert set(found) == {"engine", *trainings}  # trainings are declared by their stages
    assert all(found["engine"])  # within a function


def test_no_stage_imports_a_stage() -> None:
    modules = {next(iter(s["module"])) for s in the_stages().values()}
    for module in modules:
        others = {Path(p).stem for p in imports(f"stages/{module}.py") if p.count("/") == 1}
        assert others & modules == {module}, module


def test_only_evaluate_reads_the_test_targets() -> None:
    assert readers(the_stages(), TARGETS) == {"evaluate"}


@pytest.mark.parametrize("dep", [TARGETS, "data/split"])
def test_a_second_reader_of_the_test_targets_is_found(dep: str) -> None:
    stage = the_stages()["histories"]
    planted = {**the_stages(), "histories": {**stage, "deps": {*stage["deps"], dep}}}
    assert readers(planted, TARGETS) == {"evaluate", "histories"}


def test_no_stage_names_a_path_in_its_command_that_it_does_not_declare() -> None:
    for name, stage in the_stages().items():
        if name == "download":  # its paths start at another folder
            continue
        for word in stage["cmd"]:
            if not re.match(r"(data|metrics)(/|$)", word):
                continue
            declared = stage["deps"] | stage["outs"]
            holds = any(d == word or d.startswith(f"{word}/") for d in declared)
            assert holds or word == "data/sources", f"{name}: {word}"


def test_no_module_but_evaluate_mentions_the_test_targets() -> None:
    for path in (ROOT / "stages").rglob("*.py"):
        if path.name in ("time_split.py", "evaluate.py"):
            continue
        assert "split/test" not in path.read_text().replace('"', ""), path
        assert "TEST," not in path.read_text(), path


def test_every_section_that_a_stage_reads_is_declared() -> None:
    call = re.compile(r"(?:load_params\([\w.]+, |read_(?:section|value)\()f?\"([^\"]+)\"")
    for name, stage in the_stages().items():
        (module,) = stage["module"]
        variant = name.split("@")[-1]
        text = (ROOT / f"stages/{module}.py").read_text()
        for section in [*call.findall(text), *(["seed"] if "read_seed()" in text else [])]:
            wanted = section.replace("{name}", variant).split(".{")[0]
            keys = stage["params"]
            declared = any(wanted == k or wanted.startswith(f"{k}.") for k in keys)
            assert declared, f"{name}: {section}"


def test_systems_are_the_generators_fusion_and_the_rankers() -> None:
    board = PARAMS["leaderboard"]
    assert set(board["retrievers"]) == set(PARAMS["retrievers"])
    rankers = [f"ranker_{name}" for name in PARAMS["rankers"]]
    generators = PARAMS["fusion"]["generators"]
    assert set(board["systems"]) == {*generators, "fusion", *rankers}
    stages = the_stages()
    assert {f"data/recommendations/{g}" for g in generators} < stages["fusion"]["deps"]
    for system in board["systems"]:
        assert f"metrics/{system}.json" in stages["leaderboard"]["deps"]
        assert f"data/ranks/{system}.parquet" in stages["leaderboard"]["deps"]


def test_every_stage_says_what_it_does() -> None:
    text = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
    for name, stage in text.items():
        assert stage.get("do", stage)["desc"].endswith("."), name


def test_metrics_in_git_belong_to_a_stage() -> None:
    outs = {out for stage in the_stages().values() for out in stage["outs"]}
    for path in (ROOT / "metrics").rglob("*"):
        if path.is_file():
            assert path.relative_to(ROOT).as_posix() in outs, path
