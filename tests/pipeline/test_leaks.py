"""No system sees its targets: it finds random ones by chance only, and every guard is needed."""

import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from stages.common.systems import system_list_paths, system_names
from stages.evaluation.metrics import target_ranks
from tests.conftest import (
    ROOT,
    copy_repository,
    dvc,
    edit_params,
    run,
    tiny_tables,
    write_tiny,
)
from tests.tiny_chain import CANDIDATES, RECOMMENDATIONS, SPLIT, run_chain

USERS, CUTOFF, TARGET_TIME = 300, 10, 2_000_000_000


def with_random_targets() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tiny data, and as each user's newest positive a random movie that is not yet rated."""
    ratings, movies = tiny_tables(users=USERS)
    rng = np.random.default_rng(5)
    users = ratings.group_by("userId", maintain_order=True).agg("movieId")
    targets = [
        rng.choice(np.setdiff1d(movies["movieId"].to_numpy(), rated_ids))
        for rated_ids in users["movieId"].to_list()
    ]
    target_ratings = users.select(
        "userId",
        movieId=pl.Series(targets, dtype=pl.Int64),
        rating=pl.lit(5.0),
        timestamp=pl.lit(TARGET_TIME, pl.Int64),
    )
    return pl.concat([ratings, target_ratings]), movies


def chance_bounds(ratings: pl.DataFrame, movies: pl.DataFrame) -> tuple[float, float]:
    """Bounds of the recall@10 of a system that knows nothing of the targets.

    A system that leaves out the users' positives guesses among the other movies. One that leaves
    out all that they rated guesses among fewer.
    """
    interactions = ratings.filter(pl.col("timestamp") < TARGET_TIME)
    positives = interactions.filter(pl.col("rating") >= 4)
    low, high = (
        CUTOFF / (movies.height - table.group_by("userId").len()["len"].mean())
        for table in (positives, interactions)
    )
    noise = 4 * (high / USERS) ** 0.5  # four standard errors
    return low - noise, high + noise


# With `last`, live histories hold all positives before the random target, also those after the cut.
SPLITS = {"leave_one_out": {}, "global": {"time_split__targets": "last"}}


@pytest.mark.parametrize("method", SPLITS)
def test_with_random_targets_every_system_falls_to_chance(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratings, movies = with_random_targets()
    run_chain(tmp_path, (ratings, movies), time_split__method=method, **SPLITS[method])
    low, high = chance_bounds(ratings, movies)
    monkeypatch.chdir(tmp_path)
    targets = pl.read_parquet(SPLIT / "test.parquet")
    assert targets.height > 0.9 * USERS
    paths = system_list_paths(system_names(), CANDIDATES, RECOMMENDATIONS)
    assert len(paths) == 13
    for system, path in paths.items():
        ranks = target_ranks(pl.read_parquet(path), targets)
        assert low < ranks.is_between(1, CUTOFF).mean() < high, system


@pytest.mark.long
def test_with_random_targets_every_trained_system_falls_to_chance(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratings, movies = with_random_targets()
    source = write_tiny(repo.parent / "random", (ratings, movies))
    edit_params(repo, data__source=str(source))
    dvc(repo, "repro")
    low, high = chance_bounds(ratings, movies)
    board = json.loads((repo / "metrics" / "leaderboard.json").read_text())
    monkeypatch.chdir(repo)
    assert list(board) == system_names()
    for system, row in board.items():
        assert low < row["recall@10"] < high, system


class Mutation(NamedTuple):
    """A change of the source that breaks a guard, and the test that must notice it."""

    file: str
    old: str
    new: str
    test: str


MUTATIONS = {
    "an index leaves out seen movies": Mutation(
        "stages/models/top_k.py",
        "keep = (movies >= 0) & ~isin_sorted(seen, pair_keys(users[:, None], movies))",
        "keep = movies >= 0",
        "stages/test_candidates.py::test_every_index_gives_the_best_unseen_in_order[flat]",
    ),
    "an item-to-item model leaves out seen movies": Mutation(
        "stages/models/item_item.py",
        "        scores[seen_matrix[rows].nonzero()] = -np.inf\n",
        "",
        "models/test_item_item.py::test_the_sums_of_the_weights_order_the_unseen_movies",
    ),
    "the last two positives are held out": Mutation(
        "stages/time_split.py",
        "has_targets & (from_end <= 2), from_end, 0",
        "has_targets & (from_end <= 1), from_end, 0",
        "stages/test_time_split.py::test_leave_one_out_holds_out_the_last_two",
    ),
    "a snapshot knows nothing of its targets": Mutation(
        "stages/data/snapshots.py",
        'pl.col("snapshot") <= SNAPSHOTS.index(snapshot)',
        'pl.col("snapshot") <= SNAPSHOTS.index(snapshot) + 1',
        "stages/test_histories.py::test_the_histories_of_every_snapshot_end_before_its_targets",
    ),
    "no list holds a movie that its user has rated": Mutation(
        "stages/seen.py",
        'if exclude == "positives" and not serves:',
        "if not serves:",
        "stages/test_seen.py::test_the_param_decides_what_is_seen[rated]",
    ),
    "models know no low rating of the future": Mutation(
        "stages/seen.py",
        'pl.col("timestamp") < pl.col(name)',
        'pl.col("timestamp") >= 0',
        "stages/test_seen.py::test_a_snapshot_knows_the_low_ratings_before_its_newest_positive",
    ),
    "no target is a low rating": Mutation(
        "stages/seen.py",
        'pl.col("timestamp") < pl.col(name)',
        'pl.col("timestamp") <= pl.col(name) + 100',
        "stages/test_seen.py::test_a_positive_is_no_low_rating",
    ),
    "what is rated in the second of the newest positive is not known": Mutation(
        "stages/data/queries.py",
        'pl.col("timestamp") < pl.col("until")',
        'pl.col("timestamp") <= pl.col("until")',
        "stages/test_seen.py::test_a_rating_of_the_second_of_the_newest_positive_may_be_later",
    ),
    "the evaluated bundle is of the test snapshot": Mutation(
        "stages/export.py",
        "bundle_as_evaluated: TEST_SNAPSHOT",
        "bundle_as_evaluated: SERVE_SNAPSHOT",
        "serving/test_pipeline.py::test_every_user_of_the_data_gets_the_pipelines_list[basic]",
    ),
    "nobody is served a movie that they have rated": Mutation(
        "stages/seen.py",
        "positives, ratings, also_unknown=serves)",
        "positives, ratings)",
        "stages/test_export.py::test_the_bundle_knows_all_positives_and_ratings",
    ),
    "a list with a seen movie is not measured": Mutation(
        "stages/evaluate.py",
        "        refuse_seen(lists, seen_keys, path)\n",
        "",
        "stages/test_evaluate.py"
        "::test_a_list_with_a_movie_that_its_user_has_seen_is_an_error[candidates/ease]",
    ),
    "a live history ends before its target": Mutation(
        "stages/histories.py",
        'queries["source_user_id"].to_numpy()) + sizes',
        'queries["source_user_id"].to_numpy()) + sizes + 1',
        "stages/test_histories.py"
        "::test_a_history_ends_before_its_query_and_keeps_the_newest_oldest_first",
    ),
    "evaluated models know no test target": Mutation(
        "stages/histories.py",
        "later.with_columns(snapshot=pl.lit(serve, dtype=pl.UInt8))",
        "later.with_columns(snapshot=pl.lit(test, dtype=pl.UInt8))",
        "stages/test_histories.py::test_snapshots_know_each_users_positives_in_order",
    ),
    "users with many queries weigh no more than others": Mutation(
        "stages/evaluation/metrics.py",
        "return mean_by_user(user_accuracy(ranks, cutoffs, metrics), ranks)",
        "return user_accuracy(ranks, cutoffs, metrics)",
        "stages/test_evaluate.py::test_users_with_several_queries_have_the_weight_of_one_user",
    ),
    "the transformer sees no later movie": Mutation(
        "stages/models/towers.py",
        "causal_mask = np.tril(np.ones((length, length), dtype=bool))",
        "causal_mask = np.ones((length, length), dtype=bool)",
        "models/test_towers.py::test_padding_and_the_future_do_not_change_a_users_vector",
    ),
    "recency counts no positive after the user's newest one": Mutation(
        "stages/ranking/feature_groups.py",
        "until = np.stack([now, *",
        "until = np.stack([np.full_like(now, 2**32 - 1), *",
        "ranking/test_feature_groups.py"
        "::test_recency_counts_nothing_after_the_users_newest_positive",
    ),
    "a target that was not retrieved is not added": Mutation(
        "stages/ranker_data.py",
        'positives, on=["user_id", "movie_id"], how="left", maintain_order="left"',
        'positives, on=["user_id", "movie_id"], how="full", coalesce=True',
        "stages/test_ranker_data.py::test_a_target_that_was_not_retrieved_is_not_added",
    ),
    "the folds of the ranker are of users": Mutation(
        "stages/ranking/folds.py",
        'rows = np.repeat(folds["fold"].to_numpy()[index], sizes)',
        'rows = np.arange(sizes.sum()) % (folds["fold"].max() + 1)',
        "ranking/test_folds.py::test_folds_keep_users_whole_and_use_all",
    ),
    "validation lists are out of fold": Mutation(
        "stages/rerank.py",
        'users = histories.select("user_id", fold=fold)',
        'users = histories.select("user_id", fold=fold * 0)',
        "stages/test_rerank.py::test_a_user_is_ranked_by_the_booster_that_has_not_seen_them",
    ),
    "the queries of a user are in one fold": Mutation(
        "stages/train_ranker.py",
        'users, sizes = groups["source_user_id"].to_numpy()',
        'users, sizes = groups["user_id"].to_numpy()',
        "stages/test_train_ranker.py::test_the_queries_of_a_user_are_in_one_fold",
    ),
    "a feature that leaks the label is rejected": Mutation(
        "stages/train_ranker.py",
        "    check_labels(examples, features)\n",
        "",
        "stages/test_train_ranker.py::test_a_feature_that_counts_the_target_is_caught_in_training",
    ),
    "users without recommendations are evaluated": Mutation(
        "stages/evaluate.py",
        'return table.with_columns(pl.col("positives").fill_null(0))',
        'return table.filter(pl.col("rank") > 0)',
        "stages/test_evaluate.py::test_users_without_recommendations_count_as_misses",
    ),
    "movies with the target's score are ranked before it": Mutation(
        "stages/evaluation/metrics.py",
        "scores[rows] >= target_scores[index]",
        "scores[rows] > target_scores[index]",
        "evaluation/test_metrics.py::test_a_target_is_ranked_behind_all_of_equal_score",
    ),
    "one stage reads the test targets": Mutation(
        "dvc.yaml",
        "    params:\n    - seed\n    - histories\n",
        "    - data/split/test.parquet\n    params:\n    - seed\n    - histories\n",
        "pipeline/test_dvc_yaml.py::test_only_evaluate_reads_the_test_targets",
    ),
}


@pytest.mark.parametrize("guard", MUTATIONS)
def test_every_mutation_changes_the_source_and_names_a_test(guard: str) -> None:
    mutation = MUTATIONS[guard]
    assert (ROOT / mutation.file).read_text().count(mutation.old) == 1
    assert mutation.new != mutation.old
    path, name = mutation.test.split("::")
    function = re.escape(name.partition("[")[0])
    assert re.search(rf"^def {function}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE)


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
    assert text.count(mutation.old) == 1
    path.write_text(text.replace(mutation.old, mutation.new))
    broken = run(command, clone)
    assert broken.returncode == 1, broken.stdout[-2000:]
    assert " failed" in broken.stdout or "FAILED" in broken.stdout
