import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
import pytest

from stages.common.files import read_arrays, write_json
from stages.common.params import Range, load_params
from stages.common.stage import StageError, whole_file
from stages.common.tables import POSITIVES, read_table, write_table
from stages.engine import over
from tests.conftest import ROOT


@dataclasses.dataclass(frozen=True)
class Params:
    epochs: Annotated[int, Range(1, 100)]
    rate: Annotated[float, Range(0, 1)]
    kind: Literal["flat", "ivf"]
    names: list[str]
    refit: bool


GOOD = "a:\n  epochs: 3\n  rate: 1e-05\n  kind: flat\n  names:\n  - x\n  refit: true\n"


def load(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return load_params(Params, "a")


def test_params_are_read_as_dvc_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `dvc exp run -S a.rate=1e-5` writes 1e-05, which YAML 1.1 reads as a text.
    assert load(GOOD, tmp_path, monkeypatch) == Params(3, 1e-5, "flat", ["x"], True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs: 3", "epochs: many", "a.epochs: is 'many'; write a whole number"),
        ("epochs: 3", "epochs: true", "a.epochs: is True; write a whole number"),
        ("epochs: 3", "epochs: 2.5", "a.epochs: is 2.5; write a whole number"),
        ("epochs: 3", "epochs: 0", "a.epochs: is 0; use 1 to 100"),
        ("rate: 1e-05", "rate: .nan", "a.rate: is nan; use 0 to 1"),
        ("kind: flat", "kind: tree", "a.kind: is 'tree'; use one of flat, ivf"),
        ("- x", "- 5", "a.names.0: is 5; write a text"),
        ("names:\n  - x", "names: x", "a.names: is 'x'; write a list"),
        ("refit: true", "refit: 1", "a.refit: is 1; write true or false"),
        ("  refit: true\n", "", "a.refit: missing in params.yaml; add it"),
        ("refit: true", "refit: true\n  refits: 1", "a.refits: unknown key; use one of epochs"),
        ("a:", "b:", "a: missing in params.yaml; add it"),
        ("a:", "a: [", "params.yaml: is not valid YAML"),
    ],
)
def test_a_wrong_param_is_named(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StageError) as error:
        load(GOOD.replace(old, new), tmp_path, monkeypatch)
    assert str(error.value).startswith(message)


def test_tables_keep_their_schema(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pl.DataFrame({"row": [1], "timestamp": [5], "movie_id": [2], "user_id": [3]})
    write_table(table, path, POSITIVES)
    assert read_table(path, POSITIVES).row(0) == (3, 2, 5, 1)
    table.write_parquet(path)
    with pytest.raises(StageError, match=r"t.parquet: has columns"):
        read_table(path, POSITIVES)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"none.parquet: not found; run `dvc repro`"):
        read_table(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_text("PAR?")
    with pytest.raises(StageError, match=r"bad.parquet: cannot be read"):
        read_table(tmp_path / "bad.parquet")
    (tmp_path / "bad.npz").write_bytes(b"x")
    with pytest.raises(StageError, match=r"bad.npz: cannot be read"):
        read_arrays(tmp_path / "bad.npz")


def test_a_failing_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json({"x": 0.12345678}, path)

    def fail() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == '{\n  "x": 0.123457\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def stage(workspace: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ml-99k", "data.source: 'ml-99k' is not known; use one of ml-100k, "),
        ("stages", "data.source: 'stages' is not known; write its absolute path, /"),
        ("''", "data.source: '' is not known; use one of ml-100k, "),
        ("7", "data.source: is 7; write a text"),
    ],
)
def test_an_unknown_source_is_one_line_and_exit_code_1(
    workspace: Path, source: str, message: str
) -> None:
    params = workspace / "params.yaml"
    params.write_text(params.read_text().replace("source: ml-100k", f"source: {source}"))
    paths = ["--sources", "data/sources", "--description", "data/source.json"]
    done = stage(workspace, "stages.source", *paths)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert not (workspace / "data" / "source.json").exists()


def test_a_folder_is_copied_whole_or_not_at_all(workspace: Path, tiny_movielens: Path) -> None:
    paths = ["--sources", "data/sources", "--raw", "data/raw"]
    done = stage(workspace, "stages.download", "--source", str(tiny_movielens), *paths)
    assert done.returncode == 0, done.stderr
    raw = workspace / "data" / "raw"
    assert sorted(p.name for p in raw.iterdir()) == ["movies.csv", "ratings.csv"]
    (tiny_movielens / "ratings.csv").unlink()
    done = stage(workspace, "stages.download", "--source", str(tiny_movielens), *paths)
    assert done.returncode == 1
    assert f"{tiny_movielens}: holds no ratings file of a known name; put in" in done.stderr
    assert sorted(p.name for p in raw.iterdir()) == ["movies.csv", "ratings.csv"]


TRAINING = "train_retrieval", "export_savedmodel", "cluster_retrieval"


def test_only_training_imports_tensorflow() -> None:
    names = [p.stem for p in (ROOT / "stages").glob("*.py") if p.stem != "__init__"]
    names = [name for name in names if name not in TRAINING]
    code = "import importlib, sys\n"
    code += "".join(f"importlib.import_module('stages.{name}')\n" for name in sorted(names))
    code += "assert 'tensorflow' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_local_engine_imports_no_ray(workspace: Path) -> None:
    code = "import sys\nfrom stages import candidates, engine, fusion, popularity, positives\n"
    code += "assert engine.chosen() == 'local'\nlist(engine.over(str, range(9)))\n"
    code += "engine.by_users('x', lambda: ())\nengine.of_users('x', lambda: ())\n"
    code += "away = {'ray', 'stages.cluster', 'stages.shards'} & set(sys.modules)\n"
    code += "assert not away, away"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=workspace, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_parts_keep_the_order_and_pass_errors_on() -> None:
    assert list(over(lambda x: x * x, range(50))) == [x * x for x in range(50)]
    assert list(over(str, [])) == []
    with pytest.raises(ZeroDivisionError):
        list(over(lambda x: 1 / x, [1, 0]))
