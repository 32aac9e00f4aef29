"""No system sees its answer: with random targets all fall to chance, and every guard is needed."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from stages.common.params import YAML
from stages.metrics import target_ranks
from tests.conftest import (
    ROOT,
    copy_repository,
    dvc,
    edit_params,
    run,
    tiny_tables,
    write_tiny,
)
from tests.tiny_chain import run_chain

USERS, LISTED, LAST = 300, 10, 2_000_000_000
SYSTEMS = YAML(typ="safe").load(ROOT / "params.yaml")["leaderboard"]["systems"]


def with_random_targets() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tiny data, and after all else each user likes a movie drawn from those not yet rated."""
    ratings, movies = tiny_tables(users=USERS)
    rng = np.random.default_rng(5)
    rated = ratings.group_by("userId", maintain_order=True).agg("movieId")
    drawn = [
        rng.choice(np.setdiff1d(movies["movieId"].to_numpy(), seen))
        for seen in rated["movieId"].to_list()
    ]
    last = rated.select(
        "userId",
        movieId=pl.Series(drawn, dtype=pl.Int64),
        rating=pl.lit(5.0),
        timestamp=pl.lit(LAST, pl.Int64),
    )
    return pl.concat([ratings, last]), movies


def chance(ratings: pl.DataFrame, movies: pl.DataFrame) -> tuple[float, float]:
    """The least and the largest recall@10 that lists which know nothing of the targets can have."""
    before = ratings.filter(pl.col("timestamp") < LAST)
    rated = before.group_by("userId").len()["len"].mean()
    liked = before.filter(pl.col("rating") >= 4).group_by("userId").len()["len"].mean()
    # Who knows what the user has liked draws from the rest; who knows all ratings, from less.
    low, high = (LISTED / (movies.height - known) for known in (liked, rated))
    noise = 4 * (high / USERS) ** 0.5
    return low - noise, high + noise


def test_with_random_targets_every_stage_falls_to_chance(tmp_path: Path) -> None:
    ratings, movies = with_random_targets()
    run_chain(tmp_path, (ratings, movies))
    low, high = chance(ratings, movies)
    data = tmp_path / "data"
    targets = pl.read_parquet(data / "split" / "test.parquet")
    assert targets.height > 0.9 * USERS
    for system in SYSTEMS:
        lists = pl.read_parquet(data / "recommendations" / system / "test.parquet")
        found = target_ranks(lists, targets).is_between(1, LISTED).mean()
        assert low < found < high, system


@pytest.mark.long
def test_with_random_targets_every_trained_system_falls_to_chance(repo: Path) -> None:
    ratings, movies = with_random_targets()
    source = write_tiny(repo.parent / "random", (ratings, movies))
    edit_params(repo, data__source=str(source))
    dvc(repo, "repro")
    low, high = chance(ratings, movies)
    board = json.loads((repo / "metrics" / "leaderboard.json").read_text())
    assert list(board) == SYSTEMS
    for system, row in board.items():
        assert low < row["recall@10"] < high, system


class Mutation(NamedTuple):
    """A guard, how it is broken, and the test that must notice."""

    file: str
    old: str
    new: str
    test: str


MUTATIONS = {
    "seen movies are left out (index)": Mutation(
        "stages/top_k.py",
        "keep = (movies >= 0) & ~contains(seen, pair_keys(users[:, None], movies))",
        "keep = movies >= 0",
        "test_candidates.py::test_every_index_gives_the_best_unseen_in_order[flat]",
    ),
    "seen movies are left out (items)": Mutation(
        "stages/item_similarity.py",
        "        scores[rows.nonzero()] = -np.inf\n",
        "",
        "test_candidates.py::test_recommend_similar_sums_the_weights_of_unseen_movies",
    ),
    "the last two likings are held out": Mutation(
        "stages/time_split.py",
        "held_out & (from_end <= 2), from_end, 0",
        "held_out & (from_end <= 1), from_end, 0",
        "test_split.py::test_leave_one_out_holds_out_the_last_two",
    ),
    "histories end before their targets": Mutation(
        "stages/histories.py",
        'pl.col("fold") <= number',
        'pl.col("fold") <= number + 1',
        "test_split.py::test_the_histories_of_every_fold_end_before_its_targets",
    ),
    "dislikes are older than the newest liking": Mutation(
        "stages/dislikes.py",
        'pl.col("timestamp") < pl.col("until")',
        'pl.col("timestamp") >= pl.col("until")',
        "test_split.py::test_dislikes_are_known_before_the_newest_liking_and_are_no_targets",
    ),
    "the transformer sees no later movie": Mutation(
        "stages/towers.py",
        "earlier = np.tril(np.ones((length, length), dtype=bool))",
        "earlier = np.ones((length, length), dtype=bool)",
        "test_retrieval.py::test_padding_and_the_future_do_not_change_a_users_vector",
    ),
    "popularity is as of the user's time": Mutation(
        "stages/feature_groups.py",
        "now = np.broadcast_to(batch.times[:, :1], batch.movies.shape)",
        "now = np.full(batch.movies.shape, 2**32 - 1)",
        "test_ranker.py::test_features_know_nothing_after_the_users_last_liking",
    ),
    "a missed target is not added": Mutation(
        "stages/ranker_data.py",
        'how="left", maintain_order="left"',
        'how="full", coalesce=True',
        "test_ranker.py::test_a_missed_target_is_not_added",
    ),
    "folds of the ranker are of users": Mutation(
        "stages/train_ranker.py",
        "everyone, place = np.unique(users, return_inverse=True)",
        "everyone, place = users, np.arange(len(users))",
        "test_ranker.py::test_folds_keep_users_whole_and_use_all",
    ),
    "a feature that knows the answer is refused": Mutation(
        "stages/train_ranker.py",
        "    check_labels(examples, features)\n",
        "",
        "test_ranker.py::test_training_on_the_test_targets_is_caught",
    ),
    "users without recommendations count": Mutation(
        "stages/evaluate.py",
        'return table.with_columns(pl.col("likings").fill_null(0))',
        'return table.filter(pl.col("rank") > 0)',
        "test_metrics.py::test_users_without_recommendations_count_as_misses",
    ),
    "equal scores count as placed behind": Mutation(
        "stages/metrics.py",
        "scores[rows] >= own[target]",
        "scores[rows] > own[target]",
        "test_metrics.py::test_a_target_stands_behind_all_of_equal_score",
    ),
    "test targets have one reader": Mutation(
        "dvc.yaml",
        "    params:\n    - histories\n    - seed\n",
        "    - data/split/test.parquet\n    params:\n    - histories\n    - seed\n",
        "test_pipeline.py::test_only_evaluate_reads_the_test_targets",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("guard", MUTATIONS)
def test_a_broken_guard_is_noticed(guard: str, tmp_path: Path) -> None:
    clone = copy_repository(tmp_path / "clone")
    run(["git", "init", "-q"], clone)
    mutation = MUTATIONS[guard]
    command = ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{mutation.test}"]
    assert run(command, clone).returncode == os.EX_OK
    path = clone / mutation.file
    text = path.read_text()
    assert text.count(mutation.old) == 1, guard
    path.write_text(text.replace(mutation.old, mutation.new))
    done = run(command, clone)
    assert done.returncode == 1, done.stdout[-2000:]
    assert " failed" in done.stdout or "FAILED" in done.stdout
