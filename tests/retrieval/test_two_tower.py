import numpy as np
import pytest

from stages.retrieval import two_tower
from stages.retrieval.two_tower import inclusion_probabilities, systematic_sample
from tests.retrieval.small_models import build_small, small_retriever, train_small


@pytest.mark.parametrize("name", ["id", "genre", "hard_negative"])
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


def test_movies_are_sampled_with_their_inclusion_probabilities() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.pareto(1, 300) + 0.1
    probabilities = inclusion_probabilities(sizes, 50)
    assert probabilities.sum() == pytest.approx(50)
    assert (probabilities == 1).any()
    ratios = (probabilities / sizes)[probabilities < 1]
    assert np.allclose(ratios, ratios[0])
    samples = np.array([systematic_sample(probabilities, 50, rng) for _ in range(4000)])
    assert all(len(set(row.tolist())) == 50 for row in samples)
    frequencies = np.bincount(samples.ravel(), minlength=300) / 4000
    assert np.abs(frequencies - probabilities).max() < 0.04


def test_inclusion_probabilities_are_those_of_the_docstring() -> None:
    assert inclusion_probabilities(np.array([6, 1, 1]), 2).tolist() == [1, 0.5, 0.5]


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
