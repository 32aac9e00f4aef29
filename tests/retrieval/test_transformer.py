import numpy as np
import pytest

from stages.models.towers import encode, movie_vectors
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
    labels, bias = rng.integers(0, 40, 30, np.int32), rng.normal(0, 0.5, 40).astype(np.float32)
    logits = states @ vectors.T + bias
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(30), labels]
    model.params = model.params.model_copy(update={"num_sampled": 40})
    losses = model.softmax_losses(states, labels, vectors, bias).numpy()
    assert np.allclose(losses, expected, atol=1e-5)
    model.params = model.params.model_copy(update={"num_sampled": 20})
    samples = [model.softmax_losses(states, labels, vectors, bias).numpy() for _ in range(200)]
    assert np.abs(np.mean(samples, axis=0) - expected).max() < 0.2


def test_a_sampled_movie_stands_for_several_and_the_label_is_no_negative(
    tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model, _ = build_small("history", tables, num_sampled=4)
    sample, labels = [3, 7, 7, 0], [3, 5, 7]
    monkeypatch.setattr(model.ops, "uniform", lambda *arguments: np.array(sample, np.int32))
    rng = np.random.default_rng(0)
    states, vectors = (rng.normal(size=(n, 4)).astype(np.float32) for n in (3, 10))
    bias = rng.normal(size=10).astype(np.float32)
    scores = np.exp(states @ vectors.T + bias)
    expected = [
        np.log1p(10 / 4 * sum(row[n] for n in sample if n != label) / row[label])
        for row, label in zip(scores, labels)
    ]
    losses = model.softmax_losses(states, np.array(labels, np.int32), vectors, bias)
    assert losses.numpy() == pytest.approx(expected, rel=1e-5)


def padded_batch() -> tuple[np.ndarray, np.ndarray]:
    """Inputs of two users: the first has three movies, the second nine, of which eight fit."""
    rows = np.array([[-1] * 6 + [3, 5, 7], range(10, 19)], dtype=np.int32)
    gaps = np.where(rows >= 0, 2, 0).astype(np.int32)
    return np.stack([rows, gaps], axis=1)[:, :, :-1], rows[:, 1:]


def test_padding_adds_nothing_to_the_loss(tables: dict) -> None:
    changes = {"dimension": 8, "dropout": 0.0, "item_mask_prob": 0.0}
    _, model, _ = build_small("history", tables, **changes)
    inputs, next_movies = padded_batch()
    arrays, params = model.arrays() | model.constants, model.params
    states = encode(arrays, *inputs.transpose(1, 0, 2), params.num_heads, params.num_blocks)
    logits = states @ movie_vectors(arrays).T + arrays["bias"]
    losses = [
        np.log(np.exp(logits[user, position]).sum()) - logits[user, position, movie]
        for user, first in ((0, 6), (1, 0))
        for position, movie in enumerate(next_movies[user])
        if position >= first
    ]
    assert len(losses) == 2 + 8
    assert float(model.compute_loss((inputs, next_movies))) == pytest.approx(np.mean(losses))


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_share_of_the_movies_is_masked(
    share: float, tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model, _ = build_small("history", tables, item_mask_prob=share)
    inputs, next_movies = (np.repeat(array, 50, axis=0) for array in padded_batch())
    all_ids = []

    def spy(w: dict, ids: object, *arguments: object) -> object:
        all_ids.append(ids.numpy())
        return encode(w, ids, *arguments)

    monkeypatch.setattr(transformer.towers, "encode", spy)
    model.compute_loss((inputs, next_movies))
    (ids,), movies = all_ids, inputs[:, 0]
    assert ((ids == movies) | (ids == -1)).all()
    assert (ids == -1)[movies >= 0].mean() == pytest.approx(share, abs=0.08)
