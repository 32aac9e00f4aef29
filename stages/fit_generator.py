"""Stage: fit one generator of `generators` for every snapshot, and recommend with it."""

import importlib
from pathlib import Path

from stages.common.files import write_arrays
from stages.common.params import load_params
from stages.common.stage import run_stage
from stages.common.tables import RECOMMENDATIONS, write_table
from stages.data.snapshots import (
    SNAPSHOTS,
    TARGET_SNAPSHOTS,
    known_low_ratings,
    known_rows,
    read_histories,
    read_low_ratings,
    read_positives,
    read_seen,
)
from stages.models.top_k import CandidateParams


def main(name: str, histories: Path, seen: Path, models: Path, candidates: Path) -> str:
    """Write the arrays of the generator `name`, and RECOMMENDATIONS of snapshots with targets."""
    generator = importlib.import_module(f"stages.generators.{name}")
    params = load_params(generator.Params, f"generators.{name}")
    count = load_params(CandidateParams, "candidates").count
    all_positives, all_low_ratings = read_positives(histories), read_low_ratings(seen)
    for snapshot in SNAPSHOTS:
        positives = known_rows(all_positives, snapshot)
        low_ratings = known_low_ratings(all_low_ratings, positives, snapshot)
        arrays = generator.fit(positives, low_ratings, params)
        write_arrays(arrays, models / name / f"{snapshot}.npz")
        if snapshot in TARGET_SNAPSHOTS:
            users = read_histories(histories, snapshot)["user_id"].to_numpy()
            lists = generator.recommend(arrays, users, read_seen(seen, snapshot), count)
            write_table(lists, candidates / name / f"{snapshot}.parquet", RECOMMENDATIONS)
    movies = len(arrays["movie_ids"])
    return f"{movies:,} movies -> {lists.height:,} candidates for {len(users):,} queries"


if __name__ == "__main__":
    run_stage(main)
