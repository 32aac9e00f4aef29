import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.common.stage import StageError
from stages.serving.bundle import FORMAT, SCHEMA, read_bundle, write_bundle
from tests.serving.bundles import file_contents


def test_the_bundle_holds_what_its_schema_says_and_nothing_else(bundle: Path) -> None:
    schema = json.loads((bundle / SCHEMA).read_text())
    towers = ["id", "genre", "hard_negative", "history"]
    models = ["popularity", "popularity_recent", "ease", "item_knn", *towers]
    assert set(file_contents(bundle)) == {
        SCHEMA,
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


def test_a_damaged_bundle_is_refused(bundle: Path) -> None:
    def refuses(message: str) -> None:
        with pytest.raises(StageError, match=message):
            read_bundle(bundle)

    def damage(name: str, data: bytes | None, message: str) -> None:
        path = bundle / name
        content = path.read_bytes()
        path.unlink() if data is None else path.write_bytes(data)
        refuses(message)
        path.write_bytes(content)

    for name in ("tables/positives.parquet", "arrays/history.npz", SCHEMA):
        damage(name, None, rf"{name}: not found")
        damage(name, b"\x00 not this", "cannot be read|not found|lacks")
    damage("ranker/1.txt", None, r"its boosters do not match schema.json; copy")
    damage("ranker/1.txt", b"\x00 not this", "ranker: cannot be read")
    damage("index/id.faiss", b"", r"id.faiss: cannot be read")
    damage("index/id.faiss", None, r"id.faiss: cannot be read")
    schema = json.loads((bundle / SCHEMA).read_text())
    damage(SCHEMA, json.dumps(schema | {"format": 0}).encode(), f"is not of format {FORMAT}")
    damage(SCHEMA, json.dumps(schema | {"format": 3}).encode(), f"is not of format {FORMAT}")
    damage(SCHEMA, json.dumps({"format": FORMAT}).encode(), "lacks a section")
    damage(SCHEMA, json.dumps(schema | {"settings": {"ranker": 1}}).encode(), "lacks a section")
    other_arrays = (bundle / "arrays/id.npz").read_bytes()
    damage("arrays/history.npz", other_arrays, r"its arrays do not match schema.json; copy")
    shorter = pl.read_parquet(bundle / "tables/seen.parquet")[1:]
    shorter.write_parquet(bundle / "tables/seen.parquet")
    refuses(r"its tables do not match schema.json")
