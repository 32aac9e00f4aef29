import numpy as np

from stages.models.numpy_ops import NumpyOps
from stages.models.towers import distance_bias, encode, movie_embeddings, without_genres
from tests.tiny_chain import LENGTH


def sizes(arrays: dict[str, np.ndarray]) -> tuple[int, int]:
    return int(arrays["num_heads"]), int(arrays["num_blocks"])


def test_padding_and_the_future_do_not_change_a_users_vector(arrays: dict) -> None:
    heads, blocks = sizes(arrays)
    a = np.array([[-1, -1, -1, -1, -1, 3, 1, 2]])
    b = np.array([[-1, -1, -1, -1, -1, 3, 1, 7]])
    gaps = np.array([[0, 0, 0, 0, 0, 0, 4, 9]])
    no_low = np.zeros_like(gaps)
    states_a, states_b = (encode(arrays, ids, gaps, no_low, heads, blocks) for ids in (a, b))
    assert states_a.shape == (1, LENGTH, arrays["movie"].shape[1])
    assert np.allclose(states_a[:, :-1], states_b[:, :-1], atol=1e-6)
    assert not np.allclose(states_a[:, -1], states_b[:, -1], atol=1e-3)
    last = encode(arrays, a, gaps, no_low, heads, blocks, last_only=True)
    assert last.shape == (1, 1, arrays["movie"].shape[1])
    assert np.allclose(last[:, 0], states_a[:, -1], atol=1e-6)

    padding = np.ones((4, arrays["position"].shape[1]), np.float32)
    long_arrays = arrays | {"position": np.concatenate([padding, arrays["position"]])}
    for name in (f"block{b}_distance" for b in range(blocks)):
        long_arrays[name] = np.pad(arrays[name], [(0, 4), (0, 0)])
    long_ids = np.concatenate([np.full((1, 4), -1), a], axis=1)
    long_gaps = np.concatenate([np.zeros((1, 4), int), gaps], axis=1)
    long_states = encode(long_arrays, long_ids, long_gaps, 0 * long_gaps, heads, blocks)
    assert np.allclose(long_states[:, -1], states_a[:, -1], atol=1e-5)


def test_attention_depends_on_the_distance_between_movies(arrays: dict) -> None:
    bias = distance_bias(np.array([[3, 30], [1, 10], [2, 20]]), NumpyOps)
    lower = np.tril(np.ones((3, 3), bool))
    assert np.where(lower, bias, 0)[0].tolist() == [[3, 0, 0], [1, 3, 0], [2, 1, 3]]
    assert np.where(lower, bias, 0)[1].tolist() == [[30, 0, 0], [10, 30, 0], [20, 10, 30]]

    # A tower of one block whose heads attend to the movie two positions before, and to no other.
    heads, _ = sizes(arrays)
    table = np.full((LENGTH, heads), -1e6, np.float32)
    table[2] = 0
    tower = arrays | {"block0_distance": table}
    gaps = np.zeros((1, LENGTH), int)
    movies = np.array([[3, 1, 2, 7, 4, 5, 0, 6]])
    states = encode(tower, movies, gaps, gaps, heads, 1)[0]
    movies[0, 3] = 8
    changes = np.abs(encode(tower, movies, gaps, gaps, heads, 1)[0] - states).max(axis=1) > 1e-4
    assert changes.tolist() == [False] * 3 + [True, False, True] + [False] * 2
    last = encode(tower, movies, gaps, gaps, heads, 1, last_only=True)[0, 0]
    assert np.allclose(last, encode(tower, movies, gaps, gaps, heads, 1)[0, -1], atol=1e-6)


def test_a_low_rating_changes_the_vector_of_its_movie_and_those_after(arrays: dict) -> None:
    heads, blocks = sizes(arrays)
    movies = np.array([[-1, 3, 1, 2, 7, 4, 5, 0]])
    gaps = np.zeros_like(movies)
    is_low = np.arange(LENGTH)[None] == 4
    states = encode(arrays, movies, gaps, gaps > 0, heads, blocks)[0]
    others = encode(arrays, movies, gaps, is_low, heads, blocks)[0]
    assert (np.abs(others - states).max(axis=1) > 1e-4).tolist() == [False] * 4 + [True] * 4
    arrays = {name: value for name, value in arrays.items() if name != "low"}
    assert np.array_equal(*(encode(arrays, movies, gaps, x, heads, blocks) for x in (gaps, is_low)))


def test_a_tower_with_genres_has_a_vector_of_every_movie(arrays: dict) -> None:
    ids, vectors = movie_embeddings(arrays)
    assert ids.tolist() == list(range(1, 16))
    genre_part = arrays["catalogue_genres"] @ arrays["genre"]
    assert np.allclose(vectors[:12, :-1], arrays["movie"] + genre_part[:12])
    assert np.allclose(vectors[12:, :-1], genre_part[12:])
    assert np.array_equal(vectors[:12, -1], arrays["bias"])
    assert (vectors[12:, -1] == arrays["bias"].min()).all()
    ids, plain_vectors = movie_embeddings(without_genres(arrays))
    assert ids.tolist() == list(range(1, 13))
    assert np.allclose(plain_vectors, vectors[:12], atol=1e-6)
