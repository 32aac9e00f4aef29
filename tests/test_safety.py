"""What is read is data, never code; what is fetched is checked; what is installed is pinned."""

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT, run

# Modules that run what they read, and calls that run what they are given.
MODULES = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "marshal", "shelve", "torch"}
CALLS = {"eval", "exec", "compile", "__import__", "load_model", "unsafe_load", "system", "popen"}


def problems(text: str) -> list[str]:
    """Names in a module's source that should not be there."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [name for name in names if name.split(".")[0] in MODULES]
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            owner = getattr(getattr(node.func, "value", None), "id", "")
            if name in CALLS and (owner, name) not in (("re", "compile"), ("model", "compile")):
                found.append(f"{owner}.{name}")
            for key in node.keywords:
                value = getattr(key.value, "value", None)
                if (key.arg, value) in (("allow_pickle", True), ("shell", True)):
                    found.append(key.arg)
    return found


@pytest.mark.parametrize(
    "text",
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
def test_code_that_runs_what_it_reads_is_found(text: str) -> None:
    assert problems(text)


def test_no_module_runs_what_it_reads() -> None:
    for path in [*(ROOT / "stages").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]:
        assert problems(path.read_text()) == [], path


def test_every_requirement_has_one_version_and_hashes() -> None:
    for folder in (ROOT, ROOT / "tests"):
        locked = (folder / "requirements.txt").read_text()
        entries = re.split(r"\n(?=[A-Za-z])", re.sub(r"^#.*\n", "", locked, flags=re.M).strip())
        versions = {}
        for entry in entries:
            name, version = re.match(r"([\w.-]+)(?:\[\w+\])?==(\S+) \\\n", entry).groups()
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), name
            versions[re.sub(r"[-_.]+", "-", name).lower()] = version
        wanted = re.findall(
            r"^([\w.-]+)(?:\[\w+\])?==(\S+)$", (folder / "requirements.in").read_text(), re.M
        )
        assert wanted
        for name, version in wanted:
            assert versions[re.sub(r"[-_.]+", "-", name).lower()] == version


def test_nothing_secret_and_no_data_are_in_git() -> None:
    names = run(["git", "ls-files"], ROOT).stdout.splitlines()
    kinds = {
        ".parquet",
        ".npz",
        ".faiss",
        ".zip",
        ".pem",
        ".key",
        ".env",
        ".dat",
        ".inter",
        ".item",
    }
    assert [name for name in names if Path(name).suffix in kinds] == []
    secret = re.compile(
        r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|gh[pousr]_[A-Za-z0-9]{36}|xox[bap]-\d"
    )
    for name in names:
        path = ROOT / name
        if path.is_file() and path.suffix not in (".png", ".svg"):
            assert not secret.search(path.read_text(errors="replace")), name
