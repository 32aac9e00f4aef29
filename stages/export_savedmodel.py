"""Stage: the history retriever as a TensorFlow SavedModel."""

from pathlib import Path

import polars as pl

from stages.common.files import read_arrays
from stages.common.stage import atomic_write, run_stage
from stages.common.tables import read_table
from stages.retrieval.savedmodel import save
from stages.serving.raw_ids import to_raw_ids


def main(model: Path, movie_ids: Path, savedmodel: Path) -> str:
    """Read the retriever's arrays and the movies' raw ids, write the folder of the SavedModel."""
    arrays = read_arrays(model)
    raw_ids = to_raw_ids(pl.Series(arrays["movie_ids"]), read_table(movie_ids)).to_numpy()
    with atomic_write(savedmodel) as temporary:
        save(arrays, raw_ids, temporary)
    return f"{len(arrays)} arrays -> an index of {len(raw_ids):,} movies"


if __name__ == "__main__":
    run_stage(main)
