import json
from collections.abc import Callable
from pathlib import Path

import faiss
import lightgbm as lgb
import numpy as np
import polars as pl
import pytest

from stages.common.checksums import CHECKSUMS, write_checksums
from stages.common.stage import StageError
from stages.serving.bundle import FORMAT, SCHEMA, read_bundle, write_bundle
from tests.damage import damaged
from tests.serving.bundles import file_contents


def test_the_bundle_holds_what_its_schema_says_and_nothing_else(bundle: Path) -> None:
    schema = json.loads((bundle / SCHEMA).read_text())
    towers = ["id", "genre", "hard_negative", "history"]
    models = ["popularity", "popularity_recent", "ease", "item_knn", "slit", *towers]
    assert set(file_contents(bundle)) == {
        SCHEMA,
        CHECKSUMS,
        *(f"tables/{name}.parquet" for name in schema["tables"]),
        *(f"arrays/{name}.npz" for name in models),
        *(f"index/{name}.faiss" for name in towers),
        *(f"ranker/{number}.txt" for number in range(3)),
    }
    for name, description in schema["tables"].items():
        table = pl.read_parquet(bundle / "tables" / f"{name}.parquet")
        assert description["rows"] == table.height
        assert description["columns"] == {k: str(v) for k, v in table.schema.items()}
    for name, description in schema["arrays"].items():
        with np.load(bundle / "arrays" / f"{name}.npz") as arrays:
            assert {k: v["shape"] for k, v in description.items()} == {
                k: list(v.shape) for k, v in arrays.items()
            }
    text = (bundle / "ranker" / "0.txt").read_text()
    assert f"feature_names={' '.join(schema['features'])}\n" in text


def test_reading_and_writing_give_equal_bytes(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    write_bundle(read_bundle(bundle), copy)
    assert file_contents(copy) == file_contents(bundle)


def test_a_bundle_may_have_one_booster(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    content = read_bundle(bundle)
    write_bundle(content._replace(boosters=content.boosters[:1]), copy)
    assert read_bundle(copy).boosters == content.boosters[:1]
    schema = json.loads((copy / SCHEMA).read_text())
    booster = lgb.Booster(model_str=content.boosters[0])
    assert schema["features"] == booster.feature_name()
    description = {"trees": booster.num_trees(), "features": booster.num_feature()}
    assert schema["boosters"] == [description]


def refuses(bundle: Path, message: str) -> None:
    with pytest.raises(StageError, match=message) as error:
        read_bundle(bundle)
    assert len(str(error.value).splitlines()) == 1


def edit_schema(bundle: Path, **sections: object) -> None:
    """Change sections of the schema, as if they had been exported so."""
    schema = json.loads((bundle / SCHEMA).read_text())
    (bundle / SCHEMA).write_text(json.dumps(schema | sections))
    write_checksums(bundle)


@pytest.mark.parametrize(
    ("truncations", "flips"), [(3, 12), pytest.param(20, 200, marks=pytest.mark.long)]
)
def test_a_damaged_file_is_refused_before_anything_is_parsed(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, truncations: int, flips: int
) -> None:
    def parse(*_: object, **__: object) -> None:
        raise AssertionError

    for module, name in ((pl, "read_parquet"), (np, "load"), (faiss, "read_index")):
        monkeypatch.setattr(module, name, parse)
    monkeypatch.setattr(lgb, "Booster", parse)
    for name, content in file_contents(bundle).items():
        for data in damaged(content, truncations, flips):
            (bundle / name).write_bytes(data)
            refuses(bundle, rf"^{bundle}/.*; .*copy the whole bundle again, or run `dvc repro exp")
        (bundle / name).write_bytes(content)


@pytest.mark.parametrize("name", ["tables/positives.parquet", "ranker/1.txt", CHECKSUMS])
def test_a_missing_or_changed_file_is_named(bundle: Path, name: str) -> None:
    content = (bundle / name).read_bytes()
    (bundle / name).write_bytes(b"")
    refuses(bundle, f"^{bundle / name}: (does not match {CHECKSUMS}|is damaged); copy the whole")
    (bundle / name).unlink()
    refuses(bundle, f"^{bundle / name}: not found; copy the whole bundle again")
    (bundle / name).mkdir()
    refuses(bundle, f"^{bundle / name}: (not found|cannot be read .*); copy the whole bundle")
    (bundle / name).rmdir()
    (bundle / name).write_bytes(content)
    read_bundle(bundle)


@pytest.mark.parametrize("name", ["ranker/3.txt", "arrays/.id.npz.swp", "notes"])
def test_a_file_too_many_is_named(bundle: Path, name: str) -> None:
    (bundle / name).write_text("tree")
    refuses(bundle, f"^{bundle / name}: is not in {CHECKSUMS}; delete it if you added it, or copy")


def test_an_older_bundle_is_to_be_exported_again(bundle: Path) -> None:
    edit_schema(bundle, format=FORMAT - 1)
    message = f"^{bundle / SCHEMA}: is not of format {FORMAT}; run `dvc repro export`$"
    refuses(bundle, message)
    (bundle / CHECKSUMS).unlink()  # format 4 had none
    refuses(bundle, message)
    (bundle / SCHEMA).write_text("[" * 100_000)
    refuses(bundle, f"^{bundle / SCHEMA}: cannot be read")
    (bundle / SCHEMA).unlink()
    refuses(bundle, f"^{bundle / SCHEMA}: not found; run `dvc repro export`, or give --bundle$")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("candidates", 0),
        ("candidates", 10_001),
        ("candidates", 2.5),
        ("candidates", True),
        ("max_candidates", -1),
        ("fusion_k", -1.0),
        ("fusion_k", float("nan")),
        ("max_length", 0),
        ("generators", []),
        ("generators", ["ease", "unknown"]),
        ("generators", "ease"),
        ("retriever", "ease"),
        ("retriever", None),
        ("feature_groups", [1]),
        ("unknown", 1),
    ],
)
def test_settings_have_bounds(bundle: Path, setting: str, value: object) -> None:
    settings = json.loads((bundle / SCHEMA).read_text())["settings"]
    edit_schema(bundle, settings=settings | {setting: value})
    refuses(bundle, rf"^{bundle / SCHEMA}: settings\.{setting}.*: .+; copy the whole bundle")


def test_a_schema_of_other_contents_is_refused(bundle: Path) -> None:
    schema = json.loads((bundle / SCHEMA).read_text())
    for section in ("settings", "arrays", "indexes"):
        edit_schema(bundle, **{section: None})
        refuses(bundle, f"^{bundle / SCHEMA}: (settings: |lacks a section; copy)")
        edit_schema(bundle, **{section: schema[section]})
    edit_schema(bundle, more={})
    refuses(bundle, f"^{bundle}: its more do not match {SCHEMA}; copy")
    (bundle / SCHEMA).write_text(json.dumps(schema))

    def contents_differ(name: str, write: Callable[[Path], object], message: str) -> None:
        content = (bundle / name).read_bytes()
        write(bundle / name)
        write_checksums(bundle)
        refuses(bundle, message)
        (bundle / name).write_bytes(content)

    arrays, text = (bundle / "arrays/id.npz").read_bytes(), "not this"
    shorter = pl.read_parquet(bundle / "tables/seen.parquet")[1:]
    contents_differ("arrays/history.npz", lambda p: p.write_bytes(arrays), "its arrays do not m")
    contents_differ("arrays/history.npz", lambda p: p.write_text(text), "history.npz: cannot be r")
    contents_differ("tables/seen.parquet", shorter.write_parquet, "its tables do not match")
    contents_differ("ranker/1.txt", lambda p: p.write_text(text), "ranker: cannot be read")
    contents_differ("ranker/1.txt", Path.unlink, "its boosters do not match")
    contents_differ("index/id.faiss", lambda p: p.write_text(text), "id.faiss: cannot be read")


def test_a_table_with_another_column_is_refused(bundle: Path) -> None:
    path = bundle / "tables" / "seen.parquet"
    table = pl.read_parquet(path).with_columns(more=pl.lit(1))
    table.write_parquet(path)
    tables = json.loads((bundle / SCHEMA).read_text())["tables"]
    columns = {name: str(kind) for name, kind in table.schema.items()}
    edit_schema(bundle, tables=tables | {"seen": {"rows": table.height, "columns": columns}})
    refuses(bundle, f"^{path}: has columns ")
