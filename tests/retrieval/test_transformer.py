import numpy as np
import pytest

from stages.retrieval import transformer
from stages.retrieval.data import TrainingData
from stages.retrieval.transformer import windows
from tests.retrieval.small_models import build_small, small_retriever, train_small


def window_data(counts: list[int]) -> TrainingData:
    """The data of users with these numbers of positives, each of a different movie."""
    users = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    movies = np.arange(len(users), dtype=np.int32)
    empty = np.empty(0)
    return TrainingData(
        user_ids=np.arange(len(counts)),
        movie_ids=movies,
        user_index=users,
        movie_index=movies,
        timestamps=empty,
        low_user_index=empty,
        low_movie_index=empty,
        max_length=5,
        catalogue_ids=empty,
        catalogue_genres=empty,
    )


def test_the_tower_grows_with_the_number_of_positives(
    tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, params = small_retriever("history")
    assert params.scale_to(100_000, 10) == params
    expected = params.model_copy(update={"dropout": params.dropout / 2})
    assert params.scale_to(400_000, 10) == expected
    wide = params.scale_to(900_000, 10)
    assert (wide.dimension, wide.learning_rate) == (
        2 * params.dimension,
        0.75 * params.learning_rate,
    )
    assert wide.dropout == pytest.approx(params.dropout / 3)
    monkeypatch.setattr(transformer, "WIDE_POSITIVES", 10)
    _, models = train_small("history", tables, epochs=1, finetune_epochs_ratio=1.0)
    assert {arrays["movie"].shape[1] for arrays in models.values()} == {32}


def test_windows_cover_every_positive_as_a_target() -> None:
    counts = [1, 2, 5, 23]
    data = window_data(counts)
    for seed in range(5):
        rows = windows(data, 5, np.random.default_rng(seed))
        users = np.where(rows >= 0, data.user_index[np.maximum(rows, 0)], -1)
        pairs = (rows[:, :-1] >= 0) & (rows[:, 1:] >= 0)
        assert (users[:, :-1] == users[:, 1:])[pairs].all()
        assert (np.diff(rows, axis=1)[pairs] == 1).all()
        first = np.cumsum([0, *counts[:-1]])
        targets = set(data.movie_index.tolist()) - set(first.tolist())
        assert set(rows[:, 1:][pairs].tolist()) == targets


def test_windows_of_two_users_are_those_of_the_docstring() -> None:
    class OffsetOne:
        def integers(self, low: int, high: int, size: int) -> np.ndarray:
            assert (low, high) == (1, 3)
            return np.ones(size, dtype=np.int64)

    rows = windows(window_data([2, 4]), 2, OffsetOne())
    assert rows.tolist() == [[-1, 0, 1], [3, 4, 5], [2, 3, 4]]


def test_an_epoch_of_windows_is_bounded(tables: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "MAX_STEPS", 3)
    _, _, batches = build_small("history", tables, batch_size=7)
    assert [len(inputs) for inputs, _ in batches()] == [7, 7, 7]


def test_the_loss_of_a_sample_is_near_that_of_all_movies(tables: dict) -> None:
    _, model, _ = build_small("history", tables, num_sampled=20)
    rng = np.random.default_rng(0)
    states, vectors = (rng.normal(0, 0.5, (n, 4)).astype(np.float32) for n in (30, 40))
    labels, bias = rng.integers(0, 40, 30), rng.normal(0, 0.5, 40).astype(np.float32)
    logits = states @ vectors.T + bias
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(30), labels]
    model.params = model.params.model_copy(update={"num_sampled": 40})
    losses = model.softmax_losses(states, labels, vectors, bias).numpy()
    assert np.allclose(losses, expected, atol=1e-5)
    model.params = model.params.model_copy(update={"num_sampled": 20})
    samples = [model.softmax_losses(states, labels, vectors, bias).numpy() for _ in range(200)]
    assert np.abs(np.mean(samples, axis=0) - expected).max() < 0.2
