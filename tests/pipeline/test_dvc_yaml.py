"""dvc.yaml agrees with the code and with itself, and the test targets have one reader."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from dvc.repo import Repo
from dvc.repo.reproduce import plan_repro

from stages.cli.place import stage_names
from stages.common.params import YAML
from tests.conftest import ROOT

PARAMS = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
TEXT = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
TARGETS = "data/split/test.parquet"
# They decide where work runs, how threads wait (tests/parallel) and what a stage shows (tests/cli),
# never its result, so an edit makes no result stale.
UNDECLARED = {
    "stages/__init__.py",
    *(path.relative_to(ROOT).as_posix() for path in (ROOT / "stages" / "cli").glob("*.py")),
    "stages/parallel/ray_backend/cluster.py",
    "stages/parallel/ray_backend/shards.py",
}
Stages = dict[str, dict[str, set[str]]]


def read_stages(root: Path) -> Stages:
    """Every stage's module, deps, outs and params as DVC resolves them."""
    stages = {}
    with Repo(str(root)) as repo:
        for stage in repo.index.stages:
            files = [d for d in stage.deps if not hasattr(d, "params")]
            stages[stage.addressing.removeprefix("dvc.yaml:")] = {
                "module": set(re.findall(r"-m stages\.(\w+)", str(stage.cmd))),
                "cmd": set(str(stage.cmd).split()),
                "deps": {Path(d.fs_path).relative_to(root).as_posix() for d in files},
                "outs": {Path(o.fs_path).relative_to(root).as_posix() for o in stage.outs},
                "params": {key for d in stage.deps if hasattr(d, "params") for key in d.params},
            }
    return stages


@cache
def the_stages() -> Stages:
    return read_stages(ROOT)


def is_only_a_docstring(path: str) -> bool:
    body = ast.parse((ROOT / path).read_text()).body
    return all(isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) for n in body)


@cache
def imports(path: str) -> frozenset[str]:
    """The project's files that a file imports, directly or not, including itself.

    A package's `__init__.py` counts only if it has code.
    """
    if path in UNDECLARED or (path.endswith("__init__.py") and is_only_a_docstring(path)):
        return frozenset()
    files = {path}
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("stages."):
                files |= imported_files(name.replace(".", "/"))
    return frozenset(files)


def imported_files(module: str) -> set[str]:
    """The files that run when `module` (with slashes) is imported, with what they import."""
    files: set[str] = set()
    for folder in Path(module).parents:
        if (ROOT / folder / "__init__.py").is_file():
            files |= imports(f"{folder}/__init__.py")
    for path in (f"{module}.py", f"{module}/__init__.py"):
        if (ROOT / path).is_file():
            files |= imports(path)
    return files


def covers(dep: str, path: str) -> bool:
    return path == dep or path.startswith(f"{dep}/")


def code_of(name: str, stage: dict[str, set[str]]) -> set[str]:
    """The files whose edit may change what a stage writes."""
    (module,) = stage["module"]
    files = set(imports(f"stages/{module}.py"))
    package = {"train_retrieval": "retrieval", "fit_generator": "generators"}.get(module)
    if package:
        files |= imported_files(f"stages/{package}/{name.split('@')[1]}")
    return files


def undeclared(stages: Stages) -> list[str]:
    """Files that a stage imports and that its deps lack."""
    return [
        f"{name}: {path}"
        for name, stage in stages.items()
        for path in sorted(code_of(name, stage))
        if not any(covers(dep, path) for dep in stage["deps"])
    ]


def superfluous(stages: Stages) -> list[str]:
    """Deps of code that a stage does not import: an edit would rerun it for nothing."""
    return [
        f"{name}: {dep}"
        for name, stage in stages.items()
        for dep in sorted(stage["deps"])
        if dep.startswith("stages/") and not any(covers(dep, p) for p in code_of(name, stage))
    ]


def readers(stages: Stages, path: str) -> set[str]:
    """Stage definitions that depend on `path` or on a folder that holds it."""
    return {
        name.split("@")[0] for name, s in stages.items() if any(covers(d, path) for d in s["deps"])
    }


def test_the_modules_of_stages_are_the_stages() -> None:
    modules = {p.stem for p in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert modules == set(TEXT)


def test_every_stage_runs_the_module_of_its_name() -> None:
    for name, stage in the_stages().items():
        assert stage["module"] == {name.split("@")[0]}


def test_every_stage_declares_the_code_that_it_imports() -> None:
    assert undeclared(the_stages()) == []


def test_no_stage_declares_code_that_it_does_not_import() -> None:
    assert superfluous(the_stages()) == []


def test_an_undeclared_import_is_noticed() -> None:
    clean = the_stages()["clean"]
    path = "stages/data/raw_formats.py"
    broken = {"clean": {**clean, "deps": clean["deps"] - {path}}}
    assert undeclared(broken) == [f"clean: {path}"]


def test_a_superfluous_dep_is_noticed() -> None:
    name, path = "train_retrieval@history", "stages/retrieval/two_tower.py"
    stage = the_stages()[name]
    assert superfluous({name: {**stage, "deps": {*stage["deps"], path}}}) == [f"{name}: {path}"]


def test_no_module_imports_itself_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for file in sorted((ROOT / "stages").rglob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        graph[path] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stages"):
                for name in (node.module, *(f"{node.module}.{a.name}" for a in node.names)):
                    target = f"{name.replace('.', '/')}.py"
                    if (ROOT / target).is_file():
                        graph[path].add(target)
    done: set[str] = set()

    def visit(path: str, stack: tuple[str, ...]) -> None:
        assert path not in stack, " -> ".join([*stack[stack.index(path) :], path])
        if path not in done:
            for target in sorted(graph[path]):
                visit(target, (*stack, path))
            done.add(path)

    for path in graph:
        visit(path, ())


def test_what_a_stage_shows_imports_nothing_that_results_depend_on() -> None:
    for path in (ROOT / "stages" / "cli").glob("*.py"):
        modules = re.findall(r"^from (stages\S*)", path.read_text(), re.MULTILINE)
        assert all(module.startswith("stages.cli") for module in modules), path


@pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # of DVC
def test_the_order_of_the_stages_is_that_of_dvc() -> None:
    with Repo(str(ROOT)) as repo:
        order = [stage.addressing for stage in plan_repro(repo.index.graph)]
    assert stage_names((ROOT / "dvc.yaml").read_text(), PARAMS) == order


def test_ray_is_behind_one_package() -> None:
    """Outside of it, its modules are imported within functions, by those who declare them."""
    line = re.compile(r"^( *)from stages\.parallel\.ray_backend", re.MULTILINE)
    importers = {}
    for path in sorted((ROOT / "stages").rglob("*.py")):
        indents = line.findall(path.read_text())
        if indents and path.parent.name != "ray_backend":
            importers[path.stem] = indents
    assert set(importers) == {"executor", "train_ranker", "train_retrieval"}
    assert all(all(indents) for indents in importers.values())


def test_no_stage_imports_a_stage() -> None:
    for module in TEXT:
        others = {Path(p).stem for p in imports(f"stages/{module}.py") if p.count("/") == 1}
        assert others & set(TEXT) == {module}, module


def test_no_param_is_pasted_into_a_command() -> None:
    for name, stage in TEXT.items():
        command = stage.get("do", stage)["cmd"]
        assert isinstance(command, str), name
        assert "$" not in command.replace(' "$DVC_STAGE"', ""), name


def test_only_evaluate_reads_the_test_targets() -> None:
    assert readers(the_stages(), TARGETS) == {"evaluate"}


@pytest.mark.parametrize("dep", [TARGETS, "data/split"])
def test_a_second_reader_of_the_test_targets_is_noticed(dep: str) -> None:
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
            has_part = any(covers(word, d) or covers(d, word) for d in declared)
            assert has_part or word == "data/sources", f"{name}: {word}"


def test_no_module_but_evaluate_mentions_the_test_targets() -> None:
    for path in (ROOT / "stages").rglob("*.py"):
        if path.name in ("time_split.py", "evaluate.py"):
            continue
        assert "split/test" not in path.read_text().replace('"', ""), path
        assert not re.search(r"\bTEST,", path.read_text()) or path.name == "tables.py", path


SECTIONS_OF = {  # what functions of other modules read
    "generator_names()": ["generators", "retrievers"],
    "merged_generators()": ["generators", "retrievers", "fusion"],
    "system_names()": ["generators", "retrievers", "rankers", "leaderboard"],
    "read_context(": ["generators"],
    "read_seed()": ["seed"],
    "backend()": ["backend"],
}


def test_every_section_that_a_stage_reads_is_declared() -> None:
    read = re.compile(
        r"(?:load_params\([\w.]+, |read_(?:section|value)\(|block_names\()f?\"([^\"]+)\""
    )
    for name, stage in the_stages().items():
        (module,) = stage["module"]
        if module == "report":  # shows all of params.yaml, and depends on all of it
            continue
        text = (ROOT / f"stages/{module}.py").read_text()
        sections = read.findall(text)
        for call, extra in SECTIONS_OF.items():
            sections += extra if call in text else []
        for section in sections:
            key = section.replace("{name}", name.split("@")[-1]).split(".{")[0]
            is_declared = any(key == k or key.startswith(f"{k}.") for k in stage["params"])
            assert is_declared, f"{name}: {section}"


def test_the_report_depends_on_all_params() -> None:
    assert {"params.yaml": None} in TEXT["report"]["params"]


def test_every_stage_says_what_it_does() -> None:
    for name, stage in TEXT.items():
        assert stage.get("do", stage)["desc"].endswith("."), name


def test_metrics_in_git_belong_to_a_stage() -> None:
    outs = {out for stage in the_stages().values() for out in stage["outs"]}
    for path in (ROOT / "metrics").rglob("*"):
        if path.is_file():
            name = path.relative_to(ROOT).as_posix()
            assert any(covers(out, name) for out in outs), path
