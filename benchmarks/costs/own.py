"""This project's models, with the params of params.yaml."""

import functools
import importlib
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl

from benchmarks.costs.model_step import COUNT, Inputs, Model
from stages.candidates import search_unseen
from stages.common.params import load_params, read_seed, read_value
from stages.faiss_index import Params as IndexParams
from stages.faiss_index import build_index
from stages.models.towers import movie_embeddings
from stages.models.user_vectors import user_embeddings, with_fold_in

TWO_TOWER_EPOCHS = 30  # about as many as early stopping chooses on MovieLens 100K


def fit_generator(name: str, inputs: Inputs) -> tuple[ModuleType, dict[str, np.ndarray]]:
    """Fit a generator; return its module and its arrays."""
    generator = importlib.import_module(f"stages.generators.{name}")
    params = load_params(generator.Params, f"generators.{name}")
    snapshot = inputs.snapshot
    return generator, generator.fit(snapshot.positives, snapshot.low_ratings, params)


def recommend_by_generator(fitted: tuple[ModuleType, Any], inputs: Inputs) -> pl.DataFrame:
    """Return the lists of a generator."""
    generator, arrays = fitted
    return generator.recommend(arrays, inputs.snapshot.users, inputs.seen, COUNT)


def fit_retriever(name: str, inputs: Inputs) -> dict[str, np.ndarray]:
    """Train a retriever without validation; return its arrays."""
    from stages.retrieval.data import training_data
    from stages.retrieval.training import fit
    from stages.train_retrieval import load_retriever, scale_to_data

    retriever, params = load_retriever(name)
    positives, low_ratings = inputs.snapshot.positives, inputs.snapshot.low_ratings
    max_length = read_value("histories.max_length", int)
    params, length = scale_to_data(params, positives, low_ratings, max_length)
    data = training_data(positives, low_ratings, inputs.genres, length)
    model, batches = retriever.build(data, params, np.random.default_rng(read_seed()))
    epochs = inputs.epochs if params.tower == "transformer" else TWO_TOWER_EPOCHS
    return with_fold_in(fit(model, batches, params, epochs, None).arrays, positives)


def recommend_by_retriever(arrays: dict[str, np.ndarray], inputs: Inputs) -> pl.DataFrame:
    """Embed, index and search, as the stages `embeddings`, `faiss_index` and `candidates` do."""
    users, queries = user_embeddings(arrays, inputs.histories, inputs.seen)
    ids, vectors = movie_embeddings(arrays)
    is_candidate = np.isin(ids, inputs.snapshot.movies)
    index = build_index(ids[is_candidate], vectors[is_candidate], load_params(IndexParams, "faiss"))
    return search_unseen(index, users, queries, inputs.seen, COUNT)


MODELS = {
    name: Model(
        f"stages.generators.{name}", functools.partial(fit_generator, name), recommend_by_generator
    )
    for name in ("ease", "item_knn")
} | {
    name: Model(
        "stages.train_retrieval", functools.partial(fit_retriever, name), recommend_by_retriever
    )
    for name in ("id", "history")
}
