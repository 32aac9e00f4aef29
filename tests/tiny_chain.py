"""The whole chain on tiny data within this process, with towers that have learned nothing."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import polars as pl

from stages import (
    candidates,
    clean,
    dislikes,
    ease,
    embeddings,
    export,
    faiss_index,
    fusion,
    genre_features,
    histories,
    item_knn,
    popularity,
    positives,
    ranker_data,
    rerank,
    time_split,
    train_ranker,
)
from stages.common.files import write_arrays
from stages.common.params import YAML
from stages.folds import FOLDS, known_likings
from stages.towers import TIME_GAPS
from tests.conftest import ROOT, edit_params, write_tiny

LENGTH, DIMENSION, BLOCKS, HEADS = 8, 8, 2, 2
DATA = Path("data")
SPLIT = DATA / "split"
PARTS = SPLIT / "train.parquet", SPLIT / "val.parquet"
BEFORE, MODELS = DATA / "histories", DATA / "models"
LISTS, MOVIES = DATA / "recommendations", DATA / "movies"
SMALL = {
    "histories__max_length": LENGTH,
    "candidates__count": 15,
    "fusion__max_candidates": 60 * 18,  # the merged lists are longer
    "lightgbm__max_trees": 20,
    "lightgbm__min_data_in_leaf": 5,
    "lightgbm__folds": 2,
    # So little work is slower shared out, on a busy machine many times so.
    "lightgbm__threads": 1,
}


def random_sequence_tower(
    rng: np.random.Generator, movie_ids: np.ndarray, genres: pl.DataFrame
) -> dict[str, np.ndarray]:
    """The arrays of a history retriever as it is before training."""
    flags = genres.drop("movie_id").to_numpy().astype(np.float32)
    flags /= np.maximum(flags.sum(axis=1, keepdims=True), 1)
    d = DIMENSION
    shapes = {"movie": (len(movie_ids), d), "bias": (len(movie_ids),), "position": (LENGTH, d)}
    shapes |= {"gap": (TIME_GAPS, d), "genre": (flags.shape[1], d)}
    for b in range(BLOCKS):
        parts = ("query", "key", "value", "output", "attention_gate", "feed_gate")
        shapes |= {f"block{b}_{part}": (d, d) for part in parts}
        shapes |= {f"block{b}_gate": (d, 2 * d), f"block{b}_up": (d, 2 * d)}
        shapes |= {f"block{b}_down": (2 * d, d)}
    norms = [
        "final",
        *(f"block{b}_{part}" for b in range(BLOCKS) for part in ("attention", "feed")),
    ]
    shapes |= {f"{norm}_{part}": (d,) for norm in norms for part in ("gain", "bias")}
    arrays = {k: rng.normal(0, 0.5, shape).astype(np.float32) for k, shape in shapes.items()}
    catalogue = genres["movie_id"].to_numpy()
    return arrays | {
        "movie_ids": movie_ids,
        "heads": np.array(HEADS),
        "blocks": np.array(BLOCKS),
        "catalogue_ids": catalogue,
        "catalogue_genres": flags,
        "movie_genres": flags[np.searchsorted(catalogue, movie_ids)],
    }


def write_towers(rng: np.random.Generator, generators: list[str]) -> None:
    """Random towers of every retriever for every fold."""
    genres = pl.read_parquet(MOVIES / "genres.parquet")
    train, val = (pl.read_parquet(path) for path in PARTS)
    for fold, likings in known_likings(train, val).items():
        users, movies = (likings[k].unique().sort().to_numpy() for k in ("user_id", "movie_id"))
        for name in generators:
            arrays = random_sequence_tower(rng, movies, genres)
            if name != "history":
                arrays = {k: arrays[k] for k in ("movie", "bias", "movie_ids")}
                user = rng.normal(size=(len(users), DIMENSION)).astype(np.float32)
                arrays |= {"user": user, "user_ids": users}
            write_arrays(arrays, MODELS / name / f"{fold}.npz")


def export_bundle(ranker: str, bundle: Path) -> None:
    """The stage `export`, in the current folder."""
    newest = f"{FOLDS[-1]}.parquet"
    export.main(
        DATA / "ids",
        MOVIES / "catalogue.parquet",
        MOVIES / "genres.parquet",
        DATA / "popularity" / newest,
        *PARTS,
        BEFORE / newest,
        DATA / "dislikes" / newest,
        MODELS,
        DATA / "index",
        MODELS / f"ranker_{ranker}",
        bundle,
    )


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
    towers = list(params["retrievers"])
    catalogue, genres, counts = (
        MOVIES / "catalogue.parquet",
        MOVIES / "genres.parquet",
        "popularity",
    )
    with contextlib.chdir(folder):
        ids, figures = DATA / "ids", Path("data.json")
        clean.main(DATA / "raw", DATA / "ratings.parquet", catalogue, ids, figures)
        positives.main(DATA / "ratings.parquet", DATA / "positives.parquet")
        time_split.main(DATA / "positives.parquet", SPLIT, Path("split.json"))
        histories.main(*PARTS, BEFORE)
        dislikes.main(DATA / "ratings.parquet", *PARTS, DATA / "dislikes")
        genre_features.main(catalogue, genres)
        popularity.main(catalogue, *PARTS, BEFORE, DATA / counts, LISTS / counts)
        for model in (item_knn, ease):
            name = model.__name__.rpartition(".")[2]
            model.main(*PARTS, BEFORE, MODELS / name, LISTS / name)
        write_towers(np.random.default_rng(11), towers)
        for name in towers:
            vectors, index = DATA / "embeddings" / name, DATA / "index" / name
            embeddings.main(MODELS / name, BEFORE, vectors)
            faiss_index.main(vectors, DATA / counts, index)
            candidates.main(index, vectors, *PARTS, BEFORE, LISTS / name)
        fusion.main(LISTS, DATA / "pools" / "fusion", LISTS / "fusion")
        for name, ranker in params["rankers"].items():
            examples, model = DATA / "examples" / name, MODELS / f"ranker_{name}"
            pool = DATA / ranker["candidates"]
            known = (
                catalogue,
                genres,
                DATA / counts,
                DATA / "dislikes",
                *PARTS,
                BEFORE,
                DATA / "embeddings" / ranker["vectors"],
                MODELS / "item_knn",
                MODELS / "ease",
            )
            ranker_data.main(name, pool, *known, examples)
            train_ranker.main(name, examples, model, folder / f"{name}.csv")
            lists = LISTS / f"ranker_{name}" / "test.parquet"
            rerank.main(name, model, pool, *known, lists)
        export_bundle(params["export"]["ranker"], DATA / "bundle")
