"""Recommend from the bundle, for one person or for many users.

    python -m stages.serving recommend --user 42
    python -m stages.serving recommend --liked "Toy Story (1995)" --liked 260
    python -m stages.serving recommend --users all --out recommendations.parquet

It needs the bundle only; it is no stage of the pipeline.
"""

import stages.serving.one_thread  # noqa: F401

# isort: split
import argparse
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from tqdm import tqdm

from stages.common.console import standard_output
from stages.common.stage import StageError, atomic_write
from stages.serving.raw_ids import find_movie, find_users, read_raw_ids, with_raw_ids
from stages.serving.recommender import NEW_USER, SERVED, Recommender

BUNDLE = Path("data/bundle")
MAX_WIDTH = 48  # characters of a printed column


def write_recommendations(
    batches: Iterable[pl.DataFrame], path: Path, schema: pl.Schema = SERVED
) -> int:
    """Write rows as parquet, with one batch in memory at a time; return their number.

    If the run is interrupted, an existing file stays as it is.
    """
    oldest = pl.CompatLevel.oldest()  # plain texts and lists, which every reader knows
    arrow_schema = pl.DataFrame(schema=schema).to_arrow(compat_level=oldest).schema
    rows = 0
    with atomic_write(path) as temporary, pq.ParquetWriter(temporary, arrow_schema) as writer:
        for batch in batches:
            writer.write_table(batch.to_arrow(compat_level=oldest))
            rows += batch.height
    return rows


def shorten(text: str, end: str = "") -> str:
    """Return `text` and `end`; a `text` that is too long for `MAX_WIDTH` is cut, `end` never."""
    width = MAX_WIDTH - len(end)
    return (text if len(text) <= width else f"{text[: max(width - 3, 0)]}...") + end


def id_suffix(title: str, raw_id: str) -> str:
    """Return the raw id in square brackets, or nothing if it is the title, as without titles."""
    return "" if title == raw_id else f" [{raw_id}]"


def format_table(recommendations: pl.DataFrame, movie_ids: pl.DataFrame) -> str:
    """Return SERVED rows of one person as lines of text, with raw ids in square brackets.

    Long titles and genres are cut, ids never. A movie without a title has its id as title.

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
                shorten(row["title"], id_suffix(row["title"], raw_ids[row["movie_id"]])),
                shorten("|".join(row["genres"])),
                f"{row['score']:.3f}",
                shorten(row["explanation"] or "(popular)"),
                ", ".join(row["generators"]),
            ]
        )
    widths = [max(map(len, column)) for column in list(zip(*lines))[:-1]]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths)), line[-1]])
        for line in lines
    )


def print_for_person(
    recommender: Recommender, raw_id: str | None, liked_texts: list[str], top: int
) -> None:
    """Print the recommendations for one user, or for a new person if `raw_id` is None."""
    movie_ids = recommender.movie_ids
    liked = [find_movie(text, recommender.catalogue, movie_ids) for text in liked_texts]
    user, name = NEW_USER, "a new user"
    if raw_id is not None:
        user, name = int(find_users(pl.Series([raw_id]), recommender.user_ids)[0]), f"user {raw_id}"
    start = time.perf_counter()
    recommendations = recommender.for_person(user, liked, top)
    milliseconds = (time.perf_counter() - start) * 1000
    movies = recommender.catalogue.filter(pl.col("movie_id").is_in(liked))
    movies = movies.join(movie_ids, on="movie_id", how="left", maintain_order="left")
    titles = [t + id_suffix(t, raw_id) for t, raw_id in movies["title", "raw_id"].iter_rows()]
    verb = "likes" if raw_id is None else "also likes"
    likes = f" who {verb} {', '.join(titles)}" if titles else ""
    print(f"For {name}{likes}:\n")
    print(format_table(recommendations, movie_ids))
    print(f"\n{milliseconds:.0f} ms after loading")


def write_for_users(recommender: Recommender, source: str, top: int, path: Path) -> None:
    """Write the recommendations for all users, or for the users in the file `source`."""
    users, user_ids = recommender.users, recommender.user_ids
    if source != "all":
        users = np.unique(find_users(read_raw_ids(Path(source)), user_ids))

    def own_ids(table: pl.DataFrame) -> pl.DataFrame:
        return with_raw_ids(table, user_ids, recommender.movie_ids)

    schema = own_ids(pl.DataFrame(schema=SERVED)).schema
    bar = tqdm(total=len(users), unit="user", disable=not sys.stderr.isatty())
    with bar:
        batches = map(own_ids, recommender.for_users(users, top, bar.update))
        rows = write_recommendations(batches, path, schema)
    print(f"{path}: {rows} movies for {len(users)} users")


def utf8(argument: str) -> str:
    """Return an argument as the UTF-8 text that it is, whatever the locale says.

    Bytes that are not UTF-8 become U+FFFD, which no title has.
    """
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def utf8_path(argument: str) -> Path:
    """Return an argument as a path that every library here can open."""
    if utf8(argument) != argument:
        raise argparse.ArgumentTypeError("is not UTF-8 here; rename it, or set PYTHONUTF8=1")
    return Path(argument)


def parse_arguments() -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.serving recommend", description="Recommend movies from a bundle."
    )
    parser.add_argument("--user", action="append", type=utf8, help="a user's id in the data set")
    liked_help = "a movie's title or id; id:ID is never a title"
    parser.add_argument("--liked", action="append", type=utf8, default=[], help=liked_help)
    parser.add_argument("--users", help="many users: a csv with user_id, a txt of ids, or `all`")
    parser.add_argument("--out", type=utf8_path, help="the parquet file to write for --users")
    parser.add_argument("--top", type=int, default=10, help="movies per user (10)")
    parser.add_argument("--bundle", type=utf8_path, default=BUNDLE, help=f"the folder ({BUNDLE})")
    arguments = parser.parse_args()
    if arguments.user is not None:
        if len(arguments.user) > 1:
            parser.error("--user: give one user, or a file of users with --users")
        arguments.user = arguments.user[0]
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


@standard_output()
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
