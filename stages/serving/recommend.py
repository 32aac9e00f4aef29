"""Recommend from the bundle, for one person or for many users.

    python -m stages.serving recommend --user 42
    python -m stages.serving recommend --liked "Toy Story" --disliked Contact --seen Fargo
    python -m stages.serving recommend --ratings letterboxd/ratings.csv
    python -m stages.serving recommend --users all --out recommendations.parquet
    python -m stages.serving recommend --user 42 --as-evaluated  # without the user's test target

It needs the bundle only; it is no stage of the pipeline.
"""

import stages.serving.one_thread  # noqa: F401

# isort: split
import argparse
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from stages.cli.progress import progress
from stages.common.console import standard_output
from stages.common.stage import StageError
from stages.serving.arguments import BUNDLE, FEEDBACK, parse_recommend
from stages.serving.feedback import Feedback, join_feedback
from stages.serving.output import format_table, write_file, write_rows
from stages.serving.pipeline import NEW_USER, SERVED, ServingPipeline
from stages.serving.ratings_file import match_ratings
from stages.serving.raw_ids import (
    MAX_CHOICES,
    abbreviate,
    find_users,
    id_suffix,
    quote,
    read_raw_ids,
)
from stages.serving.title_search import TitleSearch

__all__ = ["BUNDLE", "main"]


def read_feedback(
    recommender: ServingPipeline, arguments: argparse.Namespace
) -> tuple[Feedback, Feedback]:
    """Return the movies of the options, and these after those of the file of ratings.

    Where both name a movie, the option counts.

    Raises:
        StageError: A movie is not found, is both liked and disliked, or the file has none.
    """
    if not (arguments.ratings or any(getattr(arguments, kind) for kind in FEEDBACK)):
        return Feedback(), Feedback()
    search = TitleSearch(recommender.catalogue, recommender.movie_ids, recommender.popularity)
    options = Feedback(
        *(
            [search.find(text, f"--{kind}") for text in getattr(arguments, kind)]
            for kind in FEEDBACK
        )
    )
    for text, movie in zip(arguments.disliked, options.disliked):
        if movie in options.liked:
            raise StageError(f"--disliked {quote(text)}: is also --liked; give it once")
    ratings = Feedback()
    if arguments.ratings:
        ratings, summary = match_ratings(arguments.ratings, search)
        print(summary, file=sys.stderr)
    return options, join_feedback(ratings, options)


def describe_person(
    recommender: ServingPipeline, raw_id: str | None, options: Feedback, feedback: Feedback
) -> str:
    """Return who gets recommendations, with the movies that this person speaks of.

    All movies of the options are named, as they may be typed in many ways, and some of the others.
    """
    titles = recommender.catalogue.select("movie_id", "title").join(
        recommender.movie_ids, on="movie_id", how="left"
    )
    names = {movie: t + id_suffix(t, i) for movie, t, i in titles.iter_rows()}
    also = "" if raw_id is None else "also "
    verbs = (f"{also}likes", "rates low", "has seen")
    clauses = []
    for verb, typed, movies in zip(verbs, options, feedback):
        # An option's movie that is also of another kind is named there.
        first = [movie for movie in typed if movie in movies]
        texts = [names[movie] for movie in dict.fromkeys([*first, *movies])]
        if texts:
            clauses.append(f"{verb} {abbreviate(texts, len(set(first)) + MAX_CHOICES)}")
    name = "a new user" if raw_id is None else f"user {raw_id}"
    return f"For {name}{' who ' if clauses else ''}{' and '.join(clauses)}"


def recommend_to_people(
    recommender: ServingPipeline,
    arguments: argparse.Namespace,
    options: Feedback,
    feedback: Feedback,
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield a description and SERVED rows of each user of `--user`, or of a new person."""
    raw_ids = list(dict.fromkeys(arguments.user)) or [None]
    users = [NEW_USER]
    if arguments.user:
        users = find_users(pl.Series(raw_ids), recommender.user_ids).tolist()
        recommender.history_rows(np.array(users))  # names all users without a positive
    for raw_id, user in zip(raw_ids, users):
        rows = recommender.for_person(
            user,
            feedback.liked,
            arguments.top,
            disliked=feedback.disliked,
            seen=feedback.seen,
        )
        yield describe_person(recommender, raw_id, options, feedback), rows


def recommend_to_users(
    recommender: ServingPipeline, arguments: argparse.Namespace
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield nothing to print, and SERVED rows of a batch of the users of `--users`."""
    users = recommender.users
    if arguments.users != "all":
        raw_ids = read_raw_ids(Path(arguments.users))
        users = np.unique(find_users(raw_ids, recommender.user_ids))
    with progress("users", len(users), enable=bool(arguments.out)) as advance:
        for batch in recommender.for_users(users, arguments.top, advance):
            yield "", batch


def print_tables(
    recommender: ServingPipeline, arguments: argparse.Namespace, people: Iterator
) -> None:
    """Print a table for each user."""
    raw_ids = dict(recommender.user_ids.select("user_id", "raw_id").iter_rows())
    gap = ""
    start = time.perf_counter()
    for person, batch in people:
        milliseconds = (time.perf_counter() - start) * 1000
        for table in [batch] if person else batch.partition_by("user_id", maintain_order=True):
            heading = person or f"For user {raw_ids[table['user_id'][0]]}"
            print(f"{gap}{heading}:\n")
            print(format_table(table, recommender.movie_ids, arguments.explain))
            gap = "\n"
    if not arguments.users and len(arguments.user) < 2:
        print(f"\n{milliseconds:.0f} ms after loading")


def write_machine_format(
    recommender: ServingPipeline, arguments: argparse.Namespace, people: Iterator
) -> None:
    """Write rows of all users to the file or to standard output."""

    def batches() -> Iterator[pl.DataFrame]:
        for person, batch in people:
            if " who " in person:
                print(person, file=sys.stderr)
            counts.append((batch.height, batch["user_id"].n_unique()))
            yield recommender.with_raw_ids(batch)

    counts: list[tuple[int, int]] = []
    schema = recommender.with_raw_ids(pl.DataFrame(schema=SERVED)).schema
    if arguments.out:
        write_file(batches(), arguments.out, arguments.format, schema)
        rows, users = map(sum, zip(*counts))
        print(f"{arguments.out}: {rows} movies for {users} users")
    elif sys.stdout is None:
        raise StageError("standard output: is closed; give --out")
    else:
        write_rows(batches(), sys.stdout.buffer, arguments.format, schema)


@standard_output()
def main() -> None:
    """Print or write the recommendations for one person, or for many users."""
    arguments = parse_recommend()
    # SIGTERM then removes temporary files as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        recommender = ServingPipeline(arguments.bundle)
        if arguments.users:
            people = recommend_to_users(recommender, arguments)
        else:
            options, feedback = read_feedback(recommender, arguments)
            people = recommend_to_people(recommender, arguments, options, feedback)
        write = print_tables if arguments.format == "table" else write_machine_format
        write(recommender, arguments, people)
    except StageError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; no file was written")


if __name__ == "__main__":
    main()
