import numpy as np
import pytest
import tensorflow as tf

from stages.retrieval import two_tower
from tests.retrieval.small_models import build_small, small_retriever, train_small

TWO_TOWERS = ["id", "genre", "hard_negative"]
IN_BATCH = {"loss": "in_batch_softmax", "in_batch_size": 32, "num_uniform_negatives": 16}


@pytest.mark.parametrize("name", TWO_TOWERS)
def test_a_sample_of_the_movies_teaches_as_well(name: str, tables: dict) -> None:
    fit, models = train_small(name, tables, epochs=8, num_sampled=20)
    full_fit, _ = train_small(name, tables, epochs=8)
    best = [max(row["ndcg@10"] for row in f.curve) for f in (fit, full_fit)]
    assert best[0] > 0.8 * best[1]
    _, repeated = train_small(name, tables, epochs=8, num_sampled=20)
    assert all(np.array_equal(v, repeated["test"][k]) for k, v in models["test"].items())


def test_a_positive_competes_with_movies_that_are_no_positives_only(tables: dict) -> None:
    _, model, _ = build_small("id", tables)
    scores = np.array([[2.0, 5.0, 3.0]], np.float32)
    loss = float(model.positive_loss(scores, np.array([[1.0, 1.0, 0.0]], np.float32)))
    # -log(e^2 / (e^2 + e^3)) - log(e^5 / (e^5 + e^3))
    assert loss == pytest.approx(np.log1p(np.exp(1.0)) + np.log1p(np.exp(-2.0)), rel=1e-5)


def test_a_sampled_movie_counts_with_its_weight(tables: dict) -> None:
    _, model, _ = build_small("id", tables)
    scores = np.array([[2.0, 1.0, 3.0]], np.float32)
    weights = np.array([1.0, 4.0, 2.0], np.float32)
    loss = float(model.positive_loss(scores, np.array([[1.0, 0, 0]], np.float32), np.log(weights)))
    negatives = 4 * np.exp(1.0) + 2 * np.exp(3.0)
    assert loss == pytest.approx(-np.log(np.exp(2.0) / (np.exp(2.0) + negatives)), rel=1e-5)


@pytest.mark.parametrize("num_sampled", [20, 1000])
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_the_loss_of_a_batch_is_that_of_a_plain_loop(
    num_sampled: int, l2: float, tables: dict
) -> None:
    _, model, batches = build_small(
        "id", tables, batch_size=9, num_sampled=num_sampled, l2=l2, dropout=0.0
    )
    users, positive_weights, *sample = next(batches())
    arrays, rng = model.arrays(), np.random.default_rng(3)
    model.w["bias"].assign(rng.normal(size=arrays["bias"].shape))
    movies, weights = sample or (np.arange(40), np.ones(40))
    vectors, bias = arrays["movie"][movies], model.w["bias"].numpy()[movies]
    total = 0.0
    for user, row in zip(arrays["user"][users], positive_weights):
        scores = vectors @ user + bias
        negatives = (weights * np.exp(scores))[row == 0].sum()
        for movie in np.flatnonzero(row):
            loss = -np.log(np.exp(scores[movie]) / (np.exp(scores[movie]) + negatives))
            penalty = 0.5 * l2 * ((user**2).sum() + (vectors[movie] ** 2).sum())
            total += row[movie] * (loss + penalty)
    expected = total / positive_weights.sum()
    assert float(model.compute_loss((users, positive_weights, *sample))) == pytest.approx(
        expected, rel=1e-5
    )


def test_batches_have_every_positive_of_their_users(tables: dict) -> None:
    data, _, batches = build_small("id", tables, batch_size=7, low_weight=0.0)
    user_set = set()
    for users, positive_weights in batches():
        assert positive_weights.shape == (7, len(data.movie_ids))
        for user, row in zip(users, positive_weights):
            assert set(np.flatnonzero(row)) == set(data.movie_index[data.user_index == user])
            user_set.add(int(user))
    assert user_set == set(range(len(data.user_ids)))


@pytest.mark.parametrize("num_sampled", [4096, 12])
def test_a_low_rating_is_a_positive_of_a_smaller_weight(num_sampled: int, tables: dict) -> None:
    options = {"batch_size": 60, "num_sampled": num_sampled}
    data, _, batches = build_small("id", tables, **options, low_weight=0.25)
    low = set(zip(data.low_user_index.tolist(), data.low_movie_index.tolist()))
    assert len(low) > 60
    ((users, positive_weights, *sample),) = batches()
    movies, weights = sample or (range(len(data.movie_ids)), np.ones(len(data.movie_ids)))
    shares = positive_weights / weights
    expected = [[0.25 if (u, m) in low else 0 for m in movies] for u in users.tolist()]
    assert np.array_equal(shares * (shares < 1), expected)
    assert (shares == 1).sum() > 20


def test_a_batch_of_sampled_movies_weighs_positives_so_that_their_mean_is_right(
    tables: dict,
) -> None:
    data, _, batches = build_small("id", tables, batch_size=60, num_sampled=12, low_weight=0.0)
    mean = np.zeros((60, len(data.movie_ids)))
    for _ in range(1500):
        ((users, positive_weights, sample, weights),) = batches()
        assert positive_weights.shape == (60, 12)
        assert set(np.unique(positive_weights[:, 3])) <= {0, weights[3]}
        mean[users[:, None], sample] += positive_weights / 1500
    expected = np.zeros_like(mean)
    expected[data.user_index, data.movie_index] = 1
    assert np.abs(mean - expected).max() < 0.35
    assert mean.sum() == pytest.approx(expected.sum(), rel=0.02)


def test_an_epoch_has_a_bounded_number_of_batches() -> None:
    _, params = small_retriever("id")
    assert params.scale_to(1, 64 * two_tower.MAX_STEPS) == params
    assert params.scale_to(1, 1000 * two_tower.MAX_STEPS).batch_size == 1000


def log_softmax_loss(scores: np.ndarray, label: int) -> float:
    """-log softmax of the score at `label`, among [n] scores."""
    return float(np.log(np.exp(scores - scores[label]).sum()))


@pytest.mark.parametrize("name", TWO_TOWERS)
def test_the_in_batch_softmax_trains_learns_and_repeats_itself(name: str, tables: dict) -> None:
    changes = {**IN_BATCH, "epochs": 8, "dropout": 0.1}
    fit, models = train_small(name, tables, **changes)
    default_fit, _ = train_small(name, tables, epochs=8)
    best, default_best = (max(row["ndcg@10"] for row in f.curve) for f in (fit, default_fit))
    assert best > 0.8 * default_best
    _, repeated = train_small(name, tables, **changes)
    assert all(np.array_equal(v, repeated["test"][k]) for k, v in models["test"].items())


@pytest.mark.parametrize(("name", "num_hard_negatives"), [("id", None), ("hard_negative", 3)])
def test_the_in_batch_loss_is_that_of_a_plain_loop(
    name: str, num_hard_negatives: int | None, tables: dict
) -> None:
    mining = {"num_hard_negatives": num_hard_negatives} if num_hard_negatives else {}
    l2, temperature = 0.3, 0.5
    changes = {**IN_BATCH, **mining, "l2": l2, "temperature": temperature, "dropout": 0.0}
    data, model, batches = build_small(name, tables, **changes, low_weight=0.25)
    model.w["bias"].assign(np.random.default_rng(3).normal(size=len(data.movie_ids)))
    pairs, weights, negatives = batch = next(batches())
    arrays = model.arrays()
    movies = np.append(pairs[:, 1], negatives)
    counts = np.bincount(np.append(data.movie_index, data.low_movie_index))
    shares = (32 * counts / counts.sum() + 16 / len(counts)) / 48
    total = 0.0
    for row, ((user, movie), weight) in enumerate(zip(pairs, weights)):
        vector = arrays["user"][user]
        scores = (arrays["movie"][movies] @ vector + arrays["bias"][movies]) / temperature
        scores = scores - np.log(shares[movies])
        rivals = np.sort(scores[movies != movie])[::-1][:num_hard_negatives]
        loss = log_softmax_loss(np.append(scores[row], rivals), label=0)
        penalty = 0.5 * l2 * ((vector**2).sum() + (arrays["movie"][movie] ** 2).sum())
        total += weight * (loss + penalty)
    assert float(model.compute_loss(batch)) == pytest.approx(total / weights.sum(), rel=1e-5)


def in_batch_loss(model, pairs: list[tuple[int, int]], negatives: list[int]) -> float:
    """The loss of positives [(user, movie)] against negatives."""
    weights = np.ones(len(pairs), np.float32)
    inputs = np.array(pairs, np.int32), weights, np.array(negatives, np.int32)
    return float(model.compute_loss(tuple(map(tf.constant, inputs))))


def test_the_movie_of_a_positive_is_not_its_own_negative(tables: dict) -> None:
    _, model, _ = build_small("id", tables, **IN_BATCH, l2=0.0, dropout=0.0)
    # Movie 1 alone competes, wherever movie 0 comes from: another positive, or the negatives.
    model.w["user"].assign(tf.zeros_like(model.w["user"]))
    model.movie_shares = tf.fill(model.movie_shares.shape, 0.1)
    expected = np.log(1 + 1)
    assert in_batch_loss(model, [(0, 0)], [1]) == pytest.approx(expected)
    assert in_batch_loss(model, [(0, 0)], [1, 0, 0]) == pytest.approx(expected)
    assert in_batch_loss(model, [(0, 0), (1, 0)], [1]) == pytest.approx(expected)


def test_a_frequent_candidate_counts_less(tables: dict) -> None:
    data, model, _ = build_small("id", tables, **IN_BATCH, l2=0.0, dropout=0.0, low_weight=0.0)
    model.w["user"].assign(tf.zeros_like(model.w["user"]))
    counts = np.bincount(data.movie_index)
    rare, frequent = int(counts.argmin()), int(counts.argmax())
    # Two positives, one uniform negative: 2 * (share of the positives) + 1 / (number of movies).
    expected = 2 * counts / counts.sum() + 1 / len(counts)
    ratio = expected[rare] / expected[frequent]
    loss = in_batch_loss(model, [(0, rare), (1, rare)], [frequent])
    assert ratio < 0.6
    assert loss == pytest.approx(np.log(1 + ratio), rel=1e-5)
