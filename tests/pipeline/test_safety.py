"""Input is data and never code, downloads are checked, and packages are pinned."""

import ast
import re
from pathlib import Path

import pytest

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


def test_every_requirement_has_one_version_and_hashes() -> None:
    for folder in (ROOT, ROOT / "tests"):
        lock = (folder / "requirements.txt").read_text()
        entries = re.split(r"\n(?=[A-Za-z])", re.sub(r"^#.*\n", "", lock, flags=re.M).strip())
        versions = {}
        for entry in entries:
            name, version = re.match(r"([\w.-]+)(?:\[\w+\])?==(\S+) \\\n", entry).groups()
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), name
            versions[normalized(name)] = version
        requirements = re.findall(
            r"^([\w.-]+)(?:\[\w+\])?==(\S+)$", (folder / "requirements.in").read_text(), re.M
        )
        assert requirements
        for name, version in requirements:
            assert versions[normalized(name)] == version


def test_no_secrets_and_no_data_are_in_git() -> None:
    names = run(["git", "ls-files"], ROOT).stdout.splitlines()
    suffixes = DATA_SUFFIXES | SECRET_SUFFIXES
    assert [name for name in names if Path(name).suffix in suffixes] == []
    for name in names:
        path = ROOT / name
        if path.is_file() and path.suffix not in (".png", ".svg"):
            assert not SECRET.search(path.read_text(errors="replace")), name
