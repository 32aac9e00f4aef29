"""Stage: train one retriever for every snapshot, on the ratings that the snapshot knows."""

import importlib
import math
import sys
import types
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from stages.common.files import write_arrays, write_csv
from stages.common.params import load_params, read_seed, read_value
from stages.common.stage import StageError, run_stage
from stages.common.tables import TARGETS, read_table
from stages.data.pairs import isin_sorted, pair_keys, sorted_pair_keys
from stages.data.snapshots import (
    SNAPSHOTS,
    known_low_ratings,
    known_rows,
    read_histories,
    read_low_ratings,
    read_positives,
    read_seen,
)
from stages.evaluation.accuracy import MAIN_CUTOFFS, MAIN_METRICS, user_accuracy
from stages.models.top_k import interaction_matrix
from stages.models.towers import movie_embeddings
from stages.models.user_vectors import user_embeddings, with_fold_in
from stages.parallel.executor import backend, parallel_map
from stages.retrieval.data import training_data
from stages.retrieval.live_metrics import Log, log_live
from stages.retrieval.training import SINGLE_WORKER, TrainingParams, fit
from stages.retrieval.worker import Arrays, Fitted, Worker

SCORE_BATCH_TARGETS = 1024  # bounds the dense [targets, movies] scores


class Validator:
    """Measures a model on targets, by their ranks among all movies with a positive."""

    def __init__(
        self,
        positives: pl.DataFrame,
        histories: pl.DataFrame,
        seen: pl.DataFrame,
        targets: pl.DataFrame,
    ) -> None:
        """Index the targets once for all epochs.

        Args:
            positives: user_id and movie_id of all positives that the model is trained on.
            histories: HISTORIES of the queries.
            seen: SEEN of the queries.
            targets: TARGETS of the queries. A target is a miss if its movie has no positive, or
                is seen.
        """
        self.positives = positives
        self.histories, self.ratings = histories, seen
        self.targets = targets.sort("user_id")
        self.movie_ids = positives["movie_id"].unique().sort().to_numpy()
        users = histories["user_id"].to_numpy()
        self.seen = interaction_matrix(seen, users, self.movie_ids)
        self.user_index = np.searchsorted(users, self.targets["user_id"].to_numpy())
        movies = self.targets["movie_id"].to_numpy()
        self.movie_index = np.searchsorted(self.movie_ids, movies).clip(max=len(self.movie_ids) - 1)
        self.is_candidate = self.movie_ids[self.movie_index] == movies
        self.is_candidate &= ~isin_sorted(
            sorted_pair_keys(seen), pair_keys(self.targets["user_id"].to_numpy(), movies)
        )

    def __call__(self, arrays: Arrays) -> dict[str, float]:
        """Return the means over queries of `MAIN_METRICS` for the arrays of a model."""
        ids, vectors = movie_embeddings(arrays)
        movies = vectors[np.searchsorted(ids, self.movie_ids)]
        _, users = user_embeddings(
            with_fold_in(arrays, self.positives), self.histories, self.ratings
        )

        def batch_ranks(start: int) -> np.ndarray:
            return self.ranks(slice(start, start + SCORE_BATCH_TARGETS), users, movies)

        starts = range(0, len(self.user_index), SCORE_BATCH_TARGETS)
        ranks = np.concatenate(list(parallel_map(batch_ranks, starts, local_only=True)))
        table = user_accuracy(self.targets.select("user_id", rank=pl.Series(ranks)), MAIN_CUTOFFS)
        return table.select(pl.col(MAIN_METRICS).mean()).row(0, named=True)

    def ranks(self, batch: slice, users: np.ndarray, movies: np.ndarray) -> np.ndarray:
        """Return the rank of each target of a batch among the user's unseen movies, 0 for a miss.

        Args:
            batch: Rows of the targets.
            users: [queries, d] vectors of the queries.
            movies: [movies, d] vectors of all movies with a positive.
        """
        index = self.user_index[batch]
        scores = users[index] @ movies.T
        target_scores = np.take_along_axis(scores, self.movie_index[batch, None], axis=1)
        scores[self.seen[index].nonzero()] = -np.inf
        return np.where(self.is_candidate[batch], (scores >= target_scores).sum(axis=1), 0)


def with_log(validate: Callable[[Arrays], dict[str, float]], log: Log) -> Callable:
    """Return `validate`, which also passes its metrics to `log`."""

    def validate_and_log(arrays: Arrays) -> dict[str, float]:
        metrics = validate(arrays)
        log(metrics)
        return metrics

    return validate_and_log


def scale_to_data(
    params: TrainingParams, positives: pl.DataFrame, low_ratings: pl.DataFrame, max_length: int
) -> tuple[TrainingParams, int]:
    """Return the params scaled to these positives, and the length of the windows of ratings.

    The length is the average number of a user's ratings that are learned, at least 2 and at most
    `max_length`: attention to more movies takes longer, and gains nothing measurable.

    Args:
        params: The retriever's params.
        positives: KNOWN_POSITIVES of the first snapshot.
        low_ratings: LOW_RATINGS that it knows.
        max_length: The most ratings of a window.
    """
    count, users = positives.height, positives["user_id"].n_unique()
    ratings = count + (low_ratings.height if params.low_weight else 0)
    return params.scale_to(count, users), min(max_length, max(2, math.ceil(ratings / users)))


def train(
    retriever: types.ModuleType,
    params: TrainingParams,
    tables: dict[str, pl.DataFrame],
    max_length: int,
    seed: int,
    log: Log = lambda metrics: None,
    snapshots: Sequence[str] = SNAPSHOTS,
    worker: Worker = SINGLE_WORKER,
) -> tuple[Fitted, dict[str, Arrays]]:
    """Train on the first snapshot, stopped by its targets, then on each later snapshot.

    Args:
        retriever: A module of stages.retrieval.
        params: Its parameters.
        tables: `positives` (KNOWN_POSITIVES); `low_ratings` (LOW_RATINGS); `histories`
            (HISTORIES), `seen` (SEEN) and `targets` (TARGETS) of the snapshot inner_val; `genres`.
        max_length: The most ratings of a window; `scale_to_data` may lower it.
        seed: Seed of all random numbers.
        log: Called with the metrics of the inner_val targets after each epoch.
        snapshots: The first ones of `SNAPSHOTS`.
        worker: The worker that this process is; with several, each of them calls this function.

    Returns:
        The fit of the first snapshot, and the arrays by snapshot.
    """
    # The same for all snapshots: a later one starts from the weights of the previous one.
    first = known_rows(tables["positives"], SNAPSHOTS[0])
    first_low = known_low_ratings(tables["low_ratings"], first, SNAPSHOTS[0])
    params, length = scale_to_data(params, first, first_low, max_length)
    targets = tables["targets"].join(
        tables["histories"], on="user_id", how="semi", maintain_order="left"
    )
    arrays: dict[str, Arrays] = {}
    for snapshot in snapshots:
        positives = known_rows(tables["positives"], snapshot)
        low_ratings = known_low_ratings(tables["low_ratings"], positives, snapshot)
        data = training_data(positives, low_ratings, tables["genres"], length)
        rng = np.random.default_rng(seed)
        with worker.scope():
            model, batches = retriever.build(data, params, rng)
        worker.begin(snapshot, rng)
        name = f"{snapshot} epochs"
        if not arrays:
            validator = Validator(positives, tables["histories"], tables["seen"], targets)
            validate = with_log(validator, log)
            first_fit = last_fit = fit(
                model, batches, params, params.epochs, validate, worker, name
            )
        elif params.finetune_epochs_ratio:
            model.start_from(last_fit.arrays)
            epochs = math.ceil(params.finetune_epochs_ratio * first_fit.epoch)
            last_fit = fit(model, batches, params, epochs, None, worker, name)
        else:
            last_fit = fit(model, batches, params, first_fit.epoch, None, worker, name)
        arrays[snapshot] = last_fit.arrays
    return first_fit, arrays


def load_retriever(name: str) -> tuple[types.ModuleType, TrainingParams]:
    """Import the module of the retriever `name`, and read its block of params.yaml."""
    retriever = importlib.import_module(f"stages.retrieval.{name}")
    params = load_params(retriever.Params, f"retrievers.{name}")
    if f"stages.retrieval.{params.tower}" not in sys.modules:
        key = f"retrievers.{name}.tower"
        raise StageError(f"{key}: {name}.py does not import {params.tower!r}; name what it imports")
    return retriever, params


def main(
    name: str,
    histories: Path,
    seen: Path,
    targets: Path,
    genres: Path,
    models: Path,
    curves: Path,
) -> str:
    """Write the arrays of every snapshot and the learning curve of the retriever `name`."""
    retriever, params = load_retriever(name)
    note = params.prepare_process()
    length = read_value("histories.max_length", int)
    tables = {
        "positives": read_positives(histories),
        "low_ratings": read_low_ratings(seen),
        "histories": read_histories(histories, SNAPSHOTS[0]),
        "seen": read_seen(seen, SNAPSHOTS[0]),
        "targets": read_table(targets, TARGETS),
        "genres": read_table(genres),
    }
    # Each retriever has different random numbers.
    seed = read_seed() ^ zlib.crc32(name.encode()) >> 1
    with log_live(Path("live") / name, read_value("dvclive", bool)) as log:
        if backend() == "ray":
            from stages.parallel.ray_backend.retrieval import train_on_ray

            first_fit, arrays = train_on_ray(train, name, params, tables, length, seed)
            for metrics in first_fit.curve:
                log(metrics)
        else:
            first_fit, arrays = train(retriever, params, tables, length, seed, log)
    for snapshot, weights in arrays.items():
        if not all(np.isfinite(v).all() for v in weights.values()):
            raise StageError(f"retrievers.{name}.learning_rate: the weights overflow; set it lower")
        positives = known_rows(tables["positives"], snapshot)
        write_arrays(with_fold_in(weights, positives), models / name / f"{snapshot}.npz")
    write_csv(pl.DataFrame(first_fit.curve), curves / f"{name}.csv")
    best = first_fit.curve[first_fit.epoch - 1]
    metrics = ", ".join(f"{metric} {best[metric]:.4f}" for metric in MAIN_METRICS)
    count = tables["positives"].height
    return f"{count:,} positives -> best epoch {first_fit.epoch}, inner_val {metrics}{note}"


if __name__ == "__main__":
    run_stage(main)
