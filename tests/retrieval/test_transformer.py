import math

import numpy as np
import pytest

from stages.models.towers import encode, movie_vectors
from stages.retrieval import transformer, windows
from stages.train_retrieval import scale_to_data
from tests.retrieval.small_models import build_small, small_retriever, train_small


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


def test_an_epoch_of_windows_is_bounded(tables: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "MAX_STEPS", 3)
    _, _, batches = build_small("history", tables, batch_size=2)
    (first,), *others = batches()
    assert len(others) < 3
    assert {inputs.shape for (inputs,) in others} <= {first.shape}
    assert first.shape[:2] == (2, 7)
    pairs = sum((inputs[:, 3] >= 0).sum() for (inputs,) in [(first,), *others])
    assert 6 <= pairs <= 6 * first.shape[2]


def test_a_tower_knows_low_ratings_only_if_it_learns_from_some(tables: dict) -> None:
    none = tables | {"low_ratings": tables["low_ratings"].clear()}
    for inputs, low_weight, learns in (
        (tables, 0.5, True),
        (tables, 0.0, False),
        (none, 0.5, False),
    ):
        _, model, batches = build_small("history", inputs, low_weight=low_weight)
        assert ("low" in model.w) == learns
        batch = np.concatenate([rows for (rows,) in batches()])
        assert batch[:, 2].any() == batch[:, 4].any() == learns


def test_the_windows_hold_as_many_ratings_as_users_have_on_average(tables: dict) -> None:
    _, params = small_retriever("history")
    positives, low_ratings = tables["positives"], tables["low_ratings"]
    users = positives["user_id"].n_unique()
    lengths = {}
    for weight, count in ((0.5, positives.height + low_ratings.height), (0.0, positives.height)):
        weighted = params.model_copy(update={"low_weight": weight})
        lengths[weight] = math.ceil(count / users)
        assert scale_to_data(weighted, positives, low_ratings, 99) == (weighted, lengths[weight])
        assert scale_to_data(weighted, positives, low_ratings, 3) == (weighted, 3)
    assert lengths[0.5] > lengths[0.0] > 3


def test_the_loss_of_a_sample_is_near_that_of_all_movies(tables: dict) -> None:
    _, model, _ = build_small("history", tables, num_sampled=20)
    rng = np.random.default_rng(0)
    states, vectors = (rng.normal(0, 0.5, (n, 4)).astype(np.float32) for n in (30, 40))
    labels = rng.integers(0, 40, (30, 1), np.int32)
    bias = rng.normal(0, 0.5, 40).astype(np.float32)
    logits = states @ vectors.T + bias
    log_sums = np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = log_sums - np.take_along_axis(logits, labels, axis=1)
    model.params = model.params.model_copy(update={"num_sampled": 40})
    losses = model.softmax_losses(states, labels, vectors, bias).numpy()
    assert np.allclose(losses, expected, atol=1e-5)
    model.params = model.params.model_copy(update={"num_sampled": 20})
    samples = [model.softmax_losses(states, labels, vectors, bias).numpy() for _ in range(200)]
    assert np.abs(np.mean(samples, axis=0) - expected).max() < 0.2


def test_a_sampled_movie_stands_for_several_and_no_next_movie_is_a_negative(
    tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model, _ = build_small("history", tables, num_sampled=4)
    sample, labels = [3, 7, 7, 0], [[3, 7], [5, 6], [7, -1]]
    monkeypatch.setattr(model.ops, "integers", lambda *arguments: np.array(sample, np.int32))
    rng = np.random.default_rng(0)
    states, vectors = (rng.normal(size=(n, 4)).astype(np.float32) for n in (3, 10))
    bias = rng.normal(size=10).astype(np.float32)
    scores = np.exp(states @ vectors.T + bias)
    losses = model.softmax_losses(states, np.array(labels, np.int32), vectors, bias).numpy()
    assert losses.shape == (3, 2)
    for row, row_labels, row_losses in zip(scores, labels, losses):
        negatives = 10 / 4 * sum(row[n] for n in sample if n not in row_labels)
        for label, loss in zip(row_labels, row_losses):
            if label >= 0:
                assert loss == pytest.approx(np.log1p(negatives / row[label]), rel=1e-5)


def test_the_next_movies_end_with_their_window() -> None:
    next_movies = np.array([[5, 7, 9, 3], [1, 2, 3, -1]], dtype=np.int32)
    window = np.array([[0, 0, 2, 2], [0, 0, 0, -1]], dtype=np.int32)
    labels = transformer.next_values(next_movies, window, 2).numpy()
    assert labels[:4].tolist() == [[5, 7], [7, -1], [9, 3], [3, -1]]
    assert labels[4:].tolist() == [[1, 2], [2, 3], [3, -1], [-1, -1]]
    more = transformer.next_values(next_movies, window, 6).numpy()
    assert (more[:, :2] == labels).all()
    assert more[4].tolist() == [1, 2, 3, -1, -1, -1]
    assert (more[:, 4:] == -1).all()


def packed_batch() -> np.ndarray:
    """A batch of two rows: windows of two and of four movies share the first, one fills the other.

    The last two positions of the first row are empty.
    """
    batch = np.zeros((2, 7, 8), dtype=np.int32)
    batch[0, [0, 3, 6]] = -1
    batch[0, :, :2] = [3, 5], [0, 2], [1, 0], [5, 7], [0, 0], [6, 7], [0] * 2
    batch[0, :3, 2:6] = [5, 9, 3, 8], [0, 2, 1, 2], [0, 1, 0, 0]
    batch[0, 3:, 2:6] = [9, 3, 8, 4], [1, 0, 0, 1], [4, 5, 6, 7], [2] * 4
    batch[1, :3] = range(10, 18), [0] + [2] * 7, [0, 1] * 4
    batch[1, 3:] = range(11, 19), [1, 0] * 4, range(8), [0] * 8
    return batch


@pytest.mark.parametrize("targets", [1, 3, 20])
def test_the_loss_of_packed_windows_is_that_of_single_ones(targets: int, tables: dict) -> None:
    changes = {"dimension": 8, "dropout": 0.0, "item_mask_prob": 0.0, "targets": targets}
    _, model, _ = build_small("history", tables, low_weight=0.3, **changes)
    rng = np.random.default_rng(0)
    for name in ("block0_distance", "block1_distance", "low"):  # near zero before the training
        model.w[name].assign(rng.normal(size=model.w[name].shape))
    arrays, params = model.arrays() | model.constants, model.params
    losses, weights = [], []
    for row, window, length in ((0, 0, 2), (0, 2, 4), (1, 0, 8)):
        cells = packed_batch()[row, :5, window : window + length]
        cells = np.pad(cells, [(0, 0), (8 - length, 0)], constant_values=-1)[:, None]
        movies, gaps, is_low, next_movies, next_is_low = cells
        inputs = movies, np.maximum(gaps, 0), is_low == 1
        states = encode(arrays, *inputs, params.num_heads, params.num_blocks)
        logits = (states @ movie_vectors(arrays).T + arrays["bias"])[0]
        for position in range(8 - length, 8):
            log_sum = np.log(np.exp(logits[position]).sum())
            labels = next_movies[0, position : position + targets]
            # The n-th next movie counts half as much as the one before it.
            low = next_is_low[0, position : position + targets]
            weights += list(0.5 ** np.arange(len(labels)) * np.where(low == 1, 0.3, 1))
            losses += list(log_sum - logits[position, labels])
    loss = float(model.compute_loss((packed_batch(),)))
    assert loss == pytest.approx(np.average(losses, weights=weights), rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_share_of_the_movies_is_masked(
    share: float, tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model, _ = build_small("history", tables, item_mask_prob=share)
    inputs = np.repeat(packed_batch(), 50, axis=0)
    all_ids = []

    def spy(w: dict, ids: object, *arguments: object, **packing: object) -> object:
        all_ids.append(ids.numpy())
        return encode(w, ids, *arguments, **packing)

    monkeypatch.setattr(transformer.towers, "encode", spy)
    model.compute_loss((inputs,))
    (ids,), movies = all_ids, inputs[:, 0]
    assert ((ids == movies) | (ids == -1)).all()
    assert (ids == -1)[movies >= 0].mean() == pytest.approx(share, abs=0.08)
