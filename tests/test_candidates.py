import contextlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from stages import fusion, popularity, rerank, top_k
from stages.candidates import search_unseen
from stages.common import tables
from stages.ease import ease_weights
from stages.faiss_index import Params, build_index
from stages.fusion import cut, fuse, merge, most_candidates
from stages.item_knn import Params as KnnParams
from stages.item_knn import neighbour_weights
from stages.item_similarity import most_liked, recommend_similar
from stages.pairs import seen_keys
from stages.popularity import count_likings, recommend_popular
from stages.top_k import best_unseen, interactions, top_columns

FLAT = Params(kind="flat", metric="inner_product", hnsw_links=8, ivf_lists=4, probes=64)


def likings(pairs: list[tuple[int, int]]) -> pl.DataFrame:
    types = {"user_id": pl.Int32, "movie_id": pl.Int32}
    return pl.DataFrame(pairs, schema=types, orient="row")


@pytest.fixture
def world() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, pl.DataFrame]:
    """Users, their vectors, movies, their vectors, and what was seen."""
    rng = np.random.default_rng(3)
    users, movies = np.arange(1, 31), np.sort(rng.choice(1000, 200, replace=False))
    vectors = rng.normal(size=(230, 16)).astype(np.float32)
    seen = [(u, m) for u in users for m in rng.choice(movies, 1 + u, replace=False)]
    return users, vectors[:30], movies, vectors[30:], likings(seen)


def exact(world: tuple, count: int) -> list[list[int]]:
    users, queries, movies, vectors, seen = world
    scores = queries @ vectors.T
    scores[interactions(seen, users, movies).nonzero()] = -np.inf
    return movies[np.argsort(-scores, axis=1)[:, :count]].tolist()


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_every_index_gives_the_best_unseen_in_order(world: tuple, kind: str) -> None:
    users, queries, movies, vectors, seen = world
    params = Params(kind=kind, metric="inner_product", hnsw_links=32, ivf_lists=4, probes=400)
    index = build_index(movies, vectors, params)
    found = search_unseen(index, users, queries, seen, count=20)
    lists = found.group_by("user_id", maintain_order=True).agg("movie_id")["movie_id"].to_list()
    assert lists == exact(world, 20)
    assert found.join(seen, on=["user_id", "movie_id"]).height == 0


def test_l2_scores_fall_with_distance(world: tuple) -> None:
    users, queries, movies, vectors, seen = world
    params = Params(kind="flat", metric="l2", hnsw_links=8, ivf_lists=4, probes=8)
    found = search_unseen(build_index(movies, vectors, params), users, queries, seen, count=5)
    first = found.filter(pl.col("user_id") == 1)
    assert first["score"].is_sorted(descending=True)
    assert (first["score"] <= 0).all()


def test_a_user_who_saw_nearly_all_gets_the_rest() -> None:
    movies = np.array([5, 6, 7])
    index = build_index(movies, np.eye(3, dtype=np.float32), FLAT)
    seen = likings([(1, 5), (1, 7)])
    found = search_unseen(index, np.array([1]), np.ones((1, 3), np.float32), seen, count=200)
    assert found.rows() == [(1, 6, 1.0, 1)]


def test_best_unseen_drops_the_seen_and_the_ends_of_lists() -> None:
    movies = np.array([[4, 5, 6], [5, -1, -1]])
    scores = np.array([[3.0, 2.0, 1.0], [9.0, 0.0, 0.0]])
    found = best_unseen(np.array([1, 2]), movies, scores, seen_keys(likings([(1, 4)])), 1)
    assert found.rows() == [(1, 5, 2.0, 1), (2, 5, 9.0, 1)]


def test_top_columns_breaks_ties_by_column() -> None:
    columns, best = top_columns(np.array([[1.0, 3.0, 3.0, 0.0]]), 3)
    assert columns.tolist() == [[1, 2, 0]]
    assert best.tolist() == [[3.0, 3.0, 1.0]]


def test_top_columns_equal_a_stable_sort_of_everything() -> None:
    rng = np.random.default_rng(0)
    tied = rng.integers(0, 5, (30, 40)).astype(np.float32)
    some_seen = np.where(rng.random((30, 40)) < 0.9, -np.inf, rng.random((30, 40)))
    for scores in (tied, some_seen):
        for count in (0, 1, 7, 39, 40, 50):
            columns, best = top_columns(scores, count)
            wanted = np.argsort(-scores, axis=1, kind="stable")[:, :count]
            assert np.array_equal(columns, wanted)
            assert np.array_equal(best, np.take_along_axis(scores, wanted, axis=1))


def test_popularity_ranks_by_likings_and_shares_the_worse_rank() -> None:
    catalogue = pl.DataFrame({"movie_id": [1, 2, 3, 4]}, schema={"movie_id": pl.Int32})
    seen = likings([(1, 1), (2, 1), (1, 2), (2, 3)])
    counts = count_likings(catalogue, seen)
    assert counts["likings"].to_list() == [2, 1, 1, 0]
    assert counts["popularity_rank"].to_list() == [1, 3, 3, 4]
    found = recommend_popular(counts, np.array([1, 2]), seen, count=5)
    assert found.select("user_id", "movie_id").rows() == [(1, 3), (2, 2)]


def test_ease_weights_solve_the_constrained_regression() -> None:
    liked = sp.csr_array(np.random.default_rng(0).integers(0, 2, (40, 6)).astype(np.float32))
    weights = ease_weights(liked, 2.0).astype(np.float64)
    assert np.diag(weights).tolist() == [0] * 6
    dense = liked.toarray()
    # The gradient X'X B + l2 B - X'X vanishes off the diagonal.
    gradient = dense.T @ dense @ weights + 2.0 * weights - dense.T @ dense
    np.fill_diagonal(gradient, 0)
    assert np.abs(gradient).max() < 1e-3


def test_item_knn_keeps_the_most_similar_neighbours() -> None:
    liked = sp.csr_array(
        np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]], np.float32)
    )
    weights = neighbour_weights(liked, KnnParams(neighbours=1, k1=1.2, b=0.75, max_movies=9))
    assert (weights > 0).sum(axis=1).max() == 1
    assert weights[0].argmax() == 1
    assert np.diag(weights).tolist() == [0] * 4


def test_recommend_similar_sums_the_weights_of_unseen_movies() -> None:
    weights = np.array([[0, 1, 2], [5, 0, 4], [0, 0, 0]], np.float32)
    users, movies = np.array([7]), np.array([10, 20, 30])
    liked = interactions(likings([(7, 10), (7, 99)]), users, movies)
    found = recommend_similar(weights, liked, users, movies, count=5)
    assert found.rows() == [(7, 30, 2.0, 1), (7, 20, 1.0, 2)]


def test_most_liked_caps_the_catalogue() -> None:
    assert most_liked(likings([(1, 3), (2, 3), (1, 2), (2, 1), (3, 1)]), 2).tolist() == [1, 3]


def test_fusion_adds_reciprocal_ranks() -> None:
    a = best_unseen(np.array([1]), np.array([[5, 6]]), np.array([[2.0, 1.0]]), np.empty(0), 9)
    b = best_unseen(np.array([1]), np.array([[6, 7]]), np.array([[0.2, 0.1]]), np.empty(0), 9)
    pool = merge({"a": a, "b": b})
    assert pool["movie_id"].to_list() == [5, 6, 7]
    assert pool["rank_b"].to_list() == [None, 1, 2]
    fused = fuse(pool, ["a", "b"], k=60)
    assert fused["movie_id"].to_list() == [6, 5, 7]
    # 1/62 + 1/61, 1/61, 1/62.
    assert fused["score"].to_list() == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62])


def test_a_pool_keeps_what_the_fused_list_has_first() -> None:
    a = best_unseen(np.array([1, 2]), np.array([[5, 6, 7]] * 2), np.ones((2, 3)), np.empty(0), 9)
    b = best_unseen(np.array([1]), np.array([[7]]), np.ones((1, 1)), np.empty(0), 9)
    pool = merge({"a": a, "b": b})
    fused = fuse(pool, ["a", "b"], k=60)
    kept, best = cut(pool, fused, most=2)
    # Movie 7 is third in one list but stands in both.
    assert kept.select("user_id", "movie_id").rows() == [(1, 5), (1, 7), (2, 5), (2, 6)]
    assert best["movie_id"].to_list() == [7, 5, 5, 6]
    assert kept.columns == pool.columns
    assert cut(pool, fused, most=3)[0].equals(pool)
    assert most_candidates(1000, users=10, count=30) == 100
    assert most_candidates(1000, users=100, count=30) == 30


def test_users_who_saw_equally_much_are_searched_together(
    world: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, _, _, _, seen = world
    monkeypatch.setattr(top_k, "USERS_AT_ONCE", 10)
    batches = top_k.user_batches(users, seen)
    assert [batch.longest for batch in batches] == [11, 21, 31]
    assert sorted(np.concatenate([batch.places for batch in batches])) == list(range(30))
    for batch in batches:
        mine = seen.filter(pl.col("user_id").is_in(users[batch.places]))
        assert batch.seen.tolist() == seen_keys(mine).tolist()


def test_the_number_of_users_at_once_changes_nothing(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (tables, top_k):
        monkeypatch.setattr(module, "USERS_AT_ONCE", 7)
    data, made = Path("data"), tmp_path
    split = data / "split"
    known = split / "train.parquet", split / "val.parquet", data / "histories"
    movies = data / "movies" / "catalogue.parquet", data / "movies" / "genres.parquet"
    models, lists, pool = data / "models", data / "recommendations", data / "pools" / "fusion"
    vectors = data / "embeddings" / "history", models / "item_knn", models / "ease"
    with contextlib.chdir(tiny_run):
        popularity.main(movies[0], *known, made / "counts", made / "popularity")
        fusion.main(lists, made / "pool", made / "fusion")
        inputs = *movies, data / "popularity", data / "dislikes", *known, *vectors
        ranked = made / "ranker_history" / "test.parquet"
        rerank.main("history", models / "ranker_history", pool, *inputs, ranked)
        pairs = {
            "pool": pool,
            **{name: lists / name for name in ("popularity", "fusion", "ranker_history")},
        }
        for name, expected in pairs.items():
            for path in sorted((made / name).glob("*.parquet")):
                found, wanted = pl.read_parquet(path), pl.read_parquet(expected / path.name)
                assert found.equals(wanted), path
                assert wanted["user_id"].n_unique() > 7
