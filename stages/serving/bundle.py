"""The serving bundle: one folder with everything that a recommendation needs.

    SHA256SUMS         the checksum of every other file
    schema.json        format version, settings, features, and the contents of tables and models
    tables/*.parquet   the tables of `TABLES`
    arrays/*.npz       a generator's model, by the generator's name
    index/*.faiss      the movie vectors of a retriever, by the retriever's name
    ranker/*.txt       LightGBM boosters, whose scores are averaged

It stores no path and no time. So the folder can be copied anywhere, and equal models give equal
bytes.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import polars as pl
from pydantic import Field, ValidationError

from stages.common.checksums import CHECKSUMS, check_files, write_checksums
from stages.common.files import read_arrays, write_arrays, write_json
from stages.common.params import Section
from stages.common.stage import StageError
from stages.common.tables import (
    CATALOGUE,
    HISTORIES,
    KNOWN_POSITIVES,
    POPULARITY,
    SEEN,
    read_table,
    write_table,
)
from stages.models.boosters import parse_boosters, read_booster_texts, write_booster_texts

FORMAT = 8
SCHEMA = "schema.json"
REMEDY = "copy the whole bundle again, or run `dvc repro export`"
# Schemas by name; None where the columns depend on the data.
TABLES = {
    "user_ids": pl.Schema({"user_id": pl.Int32, "raw_id": pl.String}),
    "movie_ids": pl.Schema({"movie_id": pl.Int32, "raw_id": pl.String}),
    "catalogue": CATALOGUE,
    "genres": None,
    "popularity": POPULARITY,
    "positives": KNOWN_POSITIVES,  # sorted by user and time
    "histories": HISTORIES,  # sorted by user
    "seen": SEEN,  # sorted by user and movie
}


class Settings(Section):
    """The params that serving needs, as they were when the models were trained."""

    ranker: str
    """Name of the ranker."""

    generators: list[str] = Field(min_length=1)
    """Generators whose candidates the ranker orders, in the order of the merged candidates'
    columns."""

    candidates: int = Field(ge=1, le=10_000)
    """Movies per generator."""

    max_candidates: int = Field(ge=1, le=10**12)
    """Largest number of merged candidates of all users together."""

    fusion_k: float = Field(ge=0, le=10_000)
    """Constant of reciprocal rank fusion."""

    retriever: str
    """Retriever whose vectors the ranker's features use."""

    feature_groups: list[str]
    """The ranker's feature groups."""

    max_length: int = Field(ge=1, le=10_000)
    """Largest number of movies in a history."""


class Bundle(NamedTuple):
    """The contents of the folder; the keys are file names without their suffix."""

    settings: Settings
    tables: dict[str, pl.DataFrame]
    arrays: dict[str, dict[str, np.ndarray]]  # by generator
    indexes: dict[str, faiss.Index]  # by retriever
    boosters: list[str]  # LightGBM's text format


def describe(bundle: Bundle) -> dict[str, Any]:
    """Return the content of schema.json: plain dicts, lists, numbers and texts."""
    boosters = parse_boosters(bundle.boosters)
    return {
        "format": FORMAT,
        "settings": bundle.settings.model_dump(),
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
    """Write all files of a bundle into `folder`, which exists and is empty."""
    for name, table in bundle.tables.items():
        write_table(table, folder / "tables" / f"{name}.parquet", table.schema)
    for name, arrays in bundle.arrays.items():
        write_arrays(arrays, folder / "arrays" / f"{name}.npz")
    (folder / "index").mkdir()
    for name, index in bundle.indexes.items():
        (folder / "index" / f"{name}.faiss").write_bytes(faiss.serialize_index(index))
    write_booster_texts(bundle.boosters, folder / "ranker")
    write_json(describe(bundle), folder / SCHEMA)
    write_checksums(folder)


def check_bundle(folder: Path) -> None:
    """Compare every file of the bundle with its checksum.

    Raises:
        StageError: There is no bundle, it is of an earlier format, or a file is missing, changed
            or too many.
    """
    if not (folder / SCHEMA).is_file():
        raise StageError(f"{folder / SCHEMA}: not found; run `dvc repro export`, or give --bundle")
    if not (folder / CHECKSUMS).is_file():
        read_schema(folder)  # an earlier format has no checksums
    check_files(folder, REMEDY)


def read_schema(folder: Path) -> dict[str, Any]:
    """Read schema.json.

    Raises:
        StageError: It is unreadable or of another version of the format.
    """
    path = folder / SCHEMA
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StageError(f"{path}: cannot be read ({error}); {REMEDY}") from None
    if not isinstance(schema, dict) or schema.get("format") != FORMAT:
        raise StageError(f"{path}: is not of format {FORMAT}; run `dvc repro export`")
    return schema


def read_index(path: Path) -> faiss.Index:
    """Read a FAISS index.

    Raises:
        StageError: The file is missing or unreadable.
    """
    try:
        return faiss.read_index(str(path))
    except RuntimeError:
        raise StageError(f"{path}: cannot be read; {REMEDY}") from None


def read_settings(values: Any, path: Path) -> Settings:
    """Check the settings of the schema at `path`.

    Raises:
        StageError: A setting is unknown, missing, of another type or out of its bounds.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as failure:
        error = failure.errors(include_url=False)[0]
    key = ".".join(map(str, ["settings", *error["loc"]]))
    raise StageError(f"{path}: {key}: {error['msg']}; {REMEDY}")


def check_models(bundle: Bundle, path: Path) -> None:
    """Raise a StageError unless the bundle has the models that its settings name."""
    for name in bundle.settings.generators:
        if name not in bundle.arrays:
            raise StageError(f"{path}: settings.generators: {name!r} has no model; {REMEDY}")
    for name in {*bundle.indexes, bundle.settings.retriever}:
        if name not in bundle.arrays or name not in bundle.indexes:
            raise StageError(f"{path}: settings.retriever: {name!r} has no model; {REMEDY}")


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle, after its checksums, and compare its contents with its schema.

    Raises:
        StageError: A file is missing, changed, unreadable or too many, or does not match the
            schema, or a setting is out of its bounds.
    """
    check_bundle(folder)
    schema = read_schema(folder)
    settings = read_settings(schema.get("settings"), folder / SCHEMA)
    try:
        arrays, indexes = (list(schema[section]) for section in ("arrays", "indexes"))
    except (KeyError, TypeError):
        raise StageError(f"{folder / SCHEMA}: lacks a section; {REMEDY}") from None
    bundle = Bundle(
        settings=settings,
        tables={
            name: read_table(folder / "tables" / f"{name}.parquet", columns)
            for name, columns in TABLES.items()
        },
        arrays={name: read_arrays(folder / "arrays" / f"{name}.npz") for name in arrays},
        indexes={name: read_index(folder / "index" / f"{name}.faiss") for name in indexes},
        boosters=read_booster_texts(folder / "ranker"),
    )
    actual = describe(bundle)
    for section in actual | schema:
        if actual.get(section) != schema.get(section):
            raise StageError(f"{folder}: its {section} do not match {SCHEMA}; {REMEDY}")
    check_models(bundle, folder / SCHEMA)
    return bundle
