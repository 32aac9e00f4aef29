import numpy as np
import polars as pl
import pytest

from stages.models.rating_matrices import rating_matrices
from stages.models.towers import encode, without_genres
from stages.models.user_vectors import fold_in, user_embeddings, with_fold_in
from tests.small_tables import seen_of, user_histories, user_movie_pairs

DIMENSION, MOVIES = 4, np.arange(10, 30)
USERS = np.arange(2, 82, 2)
Likes = dict[int, list[int]]
NOT_USED = pl.DataFrame()  # vectors of a two-tower model do not depend on SEEN


@pytest.fixture
def likes() -> Likes:
    """The positives of `USERS`, whom the model is trained on."""
    rng = np.random.default_rng(0)
    return {int(user): rng.choice(MOVIES, 3 + n % 4, replace=False) for n, user in enumerate(USERS)}


@pytest.fixture
def two_tower(likes: Likes) -> dict[str, np.ndarray]:
    """A model whose users are twice the mean of their movies, with its map for new users."""
    rng = np.random.default_rng(1)
    movies = rng.normal(size=(len(MOVIES), DIMENSION)).astype(np.float32)
    users = np.array([2 * movies[row - MOVIES[0]].mean(axis=0) for row in likes.values()])
    model = {"user_ids": USERS, "user": users, "movie_ids": MOVIES, "movie": movies}
    model["recency"] = np.array(1.0)
    return with_fold_in(model, positives_of(likes))


def positives_of(likes: Likes) -> pl.DataFrame:
    return user_movie_pairs([(user, int(m)) for user, movies in likes.items() for m in movies])


def test_a_sequence_tower_has_a_vector_of_every_user(
    arrays: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.models.user_vectors.ENCODE_BATCH_USERS", 2)
    histories = user_histories({4: [3, 1], 6: [2], 9: list(range(1, 13))})
    seen = seen_of(histories).with_columns(positive=pl.col("movie_id") != 2)
    users, vectors = user_embeddings(arrays, histories, seen)
    assert users.tolist() == [4, 6, 9]
    ids, gaps, is_low = rating_matrices(seen, users, arrays)
    assert is_low.sum() == 1  # that of user 9 is too old
    heads, blocks = int(arrays["num_heads"]), int(arrays["num_blocks"])
    states = encode(arrays, ids, gaps, is_low, heads, blocks)[:, -1]
    assert np.allclose(vectors[:, :-1], states, atol=1e-5)
    assert (vectors[:, -1] == 1).all()


def test_a_vector_is_the_mean_of_a_long_term_and_a_recent_part() -> None:
    arrays = {
        "user_ids": np.array([2, 5]),
        "user": np.array([[1, 2], [3, 4]], np.float32),
        "movie_ids": np.array([10, 20, 30]),
        "movie": np.array([[1, 0], [0, 4], [3, 2]], np.float32),
        "fold_in": np.array([[2, 1], [0, 5]], np.float32),
        "recency": np.array(1.0),
    }
    # Movie 99 has no vector, so it does not count in a mean.
    histories = user_histories({1: [10, 99, 20], 5: [10], 7: [30]})
    users, vectors = user_embeddings(arrays, histories, NOT_USED)
    assert users.tolist() == [1, 5, 7]
    # The mean of user 1 is [0.5, 2], and [0.25, 3] with the weights 1/3 and 1. Times the map:
    # 2x and x + 5y. User 5 has a trained vector, and [2, 1] as the recent part.
    assert vectors.tolist() == [[0.75, 12.875, 1], [2.5, 2.5, 1], [6, 13, 1]]
    assert vectors.dtype == np.float32
    assert arrays["user"].tolist() == [[1, 2], [3, 4]]


def test_the_user_of_a_query_is_its_source_user(two_tower: dict) -> None:
    # Query 100 is one of the trained user 4; query 6 is one of the new user 3.
    histories = user_histories({6: [10, 11], 100: [12]})
    histories = histories.with_columns(source_user_id=pl.Series([3, 4], dtype=pl.Int32))
    users, vectors = user_embeddings(two_tower, histories, NOT_USED)
    assert users.tolist() == [6, 100]
    recent = fold_in(two_tower, histories, 1)
    new_user = (fold_in(two_tower, histories[:1], 0)[0] + recent[0]) / 2
    assert np.array_equal(vectors[0, :-1], new_user.astype(np.float32))
    trained_user = (two_tower["user"][1] + recent[1]) / 2
    assert np.array_equal(vectors[1, :-1], trained_user.astype(np.float32))
    assert not np.allclose(vectors[0, :-1], (two_tower["user"][2] + recent[0]) / 2, atol=0.1)


def test_the_vector_of_a_user_does_not_depend_on_the_other_users(
    two_tower: dict, likes: Likes
) -> None:
    histories = user_histories({user: list(movies) for user, movies in likes.items()})
    _, together = user_embeddings(two_tower, histories, NOT_USED)
    alone = [user_embeddings(two_tower, row, NOT_USED)[1][0] for row in histories.iter_slices(1)]
    assert np.array_equal(together, np.array(alone))


def test_the_map_recovers_users_that_are_twice_the_mean_of_their_movies(two_tower: dict) -> None:
    assert two_tower["fold_in"].dtype == np.float32
    assert np.allclose(two_tower["fold_in"], 2 * np.eye(DIMENSION), atol=0.01)
    new = {1: [10, 15, 29], 3: [12], 201: [11, 13, 17, 19, 23]}
    _, vectors = user_embeddings(
        two_tower | {"recency": np.array(0)}, user_histories(new), NOT_USED
    )
    means = [two_tower["movie"][np.array(m) - MOVIES[0]].mean(axis=0) for m in new.values()]
    assert np.allclose(vectors[:, :-1], 2 * np.array(means), atol=0.01)
    assert np.abs(means).max(axis=1).min() > 0.3


def test_a_user_whose_movies_have_no_vector_gets_zeros(two_tower: dict) -> None:
    _, vectors = user_embeddings(two_tower, user_histories({1: [98, 99], 3: [10]}), NOT_USED)
    assert vectors[0].tolist() == [0] * DIMENSION + [1]
    assert np.abs(vectors[1, :-1]).max() > 0.1


def test_a_map_is_fitted_to_the_positives_of_the_training_alone(
    two_tower: dict, likes: Likes
) -> None:
    others = user_movie_pairs([(1, 10), (3, 11), (2, 99)])  # new users, and a movie without vector
    again = with_fold_in(two_tower, pl.concat([others, positives_of(likes)]))
    assert np.array_equal(again["fold_in"], two_tower["fold_in"])


def test_genres_are_a_part_of_the_vectors_that_are_folded_in(two_tower: dict, likes: Likes) -> None:
    rng = np.random.default_rng(3)
    genres = {
        "movie_genres": rng.random((len(MOVIES), 2), dtype=np.float32),
        "genre": rng.normal(size=(2, DIMENSION)).astype(np.float32),
    }
    with_genres = with_fold_in(two_tower | genres, positives_of(likes))
    # Serving has the genres added to the movies' vectors.
    plain = without_genres(with_genres)
    expected = with_fold_in(plain, positives_of(likes))["fold_in"]
    assert np.allclose(with_genres["fold_in"], expected, atol=1e-5)
    assert not np.allclose(with_genres["fold_in"], two_tower["fold_in"], atol=0.1)
    histories = user_histories({1: [10, 15, 29]})
    vectors = fold_in(with_genres, histories, 1)
    assert np.allclose(vectors, fold_in(plain, histories, 1), atol=1e-5)


def test_a_sequence_tower_needs_no_map(arrays: dict) -> None:
    assert with_fold_in(arrays, user_movie_pairs([(1, 1)])) is arrays


def test_a_model_whose_vectors_are_zero_folds_users_to_zero() -> None:
    zeros = {"movie": np.zeros((2, 3), np.float32), "user": np.zeros((1, 3), np.float32)}
    model = zeros | {"movie_ids": np.array([5, 6]), "user_ids": np.array([1])}
    model = with_fold_in(model, user_movie_pairs([(1, 5)]))
    assert fold_in(model, user_histories({9: [5]}), 1).tolist() == [[0, 0, 0]]
