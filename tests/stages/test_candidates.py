import contextlib
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from stages import candidates
from stages.candidates import search_unseen
from stages.faiss_index import Params, build_index
from stages.models import top_k
from stages.models.top_k import interaction_matrix
from tests.damage import assert_damage_is_refused
from tests.small_tables import seen_pairs


class World(NamedTuple):
    """Users and movies with random vectors, and what the users have seen."""

    users: np.ndarray
    queries: np.ndarray
    movies: np.ndarray
    vectors: np.ndarray
    seen: pl.DataFrame


@pytest.fixture
def world() -> World:
    rng = np.random.default_rng(3)
    users, movies = np.arange(1, 31), np.sort(rng.choice(1000, 200, replace=False))
    vectors = rng.normal(size=(230, 16)).astype(np.float32)
    pairs = [(u, m) for u in users for m in rng.choice(movies, 1 + u, replace=False)]
    seen = seen_pairs(pairs[::2], others=pairs[1::2])
    return World(users, vectors[:30], movies, vectors[30:], seen)


def faiss_params(**changes: object) -> Params:
    """Params of a search that is exact for as few movies as `world` has."""
    values = {"kind": "flat", "metric": "inner_product"}
    values |= {"M": 32, "efSearch": 400, "nlist": 4, "nprobe": 400}
    return Params(**{**values, **changes})


def exact_lists(world: World, count: int) -> list[list[int]]:
    scores = world.queries @ world.vectors.T
    seen = interaction_matrix(world.seen, world.users, world.movies)
    scores[seen.nonzero()] = -np.inf
    return world.movies[np.argsort(-scores, axis=1)[:, :count]].tolist()


def search(world: World, params: Params, count: int) -> pl.DataFrame:
    index = build_index(world.movies, world.vectors, params)
    return search_unseen(index, world.users, world.queries, world.seen, count)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_every_index_gives_the_best_unseen_in_order(world: World, kind: str) -> None:
    table = search(world, faiss_params(kind=kind), count=20)
    lists = table.group_by("user_id", maintain_order=True).agg("movie_id")["movie_id"].to_list()
    assert lists == exact_lists(world, 20)
    assert table.join(world.seen, on=["user_id", "movie_id"]).height == 0


def test_l2_scores_fall_with_distance(world: World) -> None:
    table = search(world, faiss_params(metric="l2", M=8, nprobe=8, efSearch=8), count=5)
    scores = table.filter(pl.col("user_id") == 1)["score"]
    assert scores.is_sorted(descending=True)
    assert (scores <= 0).all()


def test_a_user_who_has_seen_nearly_all_movies_gets_the_last_one() -> None:
    index = build_index(np.array([5, 6, 7]), np.eye(3, dtype=np.float32), faiss_params())
    seen = seen_pairs([(1, 5)], others=[(1, 7)])
    query = np.ones((1, 3), np.float32)
    table = search_unseen(index, np.array([1]), query, seen, count=200)
    assert table.rows() == [(1, 6, 1.0, 1)]


def test_the_batch_size_does_not_change_the_lists(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = search(world, faiss_params(), count=20)
    monkeypatch.setattr(top_k, "SEARCH_BATCH_USERS", 7)
    batched = search(world, faiss_params(), count=20)
    columns = ["user_id", "movie_id", "rank"]
    assert batched.select(columns).equals(table.select(columns))
    assert np.allclose(batched["score"].to_numpy(), table["score"].to_numpy(), atol=1e-5)


def test_a_damaged_index_is_one_line(tiny_run: Path, tmp_path: Path) -> None:
    index = Path(shutil.copytree(tiny_run / "data" / "index", tmp_path / "index"))
    path, lists = index / "id" / "val.faiss", tmp_path / "candidates"
    arguments = "id", index, Path("data/embeddings"), Path("data/seen"), lists
    with contextlib.chdir(tiny_run):
        assert_damage_is_refused(path, lambda: candidates.main(*arguments))
    assert not lists.exists()
