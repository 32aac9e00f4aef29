"""Data of other kinds than MovieLens through the whole pipeline, and the code of your-data.md."""

import json
import re
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conftest import ROOT, dvc, edit_params, ran, run, tiny_tables

PAGE = ROOT / "docs" / "your-data.md"
BOOK_PARAMS = {
    "data__columns__user": "reader",
    "data__columns__item": "ISBN",
    "data__columns__rating": "points",
    "data__columns__timestamp": "day",
    "clean__rating_max": 10,
    "positives__min_rating": 8,
}


def write_books(folder: Path) -> None:
    """Readers by UUID, books by ISBN, ten points, semicolons, times as text; no books file."""
    ratings, _ = tiny_tables()
    readers = [str(uuid.uuid5(uuid.NAMESPACE_OID, str(user))) for user in ratings["userId"]]
    table = ratings.select(
        pl.Series("reader", readers),
        pl.format("{}X", pl.col("movieId").cast(pl.String).str.zfill(9)).alias("ISBN"),
        (pl.col("rating") * 2).cast(pl.Int64).alias("points"),
        pl.from_epoch("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S").alias("day"),
    )
    table.write_csv(folder / "ratings.csv", separator=";")


def write_plays(folder: Path) -> None:
    """A log without ratings: every play is a positive."""
    ratings, _ = tiny_tables()
    plays = ratings.filter(pl.col("rating") >= 4)
    plays.select(
        pl.format("u_{}", "userId").alias("user_id"),
        pl.format("song:{}", "movieId").alias("item_id"),
        "timestamp",
    ).write_csv(folder / "interactions.csv")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("write", "params"), [(write_books, BOOK_PARAMS), (write_plays, {})])
def test_other_data_go_through_the_whole_pipeline(
    repo: Path, tmp_path: Path, write: Callable[[Path], None], params: dict[str, Any]
) -> None:
    write(tmp_path)
    edit_params(repo, data__source=str(tmp_path), **params)
    dvc(repo, "repro")
    assert ran(dvc(repo, "repro")) == set()

    systems = json.loads((repo / "metrics" / "leaderboard.json").read_text())
    targets = pl.read_parquet(repo / "data" / "split" / "test.parquet")
    for name, figures in systems.items():
        assert figures["users"] == targets["user_id"].n_unique(), name
        assert all(0 <= v <= 1 for k, v in figures.items() if k != "users"), name
    # Each reader prefers one kind of book, which the data do not name.
    for name in ("item_knn", "ranker_history"):
        assert systems[name]["ndcg@10"] > systems["popularity"]["ndcg@10"], name
    genres = pl.read_parquet(repo / "data" / "movies" / "genres.parquet")
    assert genres.columns == ["movie_id", "genre_none"]
    for path in (repo / "metrics" / "slices").iterdir():
        assert "genre" not in pl.read_csv(path)["slice"].to_list()

    # With raw ids, every target is a row of the raw file: the id map loses and mixes nothing.
    folder = repo / "data" / "ids"
    users, movies = (pl.read_parquet(folder / f"{n}.parquet") for n in ("users", "movies"))
    raw = pl.read_csv(next(tmp_path.glob("*.csv")), separator=";" if params else ",")
    raw = raw.select(pl.nth(0).alias("raw_user"), pl.nth(1).alias("raw_movie"))
    raw_targets = targets.join(users.rename({"raw_id": "raw_user"}), on="user_id")
    raw_targets = raw_targets.join(movies.rename({"raw_id": "raw_movie"}), on="movie_id")
    assert raw_targets.height == targets.height
    assert raw_targets.join(raw, on=["raw_user", "raw_movie"]).height == targets.height

    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    process = run([sys.executable, "-c", code], repo)
    assert process.returncode == 0, process.stderr
    raw_movies = raw["raw_movie"].unique().to_list()
    assert sum(f" {movie} " in process.stdout for movie in raw_movies) >= 5, process.stdout
    recommend = [sys.executable, "-m", "stages.serving", "recommend"]
    process = run([*recommend, "--liked", raw_movies[0]], repo)
    assert process.returncode == 0, process.stderr
    assert f"For a new user who likes {raw_movies[0]}:" in process.stdout
    user = users["raw_id"][0]
    process = run([*recommend, "--user", user], repo)
    assert f"For user {user}:" in process.stdout, process.stderr
