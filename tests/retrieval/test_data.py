import numpy as np
import polars as pl
import pytest

from stages.retrieval.data import pair_batches, training_data
from stages.retrieval.sampling import inclusion_probabilities, systematic_sample
from tests.retrieval.small_models import build_small
from tests.small_tables import low_rated_pairs

KEYS = {"user_id": pl.Int32, "movie_id": pl.Int32}


def test_users_and_movies_are_indexed_and_genres_are_means() -> None:
    rows = {"user_id": [4, 4, 9], "movie_id": [20, 10, 20], "timestamp": [1, 2, 3]}
    genres = pl.DataFrame(
        {"movie_id": [10, 20, 30], "genre_a": [1, 1, 0], "genre_b": [1, 0, 0]},
        schema_overrides={"genre_a": pl.UInt8, "genre_b": pl.UInt8},
    )
    # Movie 30 has no positive, so its low rating is left out.
    low = low_rated_pairs([(9, 10), (4, 30)])
    data = training_data(pl.DataFrame(rows).cast(KEYS), low, genres, 5)
    assert data.user_ids.tolist() == [4, 9]
    assert data.movie_ids.tolist() == [10, 20]
    assert data.user_index.tolist() == [0, 0, 1]
    assert data.movie_index.tolist() == [1, 0, 1]
    assert data.user_index.dtype == data.movie_index.dtype == np.int32
    assert data.low_user_index.tolist() == [1]
    assert data.low_movie_index.tolist() == [0]
    assert data.timestamps.tolist() == [1, 2, 3]
    assert data.max_length == 5
    assert data.catalogue_ids.tolist() == [10, 20, 30]
    assert data.catalogue_genres.tolist() == [[0.5, 0.5], [1, 0], [0, 0]]
    assert data.catalogue_genres.dtype == np.float32


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


@pytest.mark.parametrize("low_weight", [0.0, 0.25])
def test_pair_batches_have_every_positive_and_low_rating_with_its_weight(
    low_weight: float, tables: dict
) -> None:
    data, *_ = build_small("id", tables)
    pairs = [list(zip(data.user_index.tolist(), data.movie_index.tolist())), []]
    if low_weight:
        pairs[1] = list(zip(data.low_user_index.tolist(), data.low_movie_index.tolist()))
    expected = sorted([*((*p, 1.0) for p in pairs[0]), *((*p, low_weight) for p in pairs[1])])
    rows, movies = [], set()
    for batch, weights, negatives in pair_batches(
        data,
        low_weight=low_weight,
        batch_size=7,
        num_negatives=5,
        rng=np.random.default_rng(0),
    ):
        assert batch.shape == (7, 2)
        assert negatives.shape == (5,)
        rows += [(*pair, weight) for pair, weight in zip(batch.tolist(), weights.tolist())]
        movies.update(negatives.tolist())
    assert sorted(rows[: len(expected)]) == expected
    assert rows[len(expected) :] == rows[: len(rows) - len(expected)]  # they fill up the last batch
    assert movies == set(range(len(data.movie_ids)))
