"""The serving bundle: one folder with all that a recommendation needs, described by schema.json.

    schema.json        format, settings, features, and what every other file holds
    tables/*.parquet   the catalogue, genres, popularity, likings, histories and dislikes
    arrays/*.npz       towers and item-to-item weights, by the name of their system
    index/*.faiss      the movies of each retriever
    ranker/*.txt       LightGBM boosters, whose scores are averaged

It holds no path and no time, so that it can be copied anywhere and equal models are equal bytes.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import polars as pl

from stages.boosters import booster_texts, read_boosters
from stages.common.files import read_arrays, write_arrays, write_json
from stages.common.stage import StageError
from stages.common.tables import (
    CATALOGUE,
    DISLIKES,
    HISTORIES,
    POPULARITY,
    SPLIT,
    read_table,
    write_table,
)

FORMAT = 2
SCHEMA = "schema.json"
# Features need both; for reasons they are asked in this order, the vectors last.
ITEM_MODELS = ("ease", "item_knn")
AGAIN = "copy the whole bundle again, or run `dvc repro export`"
# None: the columns depend on the data.
TABLES = {
    "user_ids": pl.Schema({"user_id": pl.Int32, "original": pl.String}),
    "movie_ids": pl.Schema({"movie_id": pl.Int32, "original": pl.String}),
    "catalogue": CATALOGUE,
    "genres": None,
    "popularity": POPULARITY,
    "likings": SPLIT,  # sorted by user and position
    "histories": HISTORIES,  # sorted by user
    "dislikes": DISLIKES,
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The params that serving needs, as they were when the models were trained.

    `ranker`: its name; `generators`: whose candidates it orders, in the pool's order;
    `candidates`: movies per generator; `max_candidates`: of all users together, the first by rank
    fusion with `fusion_k`; `vectors`: the retriever behind the features; `groups`:
    the ranker's groups of features; `max_length`: of a history; `threads`: LightGBM's.
    """

    ranker: str
    generators: list[str]
    candidates: int
    max_candidates: int
    fusion_k: float
    vectors: str
    groups: list[str]
    max_length: int
    threads: int


class Bundle(NamedTuple):
    """What lies in the folder, by file name without its ending."""

    settings: Settings
    tables: dict[str, pl.DataFrame]
    arrays: dict[str, dict[str, np.ndarray]]
    indexes: dict[str, faiss.Index]
    boosters: list[str]  # models as text


def describe(bundle: Bundle) -> dict[str, Any]:
    """What schema.json says of a bundle; plain lists, numbers and texts."""
    boosters = read_boosters(bundle.boosters)
    return {
        "format": FORMAT,
        "settings": dataclasses.asdict(bundle.settings),
        "features": boosters[0].feature_name(),
        "tables": {
            name: {"rows": t.height, "columns": {k: str(v) for k, v in t.schema.items()}}
            for name, t in bundle.tables.items()
        },
        "arrays": {
            name: {k: {"type": str(v.dtype), "shape": list(v.shape)} for k, v in arrays.items()}
            for name, arrays in bundle.arrays.items()
        },
        "indexes": {
            name: {"movies": index.ntotal, "dimension": index.d}
            for name, index in bundle.indexes.items()
        },
        "boosters": [
            {"trees": booster.num_trees(), "features": booster.num_feature()}
            for booster in boosters
        ],
    }


def write_bundle(bundle: Bundle, folder: Path) -> None:
    """Write all files into `folder`, which exists."""
    for name, table in bundle.tables.items():
        write_table(table, folder / "tables" / f"{name}.parquet", table.schema)
    for name, arrays in bundle.arrays.items():
        write_arrays(arrays, folder / "arrays" / f"{name}.npz")
    for kind in ("index", "ranker"):
        (folder / kind).mkdir()
    for name, index in bundle.indexes.items():
        (folder / "index" / f"{name}.faiss").write_bytes(faiss.serialize_index(index))
    for number, text in enumerate(bundle.boosters):
        (folder / "ranker" / f"{number}.txt").write_text(text, encoding="utf-8")
    write_json(describe(bundle), folder / SCHEMA)


def read_schema(folder: Path) -> dict[str, Any]:
    """schema.json, of this version of the format."""
    path = folder / SCHEMA
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(f"{path}: not found; run `dvc repro export`, or give --bundle") from None
    except ValueError as error:
        raise StageError(f"{path}: cannot be read ({error}); {AGAIN}") from None
    if not isinstance(schema, dict) or schema.get("format") != FORMAT:
        raise StageError(f"{path}: is not of format {FORMAT}; export the bundle with this code")
    return schema


def read_index(path: Path) -> faiss.Index:
    """A FAISS index from its file."""
    try:
        return faiss.read_index(str(path))
    except RuntimeError:
        raise StageError(f"{path}: cannot be read; {AGAIN}") from None


def read_bundle(folder: Path) -> Bundle:
    """Load a bundle and compare what was loaded with its schema.

    Raises:
        StageError: A file is missing, unreadable or not what the schema says.
    """
    schema = read_schema(folder)
    try:
        settings = Settings(**schema["settings"])
        tables = {
            name: read_table(folder / "tables" / f"{name}.parquet", columns)
            for name, columns in TABLES.items()
        }
        bundle = Bundle(
            settings,
            tables,
            {name: read_arrays(folder / "arrays" / f"{name}.npz") for name in schema["arrays"]},
            {name: read_index(folder / "index" / f"{name}.faiss") for name in schema["indexes"]},
            booster_texts(folder / "ranker"),
        )
    except (KeyError, TypeError):
        raise StageError(f"{folder / SCHEMA}: lacks a section; {AGAIN}") from None
    except FileNotFoundError as error:
        raise StageError(f"{error.filename}: not found; {AGAIN}") from None
    found = describe(bundle)
    for section, wanted in schema.items():
        if found.get(section) != wanted:
            raise StageError(f"{folder}: its {section} are not those of {SCHEMA}; {AGAIN}")
    return bundle
