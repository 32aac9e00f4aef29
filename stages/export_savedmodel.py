"""Stage: the history retriever's user tower as a TensorFlow SavedModel."""

from pathlib import Path

from stages.common.files import read_arrays
from stages.common.stage import atomic_write, run_stage
from stages.retrieval.savedmodel import save


def main(model: Path, savedmodel: Path) -> str:
    """Read the arrays of the history retriever, write the folder of the SavedModel."""
    arrays = read_arrays(model)
    with atomic_write(savedmodel) as temporary:
        save(arrays, temporary)
    return f"{len(arrays)} arrays -> a user tower over {len(arrays['movie_ids']):,} movies"


if __name__ == "__main__":
    run_stage(main)
