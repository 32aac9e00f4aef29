"""Recommend from the bundle, for one person or for many users.

    python -m stages.serving recommend --user 42
    python -m stages.serving recommend --liked "Toy Story (1995)" --liked 260
    python -m stages.serving recommend --users all --out recommendations.parquet

It needs the bundle only; it is no stage of the pipeline.
"""

import stages.serving.one_thread  # noqa: F401

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

from stages.common.stage import StageError, atomic_write
from stages.serving.recommender import NEW_USER, SERVED, Recommender, abbreviate

BUNDLE = Path("data/bundle")
USER_COLUMN = "user_id"
MAX_WIDTH = 48  # characters of a printed column


def find_movie(text: str, catalogue: pl.DataFrame, movie_ids: pl.DataFrame) -> int:
    """Return the movie_id for a raw id or a title, in upper or lower case.

    A title is the whole title of a movie, or a part that only one title contains.

    Args:
        text: The raw id or title.
        catalogue: CATALOGUE.
        movie_ids: movie_id and raw_id.

    Raises:
        StageError: No movie matches, or several do.
    """
    by_id = movie_ids.filter(pl.col("raw_id") == text)
    if by_id.height:
        return int(by_id["movie_id"][0])
    title = pl.col("title").str.to_lowercase()
    matches = catalogue.filter(title == text.lower())
    if not matches.height:
        matches = catalogue.filter(title.str.contains(text.lower(), literal=True))
    if matches.height == 1:
        return int(matches["movie_id"][0])
    if matches.height:
        titles = matches["title"].head(5).to_list()
        raise StageError(f"--liked {text!r}: fits {matches.height} movies; give one of {titles}")
    titles = difflib.get_close_matches(text, catalogue["title"].to_list(), 3, cutoff=0.4)
    raise StageError(f"--liked {text!r}: no such movie; did you mean one of {titles}?")


def find_users(raw_ids: pl.Series, user_ids: pl.DataFrame) -> np.ndarray:
    """Return the user_id of each of `raw_ids`.

    Args:
        raw_ids: Ids of the raw data, as text.
        user_ids: user_id and raw_id.

    Raises:
        StageError: Some are not in the data.
    """
    users = pl.DataFrame({"raw_id": raw_ids}).join(
        user_ids, on="raw_id", how="left", maintain_order="left"
    )
    missing = users.filter(pl.col("user_id").is_null())["raw_id"].unique(maintain_order=True)
    if len(missing):
        names = abbreviate(missing.to_list())
        raise StageError(f"user {names}: not in the data; give others, or --liked")
    return users["user_id"].to_numpy()


def read_raw_ids(path: Path) -> pl.Series:
    """Read users' raw ids: the column user_id of a csv file, or the lines of a text file.

    Raises:
        StageError: The file is missing, unreadable or without an id.
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
    if is_csv and USER_COLUMN not in table.columns:
        raise StageError(f"{path}: has no column {USER_COLUMN}; rename the column of the ids")
    raw_ids = table[USER_COLUMN if is_csv else table.columns[0]].str.strip_chars().drop_nulls()
    raw_ids = raw_ids.filter(raw_ids != "")
    if not len(raw_ids):
        raise StageError(f"{path}: holds no user; write users into it")
    return raw_ids


def write_recommendations(batches: Iterable[pl.DataFrame], path: Path) -> int:
    """Write SERVED rows as parquet, with one batch in memory at a time; return their number.

    If the run is interrupted, an existing file stays as it is.
    """
    oldest = pl.CompatLevel.oldest()  # plain texts and lists, which every reader knows
    schema = pl.DataFrame(schema=SERVED).to_arrow(compat_level=oldest).schema
    rows = 0
    with atomic_write(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for batch in batches:
            writer.write_table(batch.to_arrow(compat_level=oldest))
            rows += batch.height
    return rows


def format_table(recommendations: pl.DataFrame, movie_ids: pl.DataFrame) -> str:
    """Return SERVED rows of one person as lines of text, with raw ids in square brackets.

    Args:
        recommendations: SERVED.
        movie_ids: movie_id and raw_id.
    """
    raw_ids = dict(movie_ids.select("movie_id", "raw_id").iter_rows())
    lines = [["#", "title", "genres", "score", "because you liked", "found by (rank there)"]]
    for row in recommendations.iter_rows(named=True):
        lines.append(
            [
                str(row["rank"]),
                f"{row['title']} [{raw_ids[row['movie_id']]}]",
                "|".join(row["genres"]),
                f"{row['score']:.3f}",
                row["explanation"] or "(popular)",
                ", ".join(row["generators"]),
            ]
        )
    widths = [min(max(map(len, column)), MAX_WIDTH) for column in list(zip(*lines))[:-1]]
    return "\n".join(
        "  ".join([*(cell[:width].ljust(width) for cell, width in zip(line, widths)), line[-1]])
        for line in lines
    )


def print_for_person(
    recommender: Recommender, raw_id: str | None, liked_texts: list[str], top: int
) -> None:
    """Print the recommendations for one user, or for a new person if `raw_id` is None."""
    liked = [find_movie(text, recommender.catalogue, recommender.movie_ids) for text in liked_texts]
    user, name = NEW_USER, "a new user"
    if raw_id is not None:
        user, name = int(find_users(pl.Series([raw_id]), recommender.user_ids)[0]), f"user {raw_id}"
    start = time.perf_counter()
    recommendations = recommender.for_person(user, liked, top)
    milliseconds = (time.perf_counter() - start) * 1000
    titles = recommender.catalogue.filter(pl.col("movie_id").is_in(liked))["title"]
    verb = "likes" if raw_id is None else "also likes"
    likes = f" who {verb} {', '.join(titles)}" if len(titles) else ""
    print(f"For {name}{likes}:\n")
    print(format_table(recommendations, recommender.movie_ids))
    print(f"\n{milliseconds:.0f} ms after loading")


def write_for_users(recommender: Recommender, source: str, top: int, path: Path) -> None:
    """Write the recommendations for all users, or for the users in the file `source`."""
    users = recommender.users
    if source != "all":
        users = np.unique(find_users(read_raw_ids(Path(source)), recommender.user_ids))
    bar = tqdm(total=len(users), unit="user", disable=not sys.stderr.isatty())
    with bar:
        rows = write_recommendations(recommender.for_users(users, top, bar.update), path)
    print(f"{path}: {rows} movies for {len(users)} users")


def parse_arguments() -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.serving recommend", description="Recommend movies from a bundle."
    )
    parser.add_argument("--user", help="a user's id in the data set")
    parser.add_argument("--liked", action="append", default=[], help="a movie's title or id")
    parser.add_argument("--users", help="many users: a csv with user_id, a txt of ids, or `all`")
    parser.add_argument("--out", type=Path, help="the parquet file to write for --users")
    parser.add_argument("--top", type=int, default=10, help="movies per user (10)")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help=f"the folder ({BUNDLE})")
    arguments = parser.parse_args()
    is_one_person = arguments.user is not None or bool(arguments.liked)
    if is_one_person == bool(arguments.users):
        parser.error("give --user, or --liked once or more, or --users")
    if bool(arguments.users) != bool(arguments.out):
        parser.error("--users and --out belong together")
    if arguments.out and (arguments.out.suffix != ".parquet" or arguments.out.is_dir()):
        parser.error("--out: name a .parquet file")
    if arguments.top < 1:
        parser.error("--top: give 1 or more")
    return arguments


def main() -> None:
    """Print the recommendations for one person, or write those for many users."""
    arguments = parse_arguments()
    # SIGTERM then removes temporary files as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        recommender = Recommender(arguments.bundle)
        if arguments.users:
            write_for_users(recommender, arguments.users, arguments.top, arguments.out)
        else:
            print_for_person(recommender, arguments.user, arguments.liked, arguments.top)
    except StageError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; nothing was written")


if __name__ == "__main__":
    main()
