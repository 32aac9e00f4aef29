"""Stage: train one retriever, for each fold on what was known before its targets."""

import importlib
import math
import types
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from stages.common.files import write_arrays, write_csv
from stages.common.params import load_params, read_seed, read_value
from stages.common.stage import StageError, run_stage
from stages.common.tables import HISTORIES, TRAIN_HISTORIES, read_table
from stages.engine import chosen, over
from stages.folds import FOLDS
from stages.live import Watch, live_view
from stages.metrics import COMPARED, user_metrics
from stages.retrieval.training import ALONE, TrainingParams, fit, training_data
from stages.retrieval.worker import Arrays, Fitted, Worker
from stages.top_k import interactions
from stages.towers import serve_movies, serve_users

TARGETS_AT_ONCE = 1024
Validate = Callable[[Arrays], dict[str, float]]


def validator(likings: pl.DataFrame, histories: pl.DataFrame, targets: pl.DataFrame) -> Validate:
    """A function from a model's arrays to its metrics over the full catalogue.

    Args:
        likings: All rows that are known before the targets; these movies are seen.
        histories: HISTORIES of the users to measure.
        targets: user_id and movie_id, one row per target. A movie nobody liked is a miss.
    """
    liked_ids = likings["movie_id"].unique().sort().to_numpy()
    user_ids = histories["user_id"].to_numpy()
    seen = interactions(likings, user_ids, liked_ids)
    wanted = targets.sort("user_id")
    owner = np.searchsorted(user_ids, wanted["user_id"].to_numpy())
    column = np.searchsorted(liked_ids, wanted["movie_id"].to_numpy()).clip(max=len(liked_ids) - 1)
    known = liked_ids[column] == wanted["movie_id"].to_numpy()

    def validate(arrays: Arrays) -> dict[str, float]:
        movie_ids, movies = serve_movies(arrays)
        movies = movies[np.searchsorted(movie_ids, liked_ids)]
        _, queries = serve_users(arrays, histories)  # all of them were trained on

        def ranks_from(start: int) -> np.ndarray:
            part = slice(start, start + TARGETS_AT_ONCE)
            scores = queries[owner[part]] @ movies.T
            target_scores = np.take_along_axis(scores, column[part, None], axis=1)
            scores[seen[owner[part]].nonzero()] = -np.inf
            return np.where(known[part], (scores >= target_scores).sum(axis=1), 0)

        starts = range(0, len(owner), TARGETS_AT_ONCE)
        ranks = np.concatenate(list(over(ranks_from, starts, send=False)))
        table = user_metrics(wanted.select("user_id", rank=pl.Series(ranks)), [10, 200])
        return table.select(pl.col(COMPARED).mean()).row(0, named=True)

    return validate


def watched(validate: Validate, watch: Watch) -> Validate:
    """`validate`, which tells `watch` what it finds."""

    def both(arrays: Arrays) -> dict[str, float]:
        figures = validate(arrays)
        watch(figures)
        return figures

    return both


def train(
    variant: types.ModuleType,
    params: TrainingParams,
    tables: dict[str, pl.DataFrame],
    max_length: int,
    seed: int,
    watch: Watch = lambda figures: None,
    folds: Sequence[str] = FOLDS,
    worker: Worker = ALONE,
) -> tuple[Fitted, dict[str, Arrays]]:
    """Fit on what is known before the early targets, stopped by these; then for each later fold.

    Args:
        variant: A module of stages.retrieval.
        params: Its parameters.
        tables: `likings` (TRAIN_HISTORIES), `histories` (HISTORIES before the early targets) and
            `genres`.
        max_length: How many movies of a history are used, where users like so many on average:
            longer windows would be mostly padding.
        seed: Of all randomness.
        watch: Is told the early targets' metrics after each epoch.
        folds: The first ones of `FOLDS`.
        worker: Who trains: one by itself, or one of several that all call this.

    Returns:
        The first fit, and the arrays by fold.
    """
    likings = [tables["likings"].filter(pl.col("fold") <= n) for n in range(len(folds))]
    count, users = likings[0].height, likings[0]["user_id"].n_unique()
    length = min(max_length, max(2, math.ceil(count / users)))
    # Once for all folds: a later one starts with the weights of the one before.
    params = params.sized(count, users)
    made: dict[str, Arrays] = {}
    for fold, known in zip(folds, likings):
        data = training_data(known, tables["genres"], length)
        rng = np.random.default_rng(seed)
        with worker.scope():
            model, batches = variant.build(data, params, rng)
        worker.begin(fold, rng)
        if not made:
            later = tables["likings"].filter(pl.col("fold") == 1)
            targets = later.join(tables["histories"], on="user_id", how="semi")
            validate = watched(validator(known, tables["histories"], targets), watch)
            first = latest = fit(model, batches, params, params.epochs, validate, worker)
        elif params.warm_start:
            model.start_from(latest.arrays)
            epochs = math.ceil(params.warm_start * first.epoch)
            latest = fit(model, batches, params, epochs, None, worker)
        else:
            latest = fit(model, batches, params, first.epoch, None, worker)
        made[fold] = latest.arrays
    return first, made


def main(name: str, histories: Path, genres: Path, model: Path, curve: Path) -> str:
    """Write the arrays for every fold and the learning curve of the retriever `name`."""
    variant = importlib.import_module(f"stages.retrieval.{name}")
    params = load_params(variant.Params, f"retrievers.{name}")
    seed = read_seed()
    length = read_value("histories.max_length", int)
    tables = {
        "likings": read_table(histories / "train.parquet", TRAIN_HISTORIES),
        "histories": read_table(histories / "early.parquet", HISTORIES),
        "genres": read_table(genres),
    }
    # Each retriever has random numbers of its own.
    seed ^= zlib.crc32(name.encode()) >> 1
    with live_view(Path("live") / name, read_value("dvclive", bool)) as watch:
        if chosen() == "ray":
            from stages.cluster_retrieval import train_on_ray

            first, made = train_on_ray(train, name, params, tables, length, seed)
            for figures in first.curve:
                watch(figures)
        else:
            first, made = train(variant, params, tables, length, seed, watch)
    for fold, arrays in made.items():
        if not all(np.isfinite(v).all() for v in arrays.values()):
            raise StageError(f"retrievers.{name}.learning_rate: the weights overflow; set it lower")
        write_arrays(arrays, model / f"{fold}.npz")
    write_csv(pl.DataFrame(first.curve), curve)
    best = first.curve[first.epoch - 1]
    shown = ", ".join(f"{metric} {best[metric]:.4f}" for metric in COMPARED)
    return f"{tables['likings'].height:,} likings -> best epoch {first.epoch}, early {shown}"


if __name__ == "__main__":
    run_stage(main)
