"""Recommend from the bundle, for one person or for many users.

    python -m stages.recommend --user 42
    python -m stages.recommend --liked "Toy Story (1995)" --liked 260
    python -m stages.recommend --users all --out recommendations.parquet

Needs the bundle folder and nothing else; it is no stage of the pipeline.
"""

import stages.one_thread  # noqa: F401

# isort: split
import argparse
import difflib
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from tqdm import tqdm

from stages.common.stage import StageError, whole_file
from stages.serving.chain import NEW_USER, SERVED, Chain

BUNDLE = Path("data/bundle")
COLUMN = "user_id"


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


def read_users(path: Path) -> np.ndarray:
    """The ids of a csv file with a column user_id, or of a text file with one id a line.

    Raises:
        StageError: The file is missing, holds no id, or something that is none.
    """
    is_csv = path.suffix.lower() == ".csv"
    try:
        # Texts, so that a value that is no id can be shown.
        table = pl.read_csv(path, has_header=is_csv, infer_schema=False, separator=",")
    except FileNotFoundError:
        raise StageError(f"{path}: not found; give a file of users, or `all`") from None
    except pl.exceptions.NoDataError:
        raise StageError(f"{path}: is empty; write users into it") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise StageError(f"{path}: cannot be read ({reason}); give csv or txt") from None
    if is_csv and COLUMN not in table.columns:
        raise StageError(f"{path}: has no column {COLUMN}; name it so")
    texts = table[COLUMN if is_csv else table.columns[0]].str.strip_chars().drop_nulls()
    texts = texts.filter(texts != "")
    ids = texts.cast(pl.Int64, strict=False)
    if ids.null_count():
        wrong = texts.filter(ids.is_null())[0]
        raise StageError(f"{path}: {wrong!r} is no user_id; write whole numbers")
    if not len(ids):
        raise StageError(f"{path}: holds no user; write users into it")
    return ids.to_numpy()


def write_recommendations(batches: Iterable[pl.DataFrame], path: Path) -> int:
    """Write SERVED rows as parquet, one batch in memory at a time; returns their number.

    An interrupted run leaves the file as it was before.
    """
    oldest = pl.CompatLevel.oldest()  # plain texts and lists, which every reader knows
    schema = pl.DataFrame(schema=SERVED).to_arrow(compat_level=oldest).schema
    rows = 0
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for batch in batches:
            writer.write_table(batch.to_arrow(compat_level=oldest))
            rows += batch.height
    return rows


def as_text(table: pl.DataFrame) -> str:
    """The recommendations as lines for people."""
    rows = [["#", "title", "genres", "score", "because you liked", "found by (rank there)"]]
    columns = ("rank", "movie_id", "title", "genres", "score", "because", "found_by")
    for rank, movie, title, genres, score, because, found in table.select(columns).iter_rows():
        name = f"{title} [{movie}]"
        why = because or "(popular)"
        rows.append([str(rank), name, "|".join(genres), f"{score:.3f}", why, ", ".join(found)])
    widths = [min(max(len(row[i]) for row in rows), 48) for i in range(5)]
    return "\n".join("  ".join([*(c[:w].ljust(w) for c, w in zip(r, widths)), r[5]]) for r in rows)


def print_one(chain: Chain, user: int, titles: list[str], top: int) -> None:
    """Print the table for one person."""
    liked = [find_movie(text, chain.catalogue) for text in titles]
    started = time.perf_counter()
    table = chain.for_person(user, liked, top)
    spent = (time.perf_counter() - started) * 1000
    likes = ", ".join(chain.catalogue.filter(pl.col("movie_id").is_in(liked))["title"])
    who = [f"user {user}"] if user != NEW_USER else []
    print(f"For {' who also likes '.join([*who, *([likes] if likes else [])])}:\n")
    print(as_text(table))
    print(f"\n{spent:.0f} ms after loading")


def write_many(chain: Chain, source: str, top: int, path: Path) -> None:
    """Write the recommendations of `all` users, or of those of a file."""
    users = chain.users if source == "all" else np.unique(read_users(Path(source)))
    bar = tqdm(total=len(users), unit="user", disable=not sys.stderr.isatty())
    with bar:
        rows = write_recommendations(chain.for_users(users, top, bar.update), path)
    print(f"{path}: {rows} movies for {len(users)} users")


def parse() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description="Recommend movies from a bundle.")
    parser.add_argument("--user", type=int, default=NEW_USER, help="a user_id of the data set")
    parser.add_argument("--liked", action="append", default=[], help="a title or movie_id")
    parser.add_argument("--users", help="many users: a csv with user_id, a txt of ids, or `all`")
    parser.add_argument("--out", type=Path, help="the parquet file to write for --users")
    parser.add_argument("--top", type=int, default=10, help="how many movies a user gets (10)")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help=f"the folder ({BUNDLE})")
    chosen = parser.parse_args()
    one = chosen.user != NEW_USER or bool(chosen.liked)
    if one == bool(chosen.users):
        parser.error("give --user, or --liked once or more, or --users")
    if bool(chosen.users) != bool(chosen.out):
        parser.error("--users and --out belong together")
    if chosen.out and (chosen.out.suffix != ".parquet" or chosen.out.is_dir()):
        parser.error("--out: name a .parquet file")
    if chosen.top < 1:
        parser.error("--top: give 1 or more")
    return chosen


def main() -> None:
    """Print one person's recommendations, or write those of many users."""
    chosen = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up as after Ctrl-C
    try:
        chain = Chain(chosen.bundle)
        if chosen.users:
            write_many(chain, chosen.users, chosen.top, chosen.out)
        else:
            print_one(chain, chosen.user, chosen.liked, chosen.top)
    except StageError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; nothing was written")


if __name__ == "__main__":
    main()
