"""Change the source in small ways (mutants), and list the changes that no test notices.

    make mutants                                           # all of `TESTS`, for hours
    make mutants only="evaluation stages/data/pairs.py"    # a package, a module

mutmut makes the mutants, and runs for each the tests that call the changed function. Each package
has its own tests, without those that run for long. They run in a copy below `mutants/`, which stays
there: `mutmut browse` in that folder shows every mutant.

A mutant that no test notices fails the program unless benchmarks/mutants.toml accepts it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT, copy_repository
from tests.tiny_chain import run_chain

WORK = ROOT / "mutants"
ACCEPTED = ROOT / "benchmarks" / "mutants.toml"
# The tests of each package of `stages`: those in its folder, and those of the stages that use it.
TESTS = {
    "data": [
        "data",
        *(f"stages/test_{stage}.py" for stage in ("clean", "inspect", "positives", "seen")),
    ],
    "ranking": ["ranking", "stages/test_ranker_data.py"],
    "evaluation": [
        "evaluation",
        "stages/test_evaluate.py",
        "stages/test_leaderboard.py",
        "stages/test_beyond_accuracy.py",
    ],
    "serving": [
        f"serving/test_{module}.py"
        for module in (
            *("api", "arguments", "bundle", "demo", "demo_users", "explanations", "feedback"),
            *("http_connections", "http_metrics", "http_requests", "http_service"),
            *("local_server", "output", "pipeline", "ratings_file", "raw_ids", "serve"),
            *("title_search", "titles"),
        )
    ],
}
# Programs whose tests start processes, in which no code is changed.
PROGRAMS = ["stages/serving/__main__.py", "stages/serving/recommend.py"]
ENVIRONMENT = {
    # Less to start in each of thousands of processes.
    "POLARS_MAX_THREADS": "1",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    # Compiled functions cannot be changed.
    "NUMBA_DISABLE_JIT": "1",
}
# A crash or an endless loop is noticed as well as a wrong result.
NOTICED = ("killed", "timeout", "segfault", "suspicious")
UNRUN = 255  # mutmut's exit code for a mutant whose tests pytest could not run
CONFIG = """
[tool.mutmut]
source_paths = ["stages"]
only_mutate = {modules}
do_not_mutate = {programs}
also_copy = ["benchmarks", "data", "docs", "dvc.yaml", "params.yaml", "plots"]
pytest_add_cli_args = [
  "-p", "benchmarks.mutants_pytest", "--assert=plain", "-m", "not slow and not long",
  "--ignore-glob=*/test_properties.py",
]
pytest_add_cli_args_test_selection = {tests}
# Polars hangs in a process that is forked after its threads have started, and a mutant that hangs
# counts as noticed. The fork server only imports the tests, which therefore must not use Polars
# before they run.
process_isolation = "forkserver"
"""


class Mutant(NamedTuple):
    """A mutant, named by its change: numbers of mutants move when the function is edited."""

    function: str  # with its module
    was: str  # the changed lines, without the indentation
    becomes: str


def parse_mutant(name: str, diff: str) -> Mutant:
    """Return the mutant of a unified diff.

    Args:
        name: mutmut's name, as `stages.data.pairs.x_pair_keys__mutmut_3`; methods have the name
            `xǁClassǁmethod`.
        diff: What `mutmut show` prints.
    """
    module, _, function = name.partition("__mutmut_")[0].rpartition(".")
    function = function.removeprefix("x").removeprefix("_").strip("ǁ").replace("ǁ", ".")
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    was, becomes = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    return Mutant(f"{module}.{function}", was, becomes)


def read_accepted(path: Path) -> set[Mutant]:
    """Read the mutants that no test has to notice.

    Raises:
        ValueError: A mutant has no reason.
    """
    mutants = set()
    for block in tomllib.loads(path.read_text(encoding="utf-8")).get("survivors", []):
        if not block["reason"].strip():
            raise ValueError(f"{path}: {block['function']} has no reason; write one")
        mutants |= {Mutant(block["function"], block["was"], text) for text in block["becomes"]}
    return mutants


def read_statuses(listing: str) -> dict[str, str]:
    """Return the status by mutant from the lines `<mutant>: <status>` of `mutmut results`.

    The `main` of a program is left out: its tests start a process, in which no code is changed.
    """
    pairs = [line.strip().rsplit(": ", 1) for line in listing.splitlines() if ": " in line]
    mutants = {name: status for name, status in pairs if "__mutmut_" in name}
    return {
        name: status
        for name, status in mutants.items()
        if not (".x_main__mutmut_" in name and status == "no tests")
    }


def copy_for(package: str, modules: list[str]) -> Path:
    """Copy the repository, with mutmut's configuration for the `modules` of a package."""
    folder = WORK / package
    shutil.rmtree(folder, ignore_errors=True)
    copy_repository(folder)
    # It starts threads of Polars when it is imported.
    (folder / "stages" / "serving" / "one_thread.py").write_text("")
    tests = [f"tests/{path}" for path in TESTS[package]]
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(CONFIG.format(modules=modules, programs=PROGRAMS, tests=tests))
    return folder


def mutmut(folder: Path, *arguments: str) -> str:
    """Run mutmut in `folder`, and return what it prints."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    (WORK / "tmp").mkdir(parents=True, exist_ok=True)
    folders = {"TINY_RUN": str(WORK / "tiny_run"), "PYTEST_DEBUG_TEMPROOT": str(WORK / "tmp")}
    environment = {**os.environ, **ENVIRONMENT, **folders}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"mutmut {' '.join(arguments)}: {(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def find_unrun(folder: Path) -> list[str]:
    """Return the mutants whose tests pytest could not run.

    mutmut counts them as mutants whose tests ran out of time.
    """
    codes: dict[str, int | None] = {}
    for path in folder.rglob("*.meta"):
        codes |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return [name for name, code in codes.items() if code == UNRUN]


def run_package(package: str, modules: list[str]) -> tuple[dict[str, str], set[Mutant]]:
    """Return the status of every mutant by its name, and the mutants that no test has noticed."""
    folder = copy_for(package, modules)
    mutmut(folder, "run", "--max-children", "1")
    statuses = read_statuses(mutmut(folder, "results", "--all", "true"))
    statuses |= dict.fromkeys(find_unrun(folder), "not run")
    unnoticed = [name for name, status in statuses.items() if status not in NOTICED]
    survivors = {parse_mutant(name, mutmut(folder, "show", name)) for name in unnoticed}
    return statuses, survivors


def count_by_module(statuses: dict[str, str]) -> dict[str, Counter]:
    """Return the number of mutants by status for every module."""
    counts: defaultdict[str, Counter] = defaultdict(Counter)
    for name, status in statuses.items():
        counts[name.partition("__mutmut_")[0].rpartition(".")[0]][status] += 1
    return dict(sorted(counts.items()))


def summarize(name: str, counts: Counter) -> str:
    """Return the line of a module or a package."""
    total, noticed = sum(counts.values()), sum(counts[status] for status in NOTICED)
    by_status = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return f"{name}: {total} mutants, {by_status}; score {noticed / max(total, 1):.1%}"


def chosen_modules(names: list[str]) -> dict[str, list[str]]:
    """Return patterns of modules by package, from names of packages and paths of modules."""
    modules: dict[str, list[str]] = {}
    for name in names or TESTS:
        package = name if name in TESTS else Path(name).parent.name
        if package not in TESTS or not (name in TESTS or (ROOT / name).is_file()):
            raise SystemExit(f"{name}: is no package or module; use some of {', '.join(TESTS)}")
        modules.setdefault(package, []).append(f"stages/{name}/*" if name in TESTS else name)
    return modules


def is_in(mutant: Mutant, patterns: list[str]) -> bool:
    """Whether the module of a mutant is among those of `chosen_modules`."""
    path = mutant.function.replace(".", "/") + "/"
    return any(path.startswith(p.removesuffix("*").replace(".py", "/")) for p in patterns)


def main() -> None:
    """Print the score of every package; fail if a mutant survives that is not accepted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="packages of stages/, or paths of modules")
    modules, accepted = chosen_modules(parser.parse_args().only), read_accepted(ACCEPTED)
    shutil.rmtree(WORK / "tiny_run", ignore_errors=True)
    run_chain(WORK / "tiny_run")
    is_clean = True
    for package, patterns in modules.items():
        start_time = time.perf_counter()
        statuses, survivors = run_package(package, patterns)
        seconds = time.perf_counter() - start_time
        for module, counts in count_by_module(statuses).items():
            print(summarize(module, counts))
        print(f"{summarize(package, Counter(statuses.values()))}; {seconds:.0f} s")
        unlisted = survivors - accepted
        unused = {m for m in accepted - survivors if is_in(m, patterns)}
        for title, mutants in (("survives", unlisted), ("accepted, but noticed", unused)):
            for mutant in sorted(mutants):
                print(f"  {title}: {mutant.function}\n    - {mutant.was}\n    + {mutant.becomes}")
        is_clean &= not unlisted and not unused
    sys.exit(0 if is_clean else 1)


if __name__ == "__main__":
    main()
