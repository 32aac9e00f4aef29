"""Synthetic results of all systems, and the stages that read them."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl

from stages import beyond_accuracy, evaluate, leaderboard, plot_tables, report
from stages.common.files import write_csv, write_json
from stages.common.params import YAML
from stages.common.tables import (
    CATALOGUE,
    HISTORIES,
    KNOWN_POSITIVES,
    POPULARITY,
    RATINGS,
    RECOMMENDATIONS,
    SEEN,
    TEST,
    embeddings_schema,
    write_table,
)
from tests.conftest import ROOT
from tests.small_tables import (
    HOSTILE,
    catalogue,
    held_out_targets,
    movie_popularity,
    ranked_lists,
    seen_pairs,
    user_histories,
)

DATA, METRICS, MOVIES = Path("data"), Path("metrics"), Path("data/movies")
CANDIDATES, RECOMMENDED = DATA / "candidates", DATA / "recommendations"
BOARD = METRICS / "leaderboard.json"
PARAMS = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
GENERATORS = [*PARAMS["generators"], *PARAMS["retrievers"]]
SYSTEMS = [*GENERATORS, "fusion", *(f"ranker_{name}" for name in PARAMS["rankers"])]
USERS, NUM_MOVIES, NUM_SEEN, LIST_LENGTH = 20, 40, 10, 15


def write_results(folder: Path) -> None:
    """Write params.yaml and all that the stages before `evaluate` leave, with hostile titles."""
    rng = np.random.default_rng(3)
    shutil.copy(ROOT / "params.yaml", folder)
    data, metrics, movies = folder / DATA, folder / METRICS, folder / MOVIES
    users = range(1, USERS + 1)
    (data / "raw").mkdir(parents=True)
    (data / "raw" / "ratings.csv").write_text("userId\n")
    ids = range(1, NUM_MOVIES + NUM_SEEN + 1)
    write_table(catalogue([HOSTILE] * len(ids)), movies / "catalogue.parquet", CATALOGUE)
    genres = pl.DataFrame({"movie_id": ids, f"genre_{HOSTILE}": 1}).cast(
        {"movie_id": pl.Int32, f"genre_{HOSTILE}": pl.UInt8}
    )
    write_table(genres, movies / "genres.parquet", genres.schema)
    popularity = movie_popularity({movie: len(ids) + 1 - movie for movie in ids})
    write_table(popularity, movies / "popularity" / "test.parquet", POPULARITY)
    # Movies beyond the catalogue's popular ones, which no list below holds.
    positives = {user: list(range(NUM_MOVIES + 1, NUM_MOVIES + user % 9 + 3)) for user in users}
    histories = user_histories(positives)
    write_table(histories, data / "histories" / "test.parquet", HISTORIES)
    targets = [(user, int(rng.integers(1, NUM_MOVIES + 1))) for user in users]
    write_table(held_out_targets(targets), data / "split" / "test.parquet", TEST)
    for system in SYSTEMS:
        rows = [
            (user, int(movie) + 1, rank + 1)
            for user in users
            for rank, movie in enumerate(rng.permutation(NUM_MOVIES)[:LIST_LENGTH])
        ]
        kind = CANDIDATES if system in GENERATORS else RECOMMENDED
        write_table(ranked_lists(rows), folder / kind / system / "test.parquet", RECOMMENDATIONS)
    pairs = [(user, movie) for user, movies in positives.items() for movie in movies]
    known = pl.DataFrame(
        [(*pair, n, 0) for n, pair in enumerate(pairs)], schema=KNOWN_POSITIVES, orient="row"
    )
    write_table(known, data / "histories" / "positives.parquet", KNOWN_POSITIVES)
    write_table(seen_pairs(pairs), data / "seen" / "test.parquet", SEEN)
    # Every user rates two movies low: movie 20 before the query, movie 30 after it.
    ratings = [
        (user, movie, 2.0, time, 0) for user in users for movie, time in ((20, -1), (30, 99))
    ]
    ratings = pl.DataFrame(ratings, schema=RATINGS, orient="row")
    write_table(ratings, data / "ratings.parquet", RATINGS)
    vectors = pl.DataFrame(
        {"movie_id": ids, "embedding": rng.normal(size=(len(ids), 4)).astype(np.float32)}
    )
    path = data / "embeddings" / "history" / "test" / "movies.parquet"
    write_table(vectors, path, embeddings_schema("movie_id", 4))
    write_json({"users": USERS, "share": 0.5}, metrics / "data.json")
    write_json({"test_users": USERS, "test_targets": USERS}, metrics / "split.json")
    raw_ids = {"user_id": users, "raw_id": [f"{HOSTILE} {user}" for user in users]}
    raw_ids = pl.DataFrame(raw_ids, schema_overrides={"user_id": pl.Int32})
    write_table(raw_ids, data / "ids" / "users.parquet", raw_ids.schema)
    rows = [(name, USERS, "ndcg@10", 0.1, 0.05, 0.15) for name in SYSTEMS]
    columns = ["system", "users", "metric", "value", "low", "high"]
    validation = pl.DataFrame(rows, schema=columns, orient="row")
    write_csv(validation, metrics / "validation.csv")
    for name in PARAMS["retrievers"]:
        curve = {"epoch": [1, 2], "loss": [2.0, 1.0], "ndcg@10": [0.1, 0.2]}
        write_csv(pl.DataFrame(curve), metrics / "curves" / f"{name}.csv")
    for name in PARAMS["rankers"]:
        gains = {"feature": ["rank", "score"], "gain_share": [0.75, 0.25], "splits": [3, 1]}
        write_csv(pl.DataFrame(gains), metrics / "importance" / f"{name}.csv")


def run_evaluate() -> None:
    """Run the stage `evaluate` in the current folder."""
    evaluate.main(
        candidates=CANDIDATES,
        recommendations=RECOMMENDED,
        targets=DATA / "split" / "test.parquet",
        movies=MOVIES,
        seen=DATA / "seen",
        metrics=METRICS / "systems",
        slices=METRICS / "slices",
        ranks=DATA / "ranks",
    )


def run_leaderboard() -> None:
    """Run the stage `leaderboard` in the current folder."""
    leaderboard.main(
        metrics=METRICS / "systems",
        ranks=DATA / "ranks",
        board=BOARD,
        text=METRICS / "leaderboard.md",
        interval_table=METRICS / "intervals.csv",
    )


def run_beyond_accuracy() -> None:
    """Run the stage `beyond_accuracy` in the current folder."""
    sources = beyond_accuracy.Sources(
        candidates=CANDIDATES,
        recommendations=RECOMMENDED,
        ranks=DATA / "ranks",
        ratings=DATA / "ratings.parquet",
        histories=DATA / "histories",
        seen=DATA / "seen",
        movies=MOVIES,
        embeddings=DATA / "embeddings",
    )
    beyond_accuracy.main(
        sources,
        METRICS / "beyond_accuracy.json",
        METRICS / "beyond_accuracy.md",
        METRICS / "beyond_accuracy.csv",
    )


def run_plot_tables() -> None:
    """Run the stage `plot_tables` in the current folder."""
    plot_tables.main(
        metrics=METRICS,
        ranks=DATA / "ranks",
        candidates=CANDIDATES,
        recommendations=RECOMMENDED,
        popularity=MOVIES / "popularity" / "test.parquet",
        tables=METRICS / "plots",
    )


def run_report() -> Path:
    """Run the stage `report` in the current folder, and return the path of the page."""
    page = METRICS / "report.html"
    inputs = report.Inputs(
        metrics=METRICS,
        raw=DATA / "raw",
        histories=DATA / "histories" / "test.parquet",
        catalogue=MOVIES / "catalogue.parquet",
        ids=DATA / "ids",
        candidates=CANDIDATES,
        recommendations=RECOMMENDED,
        plots=ROOT / "plots",
        timings=ROOT / "benchmarks" / "timings.csv",
    )
    report.main(inputs, page)
    return page.absolute()
