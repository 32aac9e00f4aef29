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


def find_movie(text: str, catalogue: pl.DataFrame, ids: pl.DataFrame) -> int:
    """The number of a movie by its id in the raw data, or by its title, whole or its only match.

    Args:
        text: What a person wrote; the case of a title does not matter.
        catalogue: CATALOGUE.
        ids: movie_id and `original`, the id in the raw data.
    """
    known = ids.filter(pl.col("original") == text)
    if known.height:
        return int(known["movie_id"][0])
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


def find_users(texts: pl.Series, ids: pl.DataFrame) -> np.ndarray:
    """The numbers of users by their ids in the raw data.

    Args:
        texts: What a person wrote.
        ids: user_id and `original`, the id in the raw data.

    Raises:
        StageError: Some are unknown.
    """
    found = pl.DataFrame({"original": texts}).join(ids, on="original", how="left")
    missing = found.filter(pl.col("user_id").is_null())["original"].unique(maintain_order=True)
    if len(missing):
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        names = ", ".join(missing.head(5))
        raise StageError(f"user {names}{more}: not in the data; give others, or --liked")
    return found["user_id"].to_numpy()


def read_users(path: Path) -> pl.Series:
    """The ids of a csv file with a column user_id, or of a text file with one id a line.

    Raises:
        StageError: The file is missing or holds no id.
    """
    is_csv = path.suffix.lower() == ".csv"
    try:
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
    if not len(texts):
        raise StageError(f"{path}: holds no user; write users into it")
    return texts


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


def as_text(table: pl.DataFrame, ids: pl.DataFrame) -> str:
    """The recommendations as lines for people; `ids` as in `find_movie`."""
    originals = dict(ids.select("movie_id", "original").iter_rows())
    rows = [["#", "title", "genres", "score", "because you liked", "found by (rank there)"]]
    columns = ("rank", "movie_id", "title", "genres", "score", "because", "found_by")
    for rank, movie, title, genres, score, because, found in table.select(columns).iter_rows():
        name = f"{title} [{originals[movie]}]"
        why = because or "(popular)"
        rows.append([str(rank), name, "|".join(genres), f"{score:.3f}", why, ", ".join(found)])
    widths = [min(max(len(row[i]) for row in rows), 48) for i in range(5)]
    return "\n".join("  ".join([*(c[:w].ljust(w) for c, w in zip(r, widths)), r[5]]) for r in rows)


def print_one(chain: Chain, name: str | None, titles: list[str], top: int) -> None:
    """Print the table for one person."""
    liked = [find_movie(text, chain.catalogue, chain.movie_ids) for text in titles]
    user = NEW_USER if name is None else int(find_users(pl.Series([name]), chain.user_ids)[0])
    started = time.perf_counter()
    table = chain.for_person(user, liked, top)
    spent = (time.perf_counter() - started) * 1000
    likes = ", ".join(chain.catalogue.filter(pl.col("movie_id").is_in(liked))["title"])
    who = [f"user {name}"] if name is not None else []
    print(f"For {' who also likes '.join([*who, *([likes] if likes else [])])}:\n")
    print(as_text(table, chain.movie_ids))
    print(f"\n{spent:.0f} ms after loading")


def write_many(chain: Chain, source: str, top: int, path: Path) -> None:
    """Write the recommendations of `all` users, or of those of a file."""
    users = chain.users
    if source != "all":
        users = np.unique(find_users(read_users(Path(source)), chain.user_ids))
    bar = tqdm(total=len(users), unit="user", disable=not sys.stderr.isatty())
    with bar:
        rows = write_recommendations(chain.for_users(users, top, bar.update), path)
    print(f"{path}: {rows} movies for {len(users)} users")


def parse() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description="Recommend movies from a bundle.")
    parser.add_argument("--user", help="a user_id of the data set")
    parser.add_argument("--liked", action="append", default=[], help="a title or movie_id")
    parser.add_argument("--users", help="many users: a csv with user_id, a txt of ids, or `all`")
    parser.add_argument("--out", type=Path, help="the parquet file to write for --users")
    parser.add_argument("--top", type=int, default=10, help="how many movies a user gets (10)")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help=f"the folder ({BUNDLE})")
    chosen = parser.parse_args()
    one = chosen.user is not None or bool(chosen.liked)
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
