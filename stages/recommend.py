"""Recommend for one user, through the whole chain: towers -> FAISS -> merged pool -> ranker.

    python -m stages.recommend --user 42
    python -m stages.recommend --liked "Toy Story (1995)" --liked 260

Reads what `dvc repro` made; it is no stage of the pipeline.
"""

import argparse
import difflib
import sys
import time
from pathlib import Path

import faiss
import polars as pl

from stages.candidates import search_unseen
from stages.common.files import read_arrays
from stages.common.params import load_params, read_value
from stages.common.stage import StageError
from stages.common.tables import CATALOGUE, DISLIKES, HISTORIES, POPULARITY, read_table
from stages.features import build_features, past, pool_features
from stages.folds import folds
from stages.fusion import Params as FusionParams
from stages.fusion import merge
from stages.item_similarity import recommend_similar
from stages.popularity import recommend_popular
from stages.ranker_data import RankerParams
from stages.rerank import read_boosters, rerank
from stages.top_k import CandidateParams, interactions
from stages.towers import serve_users

DATA = Path("data")
ITEM_MODELS = ("item_knn", "ease")
NEW_USER = -1  # an id that no data set has


def find_movie(text: str, catalogue: pl.DataFrame) -> int:
    """The movie id of an id or a title, whole or its only match; the case does not matter."""
    if text.isdigit() and int(text) in catalogue["movie_id"]:
        return int(text)
    lower = pl.col("title").str.to_lowercase()
    exact = catalogue.filter(lower == text.lower())
    found = (
        exact if exact.height else catalogue.filter(lower.str.contains(text.lower(), literal=True))
    )
    if found.height == 1:
        return int(found["movie_id"][0])
    if found.height:
        close = found["title"].head(5).to_list()
        raise StageError(f"--liked {text!r}: fits {found.height} movies; give one of {close}")
    close = difflib.get_close_matches(text, catalogue["title"].to_list(), 3, cutoff=0.4)
    raise StageError(f"--liked {text!r}: no such movie; did you mean one of {close}?")


class Chain:
    """Everything that a recommendation needs, loaded once.

    A user who is known only by what they like has no vector in the id towers; those
    generators are left out, and their features are missing values to the ranker.
    """

    def __init__(self, ranker: str) -> None:
        self.params = load_params(RankerParams, f"rankers.{ranker}")
        self.count = load_params(CandidateParams, "candidates").count
        self.threads = read_value("lightgbm.threads", int)
        self.generators = load_params(FusionParams, "fusion").generators
        if not self.params.candidates.startswith("pools/"):
            self.generators = [Path(self.params.candidates).name]
        self.catalogue = read_table(DATA / "movies" / "catalogue.parquet", CATALOGUE)
        split = DATA / "split"
        *_, newest = folds(split / "train.parquet", split / "val.parquet", DATA / "histories")
        _, self.likings, self.histories = newest
        self.popularity = read_table(DATA / "popularity" / "test.parquet", POPULARITY)
        models = DATA / "models"
        self.similar = {name: read_arrays(models / name / "test.npz") for name in ITEM_MODELS}
        towers = [n for n in self.generators if (models / n / "test.npz").exists()]
        towers = [n for n in towers if n not in ITEM_MODELS]
        self.towers = {n: read_arrays(models / n / "test.npz") for n in towers}
        self.indexes = {n: faiss.read_index(str(DATA / "index" / n / "test.faiss")) for n in towers}
        vectors = DATA / "embeddings" / self.params.vectors / "test" / "movies.parquet"
        genres = read_table(DATA / "movies" / "genres.parquet")
        dislikes = read_table(DATA / "dislikes" / "test.parquet", DISLIKES)
        tables = (self.catalogue, genres, self.popularity, self.likings, dislikes)
        queries = read_table(vectors.with_name("users.parquet")).clear()
        self.past = past(*tables, read_table(vectors), queries, self.similar)
        self.tower = read_arrays(models / self.params.vectors / "test.npz")
        self.boosters = read_boosters(models / f"ranker_{ranker}")

    def history(self, user: int, liked: list[int]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """HISTORIES and likings of the user; what they like more counts as the newest."""
        mine = self.histories.filter(pl.col("user_id") == user)
        known = self.likings.filter(pl.col("user_id") == user)
        if user != NEW_USER and not mine.height:
            raise StageError(f"--user {user}: has no liking; give a user of the data, or --liked")
        movies = mine["history"].explode().to_list() if mine.height else []
        times = mine["timestamps"].explode().to_list() if mine.height else []
        now = max(times or [int(self.likings["timestamp"].max())])
        length = read_value("histories.max_length", int)
        new = [movie for movie in liked if movie not in set(known["movie_id"])]
        row = {
            "user_id": user,
            "history": (movies + new)[-length:],
            "timestamps": (times + [now] * len(new))[-length:],
            "history_length": known.height + len(new),
        }
        seen = [*known["movie_id"].to_list(), *new]
        pairs = {"user_id": [user] * len(seen), "movie_id": seen}
        keys = {"user_id": pl.Int32, "movie_id": pl.Int32}
        return pl.DataFrame([row], schema=HISTORIES), pl.DataFrame(pairs, schema=keys)

    def lists(self, before: pl.DataFrame, seen: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """RECOMMENDATIONS of every generator that knows the user; the others' are empty."""
        users = before["user_id"].to_numpy()
        made = {}
        for name in self.generators:
            if name in self.similar:
                movies, weights = (self.similar[name][k] for k in ("movie_ids", "weights"))
                liked = interactions(seen, users, movies)
                made[name] = recommend_similar(weights, liked, users, movies, self.count)
            elif name in self.towers:
                arrays = self.towers[name]
                if "user" in arrays and users[0] not in arrays["user_ids"]:
                    continue
                ids, queries = serve_users(arrays, before)
                made[name] = search_unseen(self.indexes[name], ids, queries, seen, self.count)
            else:
                made[name] = recommend_popular(self.popularity, users, seen, self.count)
        empty = next(iter(made.values())).clear()
        return {name: made.get(name, empty) for name in self.generators}

    def recommend(self, user: int, liked: list[int], top: int) -> pl.DataFrame:
        """rank, movie_id, title, genres, score and `found_by` of the `top` best movies."""
        before, seen = self.history(user, liked)
        pool = merge(self.lists(before, seen))
        groups = self.params.features
        queries = serve_users(self.tower, before)
        known = self.past._replace(queries=queries)
        features = build_features(pool_features(pool, groups), before, known, groups)
        ordered = rerank(self.boosters, features, self.threads).head(top)
        places = [
            pl.when(pl.col(f"rank_{n}").is_not_null()).then(pl.format(n + " {}", f"rank_{n}"))
            for n in self.generators
        ]
        found = pool.select("movie_id", found_by=pl.concat_list(places).list.drop_nulls())
        return (
            ordered.join(self.catalogue, on="movie_id", how="left", maintain_order="left")
            .join(found, on="movie_id", how="left", maintain_order="left")
            .select("rank", "movie_id", "title", "genres", "score", "found_by")
        )


def as_text(table: pl.DataFrame) -> str:
    """The recommendations as lines for people."""
    rows = [["#", "title", "genres", "score", "found by (rank there)"]]
    for rank, movie, title, genres, score, found in table.iter_rows():
        name = f"{title} [{movie}]"
        rows.append([str(rank), name, "|".join(genres), f"{score:.3f}", ", ".join(found)])
    widths = [min(max(len(row[i]) for row in rows), 48) for i in range(4)]
    return "\n".join("  ".join([*(c[:w].ljust(w) for c, w in zip(r, widths)), r[4]]) for r in rows)


def main() -> None:
    """Parse the command line, print the table."""
    parser = argparse.ArgumentParser(description="Recommend movies to a user.")
    parser.add_argument("--user", type=int, default=NEW_USER, help="a user_id of the data set")
    parser.add_argument("--liked", action="append", default=[], help="a title or movie_id")
    parser.add_argument("--top", type=int, default=10, help="how many movies (10)")
    parser.add_argument("--ranker", default="history", help="basic, history or hit")
    chosen = parser.parse_args()
    if chosen.user == NEW_USER and not chosen.liked:
        parser.error("give --user, or --liked once or more")
    try:
        chain = Chain(chosen.ranker)
        liked = [find_movie(text, chain.catalogue) for text in chosen.liked]
        started = time.perf_counter()
        table = chain.recommend(chosen.user, list(dict.fromkeys(liked)), chosen.top)
        spent = (time.perf_counter() - started) * 1000
    except StageError as error:
        sys.exit(f"error: {error}")
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename}: not found; run `dvc repro`")
    likes = ", ".join(chain.catalogue.filter(pl.col("movie_id").is_in(liked))["title"])
    who = [f"user {chosen.user}"] if chosen.user != NEW_USER else []
    print(f"For {' who also likes '.join([*who, *([likes] if likes else [])])}:\n")
    print(as_text(table))
    print(f"\n{spent:.0f} ms after loading")


if __name__ == "__main__":
    main()
