import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mutants import (
    ACCEPTED,
    NOTICED,
    TESTS,
    Mutant,
    chosen_modules,
    count_by_module,
    find_unrun,
    is_in,
    parse_mutant,
    read_accepted,
    read_statuses,
    summarize,
)
from tests.conftest import ROOT

DIFF = """# stages.data.pairs.x_pair_keys__mutmut_3: survived
--- stages/data/pairs.py
+++ stages/data/pairs.py
@@ -9,4 +9,3 @@
     context
-    return high | low
+    return high & low
"""


def test_a_mutant_is_named_by_its_function_and_its_change() -> None:
    mutant = parse_mutant("stages.data.pairs.x_pair_keys__mutmut_3", DIFF)
    expected = Mutant("stages.data.pairs.pair_keys", "return high | low", "return high & low")
    assert mutant == expected
    method = parse_mutant("stages.serving.demo.x\u01c1Page\u01c1__init____mutmut_2", DIFF)
    assert method.function == "stages.serving.demo.Page.__init__"
    private = parse_mutant("stages.serving.demo.x__page__mutmut_1", DIFF)
    assert private.function == "stages.serving.demo._page"


def test_the_statuses_are_those_of_the_listing() -> None:
    listing = "    a.x_b__mutmut_1: killed\n    a.x_b__mutmut_12: no tests\nTotal: 2\n"
    statuses = {"a.x_b__mutmut_1": "killed", "a.x_b__mutmut_12": "no tests"}
    assert read_statuses(listing) == statuses
    assert read_statuses(listing + "    a.x_main__mutmut_1: no tests\n") == statuses
    survivor = {"a.x_main__mutmut_2": "survived"}
    assert read_statuses(listing + "    a.x_main__mutmut_2: survived\n") == statuses | survivor


def test_every_module_has_a_score() -> None:
    statuses = {
        "stages.b.x_f__mutmut_1": "killed",
        "stages.b.x\u01c1C\u01c1f__mutmut_1": "timeout",
        "stages.b.x_f__mutmut_2": "survived",
        "stages.a.x_f__mutmut_1": "no tests",
    }
    lines = [summarize(module, counts) for module, counts in count_by_module(statuses).items()]
    assert lines == [
        "stages.a: 1 mutants, 1 no tests; score 0.0%",
        "stages.b: 3 mutants, 1 killed, 1 timeout, 1 survived; score 66.7%",
    ]


def test_an_accepted_mutant_needs_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "mutants.toml"
    block = '[[survivors]]\nfunction = "a.b"\nwas = "x"\nbecomes = ["y", "z"]\nreason = '
    path.write_text(block + '"equal results"')
    assert read_accepted(path) == {Mutant("a.b", "x", "y"), Mutant("a.b", "x", "z")}
    path.write_text(block + '" "')
    with pytest.raises(ValueError, match=r"mutants\.toml: a\.b has no reason; write one"):
        read_accepted(path)


def test_every_accepted_mutant_changes_a_line_of_its_module() -> None:
    for mutant in read_accepted(ACCEPTED):
        modules = [
            path for path in (ROOT / "stages").rglob("*.py") if is_in(mutant, [pattern(path)])
        ]
        assert len(modules) == 1, mutant
        lines = " ".join(line.strip() for line in modules[0].read_text().splitlines())
        assert mutant.was in lines, mutant


def pattern(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_packages_and_modules_can_be_chosen() -> None:
    assert list(chosen_modules([])) == list(TESTS)
    module = "stages/data/pairs.py"
    patterns = chosen_modules(["evaluation", module])
    assert patterns == {"evaluation": ["stages/evaluation/*"], "data": [module]}
    mutant = Mutant("stages.data.pairs.pair_keys", "", "")
    assert is_in(mutant, [module])
    assert is_in(mutant, ["stages/data/*"])
    assert not is_in(mutant, ["stages/evaluation/*", "stages/data/pair.py"])
    with pytest.raises(SystemExit, match=r"^retrieval: is no package or module; use some of data"):
        chosen_modules(["retrieval"])


def test_the_tests_of_every_package_exist() -> None:
    for package, paths in TESTS.items():
        assert (ROOT / "stages" / package).is_dir()
        assert all((ROOT / "tests" / path).exists() for path in paths)


# Under mutmut, the module that starts the threads of Polars is empty.
IMPORT_ALL = """
import importlib, pathlib, sys, types
sys.modules["stages.serving.one_thread"] = types.ModuleType("one_thread")
for name in sys.argv[1:]:
    importlib.import_module(name)
threads = [path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
print([name for name in threads if name.startswith("polars-") and name[7:].isdigit()])
"""


def test_no_module_of_tests_starts_the_threads_of_polars_when_it_is_imported() -> None:
    """A process that is forked later would wait for them, and the mutant count as noticed."""
    paths = [ROOT / "tests" / path for names in TESTS.values() for path in names]
    files = [
        file for path in paths for file in (path.glob("test_*.py") if path.is_dir() else [path])
    ]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    command = [sys.executable, "-c", IMPORT_ALL, *names]
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert output.stdout == "[]\n"


def test_a_mutant_whose_tests_could_not_run_is_none_that_was_noticed(tmp_path: Path) -> None:
    codes = {"a": {"x": 1, "y": None, "z": 255}, "b": {"v": 255, "w": 36}}
    for name, code in codes.items():
        (tmp_path / f"{name}.py.meta").write_text(json.dumps({"exit_code_by_key": code}))
    assert sorted(find_unrun(tmp_path)) == ["v", "z"]
    assert "not run" not in NOTICED
