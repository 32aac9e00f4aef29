import numpy as np
import polars as pl
import pytest

from stages.common.params import YAML
from stages.common.stage import StageError
from stages.data.snapshots import SNAPSHOTS, known_positives
from stages.evaluation.accuracy import MAIN_METRICS
from stages.models.towers import movie_embeddings, user_embeddings
from tests.conftest import ROOT
from tests.retrieval.small_models import RETRIEVERS, train_small
from tests.retrieval.tables import tables  # noqa: F401 (a fixture)


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
    _, users = user_embeddings(fit.arrays, tables["histories"])
    assert users.shape == (tables["histories"].height, 17)
    assert movies.shape == (len(movie_ids), 17)
    assert np.isfinite(users).all()
    assert np.isfinite(movies).all()

    changes = {"dropout": 0.2, "epochs": 1}
    _, models = train_small(name, tables, **changes)
    _, repeated = train_small(name, tables, **changes)
    for snapshot, arrays in models.items():
        assert all(np.array_equal(v, repeated[snapshot][k]) for k, v in arrays.items())


@pytest.mark.parametrize("name", RETRIEVERS)
def test_later_snapshots_know_more_and_start_from_the_weights_of_the_previous_one(
    name: str,
    tables: dict,  # noqa: F811
) -> None:
    changes = {"epochs": 2, "finetune_epochs_ratio": 0.5, "learning_rate": 1e-6}
    fit, models = train_small(name, tables, **changes)
    assert list(models) == list(SNAPSHOTS)
    assert models["inner_val"]["movie"] is fit.arrays["movie"]
    for snapshot in SNAPSHOTS:
        positives = known_positives(tables["positives"], snapshot)
        movie_ids = positives["movie_id"].unique().sort()
        assert models[snapshot]["movie_ids"].tolist() == movie_ids.to_list()
    # One epoch at so low a rate hardly changes the weights.
    rows = np.searchsorted(models["test"]["movie_ids"], models["inner_val"]["movie_ids"])
    assert np.allclose(models["test"]["movie"][rows], models["inner_val"]["movie"], atol=1e-3)


def test_the_validator_ranks_targets_among_unseen_movies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from stages import train_retrieval

    monkeypatch.setattr(train_retrieval, "SCORE_BATCH_TARGETS", 2)
    types = {"user_id": pl.Int32, "movie_id": pl.Int32}
    positives = pl.DataFrame([(1, 10), (1, 20), (2, 30), (2, 40)], schema=types, orient="row")
    histories = pl.DataFrame({"user_id": [1, 2]}, schema={"user_id": pl.Int32})
    # Movie 99 has no positive, so no list can have it.
    rows = [(2, 10), (1, 40), (2, 99), (1, 30)]
    validator = train_retrieval.Validator(
        positives, histories, pl.DataFrame(rows, schema=types, orient="row")
    )
    arrays = {
        "user_ids": np.array([1, 2]),
        "user": np.array([[1, 0], [0, 1]], np.float32),
        "movie_ids": np.array([10, 20, 30, 40]),
        "movie": np.array([[9, 1], [8, 5], [3, 7], [3, 6]], np.float32),
        "bias": np.zeros(4, np.float32),
    }
    _, movies = movie_embeddings(arrays)
    _, users = user_embeddings(arrays, histories)
    ranks = {
        (user, movie): int(rank)
        for (user, movie), rank in zip(
            validator.targets.rows(), validator.ranks(slice(None), users, movies), strict=True
        )
    }
    # User 1 has not seen 30 and 40, with equal scores: both count as ranked behind the other.
    # User 2 has not seen 10 and 20, which scores higher.
    assert ranks == {(1, 30): 2, (1, 40): 2, (2, 10): 2, (2, 99): 0}
    metrics = validator(arrays)
    assert list(metrics) == list(MAIN_METRICS)
    assert metrics["recall@10"] == pytest.approx((1 + 0.5) / 2)


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
