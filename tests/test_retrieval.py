import dataclasses
import importlib

import numpy as np
import polars as pl
import pytest

from stages.common.params import load_params
from stages.common.tables import VALIDATION
from stages.embeddings import embedding_table
from stages.genre_features import genre_columns
from stages.histories import last_histories, train_histories
from stages.time_split import leave_one_out, order
from stages.towers import encode, history_matrices, serve_movies, serve_users
from tests.conftest import ROOT, tiny_tables

VARIANTS = ["id", "genre", "hard_negative", "history"]
LENGTH = 8


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    """Tiny inputs of `stages.train_retrieval.train`."""
    ratings, movies = tiny_tables()
    liked = ratings.filter(pl.col("rating") >= 4).rename(
        {"userId": "user_id", "movieId": "movie_id"}
    )
    split, val, _ = leave_one_out(order(liked.with_row_index("row"), "file", 0), 3, 1)
    catalogue = movies.select(
        pl.col("movieId").cast(pl.Int32).alias("movie_id"),
        genres=pl.col("genres").str.split("|").list.filter(pl.element() != "(no genres listed)"),
    )
    cold = pl.DataFrame({"movie_id": [99], "genres": [["Drama"]]}).cast({"movie_id": pl.Int32})
    val = val.select(VALIDATION.names())
    return {
        "likings": train_histories(split, val),
        "histories": last_histories(split.filter(~pl.col("early")), LENGTH),
        "genres": genre_columns(pl.concat([catalogue, cold])),
    }


def trained(name: str, tables: dict, monkeypatch: pytest.MonkeyPatch, **changes: object):
    from stages.train_retrieval import train

    monkeypatch.chdir(ROOT)
    variant = importlib.import_module(f"stages.retrieval.{name}")
    params = load_params(variant.Params, f"retrievers.{name}")
    small = {"dimension": 16, "batch_size": 32, "epochs": 4, "warm_start": 0.0, "dropout": 0.0}
    params = dataclasses.replace(params, **{**small, "learning_rate": 0.01, **changes})
    return train(variant, params, tables, LENGTH, seed=1)


def test_the_sequence_tower_grows_with_the_likings(
    tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.retrieval import history

    params = load_params(history.Params, "retrievers.history")
    assert params.sized(100_000, 10) == params
    assert params.sized(400_000, 10) == dataclasses.replace(params, dropout=params.dropout / 2)
    more = params.sized(900_000, 10)
    assert (more.dimension, more.learning_rate) == (
        2 * params.dimension,
        0.75 * params.learning_rate,
    )
    assert more.dropout == pytest.approx(params.dropout / 3)
    monkeypatch.setattr(history, "WIDE_LIKINGS", 10)
    _, arrays = trained("history", tables, monkeypatch, epochs=1, warm_start=1.0)
    assert {made["movie"].shape[1] for made in arrays.values()} == {32}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_retriever_learns_repeats_itself_and_gives_vectors(
    name: str, tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, _ = trained(name, tables, monkeypatch)
    losses = [row["loss"] for row in fit.curve]
    assert losses[-1] < losses[0]
    movie_ids, movies = serve_movies(fit.arrays)
    _, users = serve_users(fit.arrays, tables["histories"])
    assert users.shape == (tables["histories"].height, 17)
    assert movies.shape == (len(movie_ids), 17)
    assert np.isfinite(users).all()
    assert np.isfinite(movies).all()
    assert embedding_table("movie_id", movie_ids, movies).schema["embedding"].shape == (17,)

    repeats = {"dropout": 0.2, "epochs": 1}
    _, first = trained(name, tables, monkeypatch, **repeats)
    _, again = trained(name, tables, monkeypatch, **repeats)
    for fold, arrays in first.items():
        assert all(np.array_equal(v, again[fold][k]) for k, v in arrays.items())


@pytest.mark.parametrize("name", ["id", "genre", "hard_negative"])
def test_a_sample_of_the_movies_teaches_as_well(
    name: str, tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, made = trained(name, tables, monkeypatch, epochs=8, movies_at_once=20)
    whole, _ = trained(name, tables, monkeypatch, epochs=8)
    best = [max(row["ndcg@10"] for row in f.curve) for f in (fit, whole)]
    assert best[0] > 0.8 * best[1]
    _, again = trained(name, tables, monkeypatch, epochs=8, movies_at_once=20)
    assert all(np.array_equal(v, again["test"][k]) for k, v in made["test"].items())


@pytest.mark.parametrize("name", VARIANTS)
def test_later_folds_know_more_and_start_from_what_was_learned(
    name: str, tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, made = trained(name, tables, monkeypatch, epochs=2, warm_start=0.5, learning_rate=1e-6)
    assert made["early"]["movie"] is fit.arrays["movie"]
    for number, fold in enumerate(["early", "val", "test"]):
        known = tables["likings"].filter(pl.col("fold") <= number)["movie_id"].unique().sort()
        assert made[fold]["movie_ids"].tolist() == known.to_list()
    # Hardly moved by one epoch at so low a rate.
    place = np.searchsorted(made["test"]["movie_ids"], made["early"]["movie_ids"])
    assert np.allclose(made["test"]["movie"][place], made["early"]["movie"], atol=1e-3)


def test_early_stopping_keeps_the_best_epoch(tables: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, _ = trained("id", tables, monkeypatch, epochs=40, patience=2, learning_rate=0.05)
    scores = [row["ndcg@10"] for row in fit.curve]
    assert fit.epoch == int(np.argmax(scores)) + 1
    assert len(scores) == min(40, fit.epoch + 2)


def test_genres_place_a_movie_that_nobody_has_liked(
    tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, _ = trained("genre", tables, monkeypatch, epochs=8, movie_dropout=0.5)
    ids, vectors = serve_movies(fit.arrays)
    assert 99 in ids
    assert 99 not in fit.arrays["movie_ids"]
    drama = tables["genres"].filter(pl.col("genre_Drama") == 1)["movie_id"].to_list()
    unit = vectors[:, :-1] / np.linalg.norm(vectors[:, :-1], axis=1, keepdims=True)
    cosine = unit @ unit[ids == 99][0]
    others = [m for m in ids if m not in drama and m != 99]
    inside = cosine[np.isin(ids, [m for m in drama if m != 99])].mean()
    assert inside > cosine[np.isin(ids, others)].mean() + 0.2


def test_own_l2_leaves_movies_to_their_genres(
    tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, shared = [], []
    for own_l2 in (0.0, 50.0):
        fit, _ = trained("genre", tables, monkeypatch, epochs=30, own_l2=own_l2)
        own.append(np.linalg.norm(fit.arrays["movie"]))
        shared.append(np.linalg.norm(fit.arrays["movie_genres"] @ fit.arrays["genre"]))
    assert own[1] < 0.5 * own[0]
    assert shared[1] / own[1] > 2 * shared[0] / own[0]


def test_padding_and_the_future_do_not_change_a_users_vector(
    tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, _ = trained("history", tables, monkeypatch, epochs=1)
    w = fit.arrays
    heads, blocks = int(w["heads"]), int(w["blocks"])
    a = np.array([[-1, -1, -1, -1, -1, 3, 1, 2]])
    b = np.array([[-1, -1, -1, -1, -1, 3, 1, 7]])
    gaps = np.array([[0, 0, 0, 0, 0, 0, 4, 9]])
    first, second = encode(w, a, gaps, heads, blocks), encode(w, b, gaps, heads, blocks)
    assert np.allclose(first[:, :-1], second[:, :-1], atol=1e-6)
    assert not np.allclose(first[:, -1], second[:, -1], atol=1e-3)
    longer = dict(w, position=np.concatenate([np.ones((4, 16), np.float32), w["position"]]))
    padded = np.concatenate([np.full((1, 4), -1), a], axis=1)
    later = np.concatenate([np.zeros((1, 4), int), gaps], axis=1)
    assert np.allclose(encode(w, a, gaps, heads, blocks, last=True)[:, 0], first[:, -1], atol=1e-6)
    assert np.allclose(encode(longer, padded, later, heads, blocks)[:, -1], first[:, -1], atol=1e-5)


def test_numpy_serves_what_tensorflow_trained(
    tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.retrieval.ops import TensorFlowOps

    fit, _ = trained("history", tables, monkeypatch, epochs=1)
    ids = np.array([[-1, -1, -1, 5, 4, 3, 1, 2], [0, 1, 2, 3, 4, 5, 6, 7]])
    gaps = np.array([[0, 0, 0, 0, 2, 31, 1, 0], [0, 20, 0, 0, 1, 1, 1, 5]])
    arguments = gaps, int(fit.arrays["heads"]), int(fit.arrays["blocks"])
    weights = {k: v for k, v in fit.arrays.items() if v.dtype == np.float32}
    trained_with = encode(weights, ids, *arguments, TensorFlowOps(0.0, seed=0)).numpy()
    assert np.allclose(encode(weights, ids, *arguments), trained_with, atol=1e-4)


def test_history_matrices_are_right_aligned_and_skip_unknown_movies() -> None:
    types = {"user_id": pl.Int32, "history": pl.List(pl.Int32), "timestamps": pl.List(pl.Int64)}
    rows = [(1, [10, 20], [5, 8]), (2, [30, 20, 99, 10], [0, 100, 100, 107])]
    histories = pl.DataFrame(rows, schema=types, orient="row")
    movies, gaps = history_matrices(histories, np.array([10, 20, 30]), 3)
    assert movies.tolist() == [[-1, 0, 1], [1, -1, 0]]
    assert gaps.tolist() == [[0, 0, 2], [0, 0, 3]]


def test_windows_cover_every_liking_as_a_target() -> None:
    from stages.retrieval.history import windows
    from stages.retrieval.training import TrainingData

    sizes = [1, 2, 5, 23]
    users = np.repeat(np.arange(4), sizes).astype(np.int32)
    movies = np.arange(len(users), dtype=np.int32)  # each liking is a movie of its own
    empty = np.empty(0)
    data = TrainingData(np.arange(4), movies, users, movies, empty, 5, empty, empty)
    for seed in range(5):
        drawn = windows(data, 5, np.random.default_rng(seed))
        owner = np.where(drawn >= 0, users[np.maximum(drawn, 0)], -1)
        pairs = (drawn[:, :-1] >= 0) & (drawn[:, 1:] >= 0)
        assert (owner[:, :-1] == owner[:, 1:])[pairs].all()
        assert (np.diff(drawn, axis=1)[pairs] == 1).all()
        first = np.cumsum([0, *sizes[:-1]])
        wanted = set(movies.tolist()) - set(first.tolist())
        assert set(drawn[:, 1:][pairs].tolist()) == wanted


def tower(name: str, tables: dict, monkeypatch: pytest.MonkeyPatch, **changes: object):
    from stages.retrieval.training import training_data

    monkeypatch.chdir(ROOT)
    variant = importlib.import_module(f"stages.retrieval.{name}")
    params = load_params(variant.Params, f"retrievers.{name}")
    data = training_data(tables["likings"], tables["genres"], LENGTH)
    params = dataclasses.replace(params, **changes)
    return data, *variant.build(data, params, np.random.default_rng(0))


def test_hard_negatives_are_the_highest_scoring_unliked_movies(
    tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model, _ = tower("hard_negative", tables, monkeypatch, negatives=4000, hard_negatives=1)
    scores = np.zeros((1, model.w["bias"].shape[0]), np.float32)
    scores[0, :4] = [2, 5, 3, 1]
    liked = np.zeros_like(scores)
    liked[0, [0, 1]] = 1
    loss = float(model.liking_loss(scores, liked))
    # Liked are 2 and 5; of the others 3 is the hardest, and 4000 draws of 40 movies find it.
    expected = np.log1p(np.exp(3.0 - 2)) + np.log1p(np.exp(3.0 - 5))
    assert loss == pytest.approx(expected, rel=1e-5)


def test_a_liking_competes_with_unliked_movies_only(
    tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model, _ = tower("id", tables, monkeypatch)
    scores = np.array([[2.0, 5.0, 3.0]], np.float32)
    loss = float(model.liking_loss(scores, np.array([[1.0, 1.0, 0.0]], np.float32)))
    # -log(e^2 / (e^2 + e^3)) - log(e^5 / (e^5 + e^3))
    assert loss == pytest.approx(np.log1p(np.exp(1.0)) + np.log1p(np.exp(-2.0)), rel=1e-5)


def test_batches_hold_every_liking_of_their_users(
    tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _, batches = tower("id", tables, monkeypatch, batch_size=7)
    seen = set()
    for users, liked in batches():
        assert liked.shape == (7, len(data.movie_ids))
        for user, row in zip(users, liked):
            assert set(np.flatnonzero(row)) == set(data.movies[data.users == user])
            seen.add(int(user))
    assert seen == set(range(len(data.user_ids)))


def test_a_sample_of_movies_stands_for_all_of_them() -> None:
    from stages.retrieval.two_tower import draw, inclusion

    rng = np.random.default_rng(0)
    sizes = rng.pareto(1, 300) + 0.1
    chances = inclusion(sizes, 50)
    assert chances.sum() == pytest.approx(50)
    assert (chances == 1).any()
    below = chances < 1
    assert np.allclose(chances[below] / sizes[below], (chances[below] / sizes[below])[0])
    draws = np.array([draw(chances, 50, rng) for _ in range(4000)])
    assert all(len(set(row.tolist())) == 50 for row in draws)
    assert np.abs(np.bincount(draws.ravel(), minlength=300) / 4000 - chances).max() < 0.04


def test_a_batch_of_drawn_movies_weighs_likings_so_that_their_mean_is_right(
    tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _, batches = tower("id", tables, monkeypatch, batch_size=60, movies_at_once=12)
    total = np.zeros((60, len(data.movie_ids)))
    for _ in range(1500):
        ((users, liked, drawn, weights),) = batches()
        assert liked.shape == (60, 12)
        assert set(np.unique(liked[:, 3])) <= {0, weights[3]}
        total[users[:, None], drawn] += liked / 1500
    exact = np.zeros_like(total)
    exact[data.users, data.movies] = 1
    assert np.abs(total - exact).max() < 0.35
    assert total.sum() == pytest.approx(exact.sum(), rel=0.02)


def test_batches_of_users_and_epochs_of_windows_are_bounded(
    tables: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.retrieval import history, two_tower

    params = load_params(two_tower.TwoTowerParams, "retrievers.id")
    assert params.sized(1, 64 * two_tower.MOST_STEPS) == params
    assert params.sized(1, 1000 * two_tower.MOST_STEPS).batch_size == 1000
    monkeypatch.setattr(history, "MOST_STEPS", 3)
    _, _, batches = tower("history", tables, monkeypatch, batch_size=7)
    assert [len(windows) for windows, _ in batches()] == [7, 7, 7]
