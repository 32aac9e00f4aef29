"""The whole chain on tiny data within this process, with towers that have learned nothing."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import polars as pl

from stages import (
    candidates,
    clean,
    embeddings,
    export,
    faiss_index,
    fit_generator,
    fusion,
    genre_features,
    histories,
    movie_popularity,
    positives,
    ranker_data,
    rerank,
    seen,
    time_split,
    train_ranker,
)
from stages.common.files import write_arrays
from stages.common.params import YAML
from stages.data.snapshots import SNAPSHOTS, read_positives
from stages.models.rating_matrices import TIME_GAPS
from stages.models.user_vectors import with_fold_in
from stages.ranking.inputs import FeatureSources
from tests.conftest import ROOT, edit_params, write_tiny

LENGTH, DIMENSION, BLOCKS, HEADS = 8, 8, 2, 2
DATA = Path("data")
SPLIT, MOVIES, MODELS = DATA / "split", DATA / "movies", DATA / "models"
HISTORIES, SEEN, TARGETS = DATA / "histories", DATA / "seen", DATA / "targets"
CANDIDATES, RECOMMENDATIONS = DATA / "candidates", DATA / "recommendations"
FEATURE_SOURCES = FeatureSources(
    lists=DATA,
    movies=MOVIES,
    histories=HISTORIES,
    embeddings=DATA / "embeddings",
    generators=MODELS / "generators",
)
SMALL = {
    "histories__max_length": LENGTH,
    "candidates__count": 15,
    "fusion__max_candidates": 60 * 18,  # the merged lists are longer
    "lightgbm__num_boost_round": 20,
    "lightgbm__min_data_in_leaf": 5,
    "lightgbm__nfold": 2,
}


def random_sequence_tower(
    rng: np.random.Generator, movie_ids: np.ndarray, genres: pl.DataFrame
) -> dict[str, np.ndarray]:
    """The arrays of a history retriever as it is before training."""
    flags = genres.drop("movie_id").to_numpy().astype(np.float32)
    flags /= np.maximum(flags.sum(axis=1, keepdims=True), 1)
    d = DIMENSION
    shapes = {"movie": (len(movie_ids), d), "bias": (len(movie_ids),), "position": (LENGTH, d)}
    shapes["low"] = (d,)
    shapes |= {"gap": (TIME_GAPS, d), "genre": (flags.shape[1], d)}
    for b in range(BLOCKS):
        parts = ("query", "key", "value", "output", "attention_gate", "feed_gate")
        shapes |= {f"block{b}_{part}": (d, d) for part in parts}
        shapes |= {f"block{b}_gate": (d, 2 * d), f"block{b}_up": (d, 2 * d)}
        shapes |= {f"block{b}_down": (2 * d, d), f"block{b}_distance": (LENGTH, HEADS)}
    norms = [
        "final",
        *(f"block{b}_{part}" for b in range(BLOCKS) for part in ("attention", "feed")),
    ]
    shapes |= {f"{norm}_{part}": (d,) for norm in norms for part in ("gain", "bias")}
    arrays = {k: rng.normal(0, 0.5, shape).astype(np.float32) for k, shape in shapes.items()}
    catalogue = genres["movie_id"].to_numpy()
    return arrays | {
        "movie_ids": movie_ids,
        "num_heads": np.array(HEADS),
        "num_blocks": np.array(BLOCKS),
        "catalogue_ids": catalogue,
        "catalogue_genres": flags,
        "movie_genres": flags[np.searchsorted(catalogue, movie_ids)],
    }


def write_towers(rng: np.random.Generator, retrievers: list[str]) -> None:
    """Random towers of every retriever for every snapshot."""
    genres = pl.read_parquet(MOVIES / "genres.parquet")
    for snapshot in SNAPSHOTS:
        known = read_positives(HISTORIES, snapshot)
        users, movies = (known[k].unique().sort().to_numpy() for k in ("user_id", "movie_id"))
        for name in retrievers:
            arrays = random_sequence_tower(rng, movies, genres)
            if name != "history":
                arrays = {k: arrays[k] for k in ("movie", "bias", "movie_ids")}
                user = rng.normal(size=(len(users), DIMENSION)).astype(np.float32)
                arrays |= {"user": user, "user_ids": users, "recency": np.array(1.0)}
                arrays = with_fold_in(arrays, known)
            write_arrays(arrays, MODELS / "retrievers" / name / f"{snapshot}.npz")


def export_bundle(bundle: Path) -> None:
    """Run the stage `export` in the current folder; the second bundle has the suffix
    `_as_evaluated`.
    """
    sources = export.Sources(
        ids=DATA / "ids",
        movies=MOVIES,
        histories=HISTORIES,
        seen=SEEN,
        models=MODELS,
        index=DATA / "index",
    )
    export.main(sources, bundle, bundle.with_name(f"{bundle.name}_as_evaluated"))


def run_split(ratings: Path) -> None:
    """Run the stages from the time split to the seen movies in the current folder."""
    time_split.main(DATA / "positives.parquet", ratings, SPLIT, TARGETS, Path("split.json"))
    parts = {name: SPLIT / f"{name}.parquet" for name in ("train", "val", "later")}
    queries = SPLIT / "test_queries.parquet"
    histories.main(**parts, queries=queries, targets=TARGETS, histories=HISTORIES)
    seen.main(ratings, HISTORIES, SEEN)


def run_chain(
    folder: Path, tables: tuple[pl.DataFrame, pl.DataFrame] | None = None, **changes: object
) -> None:
    """Run every stage up to the lists of the rankers and the bundle, below `folder`/data.

    `tables` are those of `write_tiny`, `changes` those of `edit_params`.
    """
    write_tiny(folder / DATA / "raw", tables)
    shutil.copy(ROOT / "params.yaml", folder)
    edit_params(folder, **SMALL, **changes)
    params = YAML(typ="safe", pure=True).load(folder / "params.yaml")
    catalogue, genres = MOVIES / "catalogue.parquet", MOVIES / "genres.parquet"
    popularity, ratings = MOVIES / "popularity", DATA / "ratings.parquet"
    with contextlib.chdir(folder):
        clean.main(DATA / "raw", ratings, catalogue, DATA / "ids", Path("data.json"))
        positives.main(ratings, DATA / "positives.parquet")
        run_split(ratings)
        genre_features.main(catalogue, genres)
        movie_popularity.main(catalogue, HISTORIES, popularity)
        for name in params["generators"]:
            fit_generator.main(name, HISTORIES, SEEN, MODELS / "generators", CANDIDATES)
        write_towers(np.random.default_rng(11), list(params["retrievers"]))
        vectors, index = DATA / "embeddings", DATA / "index"
        for name in params["retrievers"]:
            embeddings.main(name, MODELS / "retrievers", HISTORIES, SEEN, vectors)
            faiss_index.main(name, vectors, popularity, index)
            candidates.main(name, index, vectors, SEEN, CANDIDATES)
        fusion.main(CANDIDATES, DATA / "merged", RECOMMENDATIONS / "fusion")
        examples, models = DATA / "examples", MODELS / "rankers"
        for name in params["rankers"]:
            ranker_data.main(name, FEATURE_SOURCES, TARGETS, examples)
            train_ranker.main(name, examples, models, folder)
            rerank.main(name, models, FEATURE_SOURCES, RECOMMENDATIONS)
        export_bundle(DATA / "bundle")
