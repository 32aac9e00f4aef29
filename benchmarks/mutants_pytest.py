"""What pytest does for `benchmarks.mutants`, whose runs of mutmut load this as a plugin.

It makes the runs quicker, which changes no result, and names more tests of a function: mutmut
knows only the first test of a fixture that several tests share.
"""

import gc
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mutmut.state import state

STATS = Path("mutmut-stats.json")  # of mutmut, in the folder of the mutants
FAR = float("inf")
PROCESSES = {"subprocess", "run_command"}  # names in tests that start a process
MUTANT = "MUTANT_UNDER_TEST"  # the variable in which mutmut names the mutant
called_by_fixture: dict[pytest.FixtureDef, set[str]] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests by the seconds that they took, and their modules by the quickest one.

    The tests of the changed module are the first ones: they notice most mutants. Within a module,
    the first case of each test comes before the other cases. Tests that start a process are left
    out: no code is changed in it.
    """
    in_process = [item for item in items if PROCESSES.isdisjoint(item.obj.__code__.co_names)]
    config.hook.pytest_deselected(items=[item for item in items if item not in in_process])
    items[:] = in_process
    if not STATS.is_file():
        return
    seconds = json.loads(STATS.read_text(encoding="utf-8"))["duration_by_test"]
    quickest: dict[Path, float] = {}
    first_cases: dict[str, pytest.Item] = {}
    for item in items:
        first_cases.setdefault(item.nodeid.partition("[")[0], item)
        quickest[item.path] = min(quickest.get(item.path, FAR), seconds.get(item.nodeid, FAR))
    module = os.environ.get(MUTANT, "").rpartition(".")[0].rpartition(".")[2]
    items.sort(
        key=lambda item: (
            item.path.stem != f"test_{module}",
            *(quickest[item.path], item.path),
            first_cases[item.nodeid.partition("[")[0]] is not item,
            seconds.get(item.nodeid, FAR),
        )
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep the garbage collector of forked processes from what the fork server has imported."""
    if session.config.option.collectonly:
        gc.collect()
        gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    """End the process of a mutant that a test has noticed.

    Otherwise pytest would raise an error if the mutant leaves a socket open, and mutmut would take
    this for tests that could not run.
    """
    if exitstatus == pytest.ExitCode.TESTS_FAILED and "__mutmut_" in os.environ.get(MUTANT, ""):
        os._exit(exitstatus)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef) -> Iterator[None]:
    """Note the functions that a fixture calls."""
    called = state()._stats
    earlier = called.copy()
    called.clear()
    try:
        return (yield)
    finally:
        called_by_fixture[fixturedef] = called.copy()
        called |= earlier


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Count the functions of a test's fixtures as called by the test."""
    for fixtures in item._fixtureinfo.name2fixturedefs.values():
        state()._stats.update(called_by_fixture.get(fixtures[-1], ()))
