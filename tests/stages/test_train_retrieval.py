import math
import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import train_retrieval
from stages.common.files import read_arrays
from stages.common.params import YAML
from stages.common.stage import StageError
from stages.data.snapshots import (
    SNAPSHOTS,
    known_low_ratings,
    known_rows,
    read_positives,
)
from stages.evaluation.accuracy import MAIN_METRICS
from stages.models.towers import movie_embeddings
from stages.models.user_vectors import user_embeddings, with_fold_in
from stages.retrieval.data import training_data
from stages.retrieval.training import Retriever
from stages.retrieval.worker import Fitted
from tests.conftest import ROOT, edit_params, run
from tests.retrieval.small_models import RETRIEVERS, SMALL, train_small
from tests.retrieval.tables import tables  # noqa: F401 (a fixture)
from tests.serving.bundles import file_contents
from tests.small_tables import seen_of, seen_pairs, user_histories, user_movie_pairs


@pytest.fixture(autouse=True)
def in_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the params.yaml of the repository."""
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", RETRIEVERS)
def test_every_retriever_learns_repeats_itself_and_gives_vectors(
    name: str,
    tables: dict,  # noqa: F811
) -> None:
    fit, _ = train_small(name, tables)
    losses = [row["loss"] for row in fit.curve]
    assert losses[-1] < losses[0]
    movie_ids, movies = movie_embeddings(fit.arrays)
    arrays = with_fold_in(fit.arrays, tables["positives"])
    _, users = user_embeddings(arrays, tables["histories"], tables["seen"])
    assert users.shape == (tables["histories"].height, 17)
    assert movies.shape == (len(movie_ids), 17)
    assert np.isfinite(users).all()
    assert np.isfinite(movies).all()

    changes = {"dropout": 0.2, "epochs": 1}
    _, models = train_small(name, tables, **changes)
    _, repeated = train_small(name, tables, **changes)
    for snapshot, arrays in models.items():
        assert all(np.array_equal(v, repeated[snapshot][k]) for k, v in arrays.items())


@pytest.mark.parametrize(("name", "ratio"), [*((name, 0.5) for name in RETRIEVERS), ("id", 0.0)])
def test_later_snapshots_know_more_and_start_from_the_weights_of_the_previous_one(
    name: str,
    ratio: float,
    tables: dict,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starts, epochs = [], []
    fit = train_retrieval.fit

    def spy(model: Retriever, batches: object, params: object, count: int, *rest: object) -> Fitted:
        starts.append({k: v.copy() for k, v in model.arrays().items()})
        epochs.append(count)
        return fit(model, batches, params, count, *rest)

    monkeypatch.setattr(train_retrieval, "fit", spy)
    first_fit, models = train_small(name, tables, finetune_epochs_ratio=ratio)
    assert list(models) == list(SNAPSHOTS)
    assert models["inner_val"]["movie"] is first_fit.arrays["movie"]
    for snapshot in SNAPSHOTS:
        positives = known_rows(tables["positives"], snapshot)
        movie_ids = positives["movie_id"].unique().sort()
        assert models[snapshot]["movie_ids"].tolist() == movie_ids.to_list()
    later_epochs = math.ceil(ratio * first_fit.epoch) if ratio else first_fit.epoch
    assert epochs == [SMALL["epochs"], *[later_epochs] * 3]
    for previous, start in zip(SNAPSHOTS, starts[1:]):
        rows = np.searchsorted(movie_ids, models[previous]["movie_ids"])
        learned = models[previous]["movie"]
        assert not np.allclose(learned, starts[0]["movie"][: len(learned)], atol=1e-2)
        assert np.array_equal(start["movie"][rows], learned) == (ratio > 0)


def test_every_snapshot_learns_from_the_low_ratings_that_it_knows(
    tables: dict,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inputs = []

    def record(positives: pl.DataFrame, low_ratings: pl.DataFrame, *rest: object):
        inputs.append(low_ratings)
        return training_data(positives, low_ratings, *rest)

    monkeypatch.setattr(train_retrieval, "training_data", record)
    train_small("id", tables, epochs=1)
    for snapshot, low_ratings in zip(SNAPSHOTS, inputs, strict=True):
        positives = known_rows(tables["positives"], snapshot)
        known = known_low_ratings(tables["low_ratings"], positives, snapshot)
        assert low_ratings.equals(known)
    heights = [table.height for table in inputs]
    assert 0 < heights[0] < heights[1] < heights[2] < heights[3]


@pytest.fixture
def two_users() -> dict[str, np.ndarray]:
    """A model of users 1 and 2 and four movies."""
    return {
        "user_ids": np.array([1, 2]),
        "user": np.array([[1, 0], [0, 1]], np.float32),
        "movie_ids": np.array([10, 20, 30, 40]),
        "movie": np.array([[9, 1], [8, 5], [3, 7], [3, 6]], np.float32),
        "bias": np.zeros(4, np.float32),
        "recency": np.array(1.0),
    }


def ranks_by_target(
    validator: train_retrieval.Validator, arrays: dict[str, np.ndarray]
) -> dict[tuple[int, int], int]:
    """The rank of each user's target movie; a model without a map has no recent part."""
    arrays = {"fold_in": np.zeros((2, 2), np.float32)} | arrays
    _, movies = movie_embeddings(arrays)
    _, users = user_embeddings(arrays, validator.histories, validator.ratings)
    ranks = validator.ranks(slice(None), users, movies)
    pairs = validator.targets.select("user_id", "movie_id").rows()
    return {pair: int(rank) for pair, rank in zip(pairs, ranks, strict=True)}


def test_the_validator_ranks_targets_among_unseen_movies(
    two_users: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_retrieval, "SCORE_BATCH_TARGETS", 2)
    pairs = [(1, 10), (1, 20), (2, 30), (2, 40)]
    # Movie 99 has no positive, so no list can have it.
    targets = user_movie_pairs([(2, 10), (1, 40), (2, 99), (1, 30)])
    validator = train_retrieval.Validator(
        user_movie_pairs(pairs),
        user_histories({1: [10, 20], 2: [30, 40]}),
        seen_pairs(pairs),
        targets,
    )
    # User 1 has not seen 30 and 40, with equal scores: both count as ranked behind the other.
    # User 2 has not seen 10 and 20, which scores higher.
    ranks = ranks_by_target(validator, two_users)
    assert ranks == {(1, 30): 2, (1, 40): 2, (2, 10): 2, (2, 99): 0}
    metrics = validator(two_users)
    assert list(metrics) == list(MAIN_METRICS)
    assert metrics["recall@10"] == pytest.approx((1 + 0.5) / 2)


def test_a_target_that_is_seen_is_a_miss_and_a_rated_movie_is_passed_over(two_users: dict) -> None:
    pairs = [(1, 10), (2, 20), (2, 30), (2, 40)]
    # User 1 has rated movie 20 low before, user 2 the movies 10 and 30.
    seen = seen_pairs([(1, 10), (2, 40)], others=[(1, 20), (2, 10), (2, 30)])
    validator = train_retrieval.Validator(
        user_movie_pairs(pairs),
        user_histories({1: [10], 2: [40]}),
        seen,
        user_movie_pairs([(1, 20), (1, 30), (2, 10), (2, 20)]),
    )
    ranks = ranks_by_target(validator, two_users)
    # Movie 20 scores more than all unseen movies of user 1, movie 10 less than those of user 2.
    # User 2 scores the movies 1, 5, 7 and 6, and has not seen the second only.
    assert ranks == {(1, 20): 0, (1, 30): 2, (2, 10): 0, (2, 20): 1}
    assert validator(two_users)["recall@10"] == pytest.approx(0.5)


def test_the_validator_folds_in_the_users_that_the_model_was_not_trained_on(
    two_users: dict,
) -> None:
    pairs = [(1, 10), (1, 20), (2, 30), (2, 40)]
    targets = user_movie_pairs([(3, 20), (8, 30)])
    # Query 8 is one of user 2. User 3 is new, and likes what user 1 likes.
    histories = user_histories({3: [10], 8: [40]})
    histories = histories.with_columns(source_user_id=pl.Series([3, 2], dtype=pl.Int32))
    seen = seen_pairs([(3, 10), (8, 40)])
    validator = train_retrieval.Validator(user_movie_pairs(pairs), histories, seen, targets)
    assert "fold_in" not in two_users
    metrics = validator(two_users)
    assert metrics["ndcg@10"] == pytest.approx(1)
    with_map = with_fold_in(two_users, user_movie_pairs(pairs))
    assert ranks_by_target(validator, with_map) == {(3, 20): 1, (8, 30): 1}


@pytest.mark.parametrize("name", ["id", "history"])
def test_the_stage_writes_models_that_have_a_vector_of_every_user(
    name: str, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"dimension": 8, "batch_size": 64, "epochs": 1}
    shutil.copy(tiny_run / "params.yaml", tmp_path)
    edit_params(tmp_path, **{f"retrievers__{name}__{key}": v for key, v in changes.items()})
    monkeypatch.chdir(tmp_path)
    data, models = tiny_run / "data", tmp_path / "models"
    folders = data / "histories", data / "seen", data / "targets" / "inner_val.parquet"
    genres = data / "movies" / "genres.parquet"
    train_retrieval.main(name, *folders, genres, models, tmp_path / "curves")
    assert (tmp_path / "curves" / f"{name}.csv").is_file()
    for snapshot in SNAPSHOTS:
        arrays = read_arrays(models / name / f"{snapshot}.npz")
        assert ("fold_in" in arrays) == (name == "id")
        positives = read_positives(data / "histories", snapshot)
        if name == "id":
            assert np.array_equal(arrays["fold_in"], with_fold_in(arrays, positives)["fold_in"])
        movies = positives["movie_id"].unique().sort().head(3).to_list()
        histories = user_histories({999: movies})
        users, vectors = user_embeddings(arrays, histories, seen_of(histories))
        assert users.tolist() == [999]
        assert np.abs(vectors[:, :-1]).max() > 0


@pytest.mark.long
def test_a_training_in_bfloat16_says_so_and_repeats_itself(tiny_run: Path, workspace: Path) -> None:
    changes = {"dimension": 8, "batch_size": 64, "epochs": 1, "precision": "bfloat16"}
    edit_params(workspace, **{f"retrievers__history__{key}": v for key, v in changes.items()})
    data = tiny_run / "data"
    command = [sys.executable, "-m", "stages.train_retrieval", "history"]
    for option, path in (
        ("histories", data / "histories"),
        ("seen", data / "seen"),
        ("targets", data / "targets" / "inner_val.parquet"),
        ("genres", data / "movies" / "genres.parquet"),
        ("curves", workspace / "curves"),
    ):
        command += [f"--{option}", str(path)]
    for models in ("first", "second"):
        result = run([*command, "--models", models], workspace)
        assert ", in bfloat16: other processors compute other weights" in result.stderr
    assert file_contents(workspace / "first") == file_contents(workspace / "second")


def test_the_tower_of_a_block_is_a_module_that_the_retriever_imports(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.train_retrieval import load_retriever

    module, params = load_retriever("history")
    assert (module.__name__, params.tower) == ("stages.retrieval.history", "transformer")
    yaml = YAML()
    values = yaml.load(ROOT / "params.yaml")
    values["retrievers"]["history"]["tower"] = "attention"
    yaml.dump(values, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    message = r"^retrievers\.history\.tower: history\.py does not import 'attention'; name what"
    with pytest.raises(StageError, match=message):
        load_retriever("history")
