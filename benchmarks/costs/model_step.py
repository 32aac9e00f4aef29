"""Fit one model and recommend with it, in this process; print the seconds of both as JSON.

python -m benchmarks.costs.model_step own.ease --data DATA --lists FILE --epochs 1
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from benchmarks.peers.data import Snapshot
from stages.common.tables import read_table
from stages.data.snapshots import TEST_SNAPSHOT, read_histories, read_seen

COUNT = 200  # movies that a model recommends to a user, as `candidates.count`


class Inputs(NamedTuple):
    """What every model may read."""

    snapshot: Snapshot
    histories: pl.DataFrame  # HISTORIES
    seen: pl.DataFrame  # SEEN
    genres: pl.DataFrame
    epochs: int  # of a transformer


class Model(NamedTuple):
    """A model; `recommend` returns user_id, movie_id and score of `COUNT` movies of every user.

    The functions import `library` themselves, because it is a part of the memory of a process.
    """

    library: str  # is imported before the seconds are counted
    fit: Callable[[Inputs], Any]
    recommend: Callable[[Any, Inputs], pl.DataFrame]


def read_inputs(data: Path, epochs: int) -> Inputs:
    """Read the inputs from the folder `data` of a run."""
    return Inputs(
        Snapshot(data, TEST_SNAPSHOT),
        read_histories(data / "histories", TEST_SNAPSHOT),
        read_seen(data / "seen", TEST_SNAPSHOT),
        read_table(data / "movies" / "genres.parquet"),
        epochs,
    )


def main() -> None:
    """Parse the command line, run the model, and write its lists."""
    parser = argparse.ArgumentParser(description="Fit one model and recommend with it.")
    parser.add_argument("model", help="a module of benchmarks.costs and a key of its MODELS")
    parser.add_argument("--data", type=Path, required=True, help="the folder data of a run")
    parser.add_argument("--lists", type=Path, required=True, help="a file for the lists")
    parser.add_argument("--epochs", type=int, default=1, help="of a transformer (1)")
    options = parser.parse_args()
    module, _, name = options.model.partition(".")
    model = importlib.import_module(f"benchmarks.costs.{module}").MODELS[name]
    importlib.import_module(model.library)
    inputs = read_inputs(options.data, options.epochs)
    start_time = time.perf_counter()
    fitted = model.fit(inputs)
    fit_time = time.perf_counter()
    lists = model.recommend(fitted, inputs)
    end_time = time.perf_counter()
    lists.write_parquet(options.lists)
    print(json.dumps({"fit": fit_time - start_time, "recommend": end_time - fit_time}))


if __name__ == "__main__":
    main()
