"""Stage: gather what serving needs, and nothing else, into one folder."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl

from stages.common.checksums import check_files
from stages.common.files import read_arrays
from stages.common.params import load_params, read_value
from stages.common.stage import StageError, atomic_write, run_stage
from stages.common.systems import block_names, generator_names, merged_generators
from stages.common.tables import CATALOGUE, POPULARITY, read_table
from stages.data.snapshots import (
    SERVE_SNAPSHOT,
    TEST_SNAPSHOT,
    read_histories,
    read_positives,
    read_seen,
)
from stages.models.boosters import read_booster_texts
from stages.ranking.inputs import RankerParams
from stages.serving.bundle import Bundle, Settings, read_index, write_bundle


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    """Inputs of the bundle: outputs of other stages."""

    ids: Path
    movies: Path
    histories: Path
    seen: Path
    models: Path
    index: Path


def ranker_generators(ranker: RankerParams, name: str) -> list[str]:
    """Return the generators whose lists the ranker `name` orders: all merged ones, or one."""
    if ranker.candidates == "merged":
        return merged_generators()
    generator = ranker.candidates.removeprefix("candidates/")
    if generator not in generator_names():
        key = f"rankers.{name}.candidates"
        raise StageError(f"{key}: is {ranker.candidates!r}; use merged or candidates/<generator>")
    return [generator]


def read_setting(field: str, key: str) -> Any:
    """Return the param `key`, checked against the bounds of a field of `Settings`."""
    info = Settings.model_fields[field]
    return read_value(key, Annotated[info.annotation, *info.metadata])


def read_settings() -> Settings:
    """Return the part of params.yaml that serving needs."""
    name = read_value("export.ranker", Literal[tuple(block_names("rankers"))])
    ranker = load_params(RankerParams, f"rankers.{name}")
    return Settings(
        ranker=name,
        generators=ranker_generators(ranker, name),
        candidates=read_setting("candidates", "candidates.count"),
        max_candidates=read_setting("max_candidates", "fusion.max_candidates"),
        fusion_k=read_setting("fusion_k", "fusion.k"),
        retriever=ranker.retriever,
        feature_groups=ranker.feature_groups,
        max_length=read_setting("max_length", "histories.max_length"),
    )


def read_content(sources: Sources, settings: Settings, towers: list[str], snapshot: str) -> Bundle:
    """Return the bundle of the models that know what `snapshot` knows.

    Args:
        sources: The inputs, whose checksums are compared before.
        settings: What serving needs.
        towers: The retrievers of the bundle.
        snapshot: Name of the snapshot.
    """
    movies = sources.movies
    folders = {name: sources.models / "generators" / name for name in block_names("generators")}
    folders |= {name: sources.models / "retrievers" / name for name in towers}
    # A user is served as of their first query; later ones have ids that only the evaluation knows.
    histories = read_histories(sources.histories, snapshot).filter(
        pl.col("user_id") == pl.col("source_user_id")
    )
    seen = read_seen(sources.seen, snapshot)
    return Bundle(
        settings=settings,
        tables={
            "user_ids": read_table(sources.ids / "users.parquet"),
            "movie_ids": read_table(sources.ids / "movies.parquet"),
            "catalogue": read_table(movies / "catalogue.parquet", CATALOGUE),
            "genres": read_table(movies / "genres.parquet"),
            "popularity": read_table(movies / "popularity" / f"{snapshot}.parquet", POPULARITY),
            "positives": read_positives(sources.histories, snapshot),
            "histories": histories,
            "seen": seen.join(histories, on="user_id", how="semi", maintain_order="left"),
        },
        arrays={name: read_arrays(folder / f"{snapshot}.npz") for name, folder in folders.items()},
        indexes={name: read_index(sources.index / name / f"{snapshot}.faiss") for name in towers},
        boosters=read_booster_texts(sources.models / "rankers" / settings.ranker),
    )


def main(sources: Sources, bundle: Path, bundle_as_evaluated: Path) -> str:
    """Write the bundle that knows all ratings, and the one whose lists were evaluated."""
    settings, retrievers = read_settings(), block_names("retrievers")
    towers = sorted({n for n in settings.generators if n in retrievers} | {settings.retriever})
    ranker = sources.models / "rankers" / settings.ranker
    for folder in (*(sources.index / name for name in towers), ranker):
        check_files(folder)
    for folder, snapshot in {bundle_as_evaluated: TEST_SNAPSHOT, bundle: SERVE_SNAPSHOT}.items():
        content = read_content(sources, settings, towers, snapshot)
        with atomic_write(folder) as temporary:
            temporary.mkdir()
            write_bundle(content, temporary)
    users = content.tables["histories"].height
    models = len(content.arrays)
    return f"ranker {settings.ranker}, {models} models -> a bundle for {users:,} users"


if __name__ == "__main__":
    run_stage(main)
