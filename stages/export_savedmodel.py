"""Stage: the history retriever's user tower as a TensorFlow SavedModel."""

from pathlib import Path

from stages.common.files import read_arrays
from stages.common.stage import run_stage, whole_file
from stages.retrieval.savedmodel import save


def main(model: Path, savedmodel: Path) -> str:
    """Read the tower's arrays, write the folder of the SavedModel."""
    arrays = read_arrays(model)
    with whole_file(savedmodel) as temporary:
        save(arrays, temporary)
    return f"{len(arrays)} arrays -> the tower of {len(arrays['movie_ids']):,} movies"


if __name__ == "__main__":
    run_stage(main)
