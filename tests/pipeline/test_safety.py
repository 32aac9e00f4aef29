"""Input is data and never code, downloads are checked, and packages are pinned."""

import ast
import re
from pathlib import Path

import pytest
from packaging.markers import Marker

from tests.conftest import ROOT, run

# Modules and calls that run code from what they read.
MODULES = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "marshal", "shelve", "torch"}
CALLS = {"eval", "exec", "compile", "__import__", "load_model", "unsafe_load", "system", "popen"}
SAFE_CALLS = {("re", "compile"), ("model", "compile"), ("list", "eval")}  # the last is Polars'
UNSAFE_OPTIONS = {("allow_pickle", True), ("shell", True)}
DATA_SUFFIXES = {".parquet", ".npz", ".faiss", ".zip", ".dat", ".inter", ".item"}
SECRET_SUFFIXES = {".pem", ".key", ".env"}
SECRET = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|gh[pousr]_[A-Za-z0-9]{36}|xox[bap]-\d"
)


def unsafe_names(code: str) -> list[str]:
    """Return the imports, calls and options of a module's source that may run what it reads."""
    names = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names]
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [name for name in modules if name.split(".")[0] in MODULES]
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            owner = getattr(node.func, "value", None)
            owner = getattr(owner, "attr", getattr(owner, "id", ""))
            if name in CALLS and (owner, name) not in SAFE_CALLS:
                names.append(f"{owner}.{name}")
            options = [(k.arg, getattr(k.value, "value", None)) for k in node.keywords]
            names += [option for option, value in options if (option, value) in UNSAFE_OPTIONS]
    return names


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval(x)",
        "os.system(x)",
        "np.load(x, allow_pickle=True)",
        "subprocess.run(x, shell=True)",
        "tf.saved_model.load_model(x)",
    ],
)
def test_code_that_runs_what_it_reads_is_noticed(code: str) -> None:
    assert unsafe_names(code)


def test_no_module_runs_what_it_reads() -> None:
    benchmarks = ROOT / "benchmarks"
    for path in [*(ROOT / "stages").rglob("*.py"), *benchmarks.glob("*.py")]:
        assert unsafe_names(path.read_text()) == [], path
    for path in (benchmarks / "peers").glob("*.py"):  # train torch's models, and load none
        assert set(unsafe_names(path.read_text())) <= {"torch"}, path


def normalized(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def lock_entries(lock: str) -> list[tuple[str, str, str]]:
    """Name, version and marker of each entry of a lock, all of which have hashes."""
    entries = re.split(r"\n(?=[A-Za-z])", re.sub(r"^#.*\n", "", lock, flags=re.M).strip())
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    line = r"([\w.-]+)(?:\[[\w,]+\])?==([^\s;]+)(?: ; (.+))? \\\n"
    groups = [re.match(line, entry).groups("") for entry in entries]
    return [(normalized(name), version, marker) for name, version, marker in groups]


def test_every_requirement_has_one_version_and_hashes() -> None:
    for path in ("requirements", "requirements-serving", "requirements-ray", "tests/requirements"):
        entries = lock_entries((ROOT / f"{path}.txt").read_text())
        versions = {name: version for name, version, _ in entries}
        assert len(versions) == len(entries)  # also on all platforms and versions of Python
        text = (ROOT / f"{path}.in").read_text()
        requirements = re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?(?:==([^\s;]+))?(?:;.*)?$", text, re.M)
        assert len(requirements) == len(re.findall(r"^[^#\n]", text, re.M)) > 0
        for name, version in requirements:
            assert versions[normalized(name)] == version or not version


@pytest.mark.parametrize(
    ("system", "machine", "missing"),
    [
        ("linux", "x86_64", set()),
        ("linux", "aarch64", {"ir-measures", "pytrec-eval-terrier"}),  # of one test
        ("darwin", "arm64", set()),
    ],
)
def test_platforms_have_all_packages_but_those_of_one_test(
    system: str, machine: str, missing: set[str]
) -> None:
    environment = {"sys_platform": system, "platform_machine": machine}
    entries = lock_entries((ROOT / "requirements.txt").read_text())
    absent = {
        name
        for name, _, marker in entries
        if marker and "win32" not in marker and not Marker(marker).evaluate(environment)
    }
    assert absent == missing
    assert {"tensorflow", "faiss-cpu", "lightgbm", "dvc"} <= {name for name, *_ in entries}
    assert "tensorflow-macos" not in {name for name, *_ in entries}


def test_no_secrets_and_no_data_are_in_git() -> None:
    names = run(["git", "ls-files"], ROOT).stdout.splitlines()
    suffixes = DATA_SUFFIXES | SECRET_SUFFIXES
    assert [name for name in names if Path(name).suffix in suffixes] == []
    for name in names:
        path = ROOT / name
        if path.is_file() and path.suffix not in (".png", ".svg"):
            assert not SECRET.search(path.read_text(errors="replace")), name
