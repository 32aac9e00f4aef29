"""Expand a real data set to any size, for measurements of time and memory.

    python -m benchmarks.expand --base path/to/ml-1m --like ml-20m --out /tmp/expanded

`--base` is a folder in any raw format. `--out` becomes a folder for `data.source`, in GroupLens's
csv, or in parquet with `--format parquet`. The program prints a comparison of the result with the
base and with the data set that it imitates.

The method is a bootstrap of whole users with relabelled movies (`benchmarks.expansion`). It serves
to measure cost only: users that are copies of one base user are nearly alike, so the accuracy of
recommendations on the result means nothing.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from benchmarks.expansion import Base, Size, expand, expand_catalogue, family_sizes, read_base

SIZES = {
    "ml-20m": Size(ratings=20_000_263, users=138_493, movies=26_744),
    "1m": Size(ratings=1_000_000, users=6_000, movies=3_700),
    "5m": Size(ratings=5_000_000, users=34_600, movies=14_000),
    "100m": Size(ratings=100_000_000, users=692_000, movies=60_000),
}
# Quartiles and maxima of ML-20M, from its ratings.csv.
REAL_SPREADS = {
    "ml-20m": {"ratings per user": (35, 68, 155, 9254), "per movie": (3, 18, 205, 67310)}
}


def write_batches(tables: Iterator[pl.DataFrame], path: Path) -> Iterator[pl.DataFrame]:
    """Append every table to the csv or parquet file, and yield it."""
    writer = None
    with path.open("wb") as file:
        for table in tables:
            if path.suffix == ".csv":
                table.write_csv(file, include_header=file.tell() == 0)
            else:
                rows = table.to_arrow()
                writer = writer or pq.ParquetWriter(file, rows.schema)
                writer.write_table(rows)
            yield table
        if writer:
            writer.close()


def spread(counts: np.ndarray) -> tuple[int, ...]:
    """Return the quartiles and the maximum."""
    return tuple(int(x) for x in np.percentile(counts, [25, 50, 75, 100]))


def describe(base: Base, user_counts: np.ndarray, movie_counts: np.ndarray, like: str) -> str:
    """Return a table that compares the base, the result and the data set `like`.

    Args:
        base: The base.
        user_counts: [users] ratings of each user of the result.
        movie_counts: [movies] ratings of each movie of the result.
        like: A key of `SIZES`.
    """
    lines = ["| | base | expanded | " + like + " |", "| --- | ---: | ---: | ---: |"]
    base_size = Size(len(base.movies), len(base.starts) - 1, len(base.counts))
    size = Size(user_counts.sum(), len(user_counts), (movie_counts > 0).sum())
    for name, *figures in zip(Size._fields, base_size, size, SIZES[like]):
        lines.append(f"| {name} | " + " | ".join(f"{figure:,}" for figure in figures) + " |")
    real_spreads = REAL_SPREADS.get(like, {})
    pairs = {
        "ratings per user": (np.diff(base.starts), user_counts),
        "per movie": (base.counts, movie_counts[movie_counts > 0]),
    }
    for name, (base_counts, counts) in pairs.items():
        spreads = [spread(base_counts), spread(counts), real_spreads.get(name, ())]
        cells = [" / ".join(f"{x:,}" for x in figures) for figures in spreads]
        lines.append(f"| {name}: quartiles, maximum | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, write the folder, and print the comparison."""
    parser = argparse.ArgumentParser(description="Expand a data set, for measurements.")
    parser.add_argument("--base", type=Path, required=True, help="a folder with raw files")
    parser.add_argument("--like", choices=SIZES, default="ml-20m", help="the size to reach")
    parser.add_argument("--out", type=Path, required=True, help="a folder to create")
    parser.add_argument(
        "--format", choices=("csv", "parquet"), default="csv", help="of the files (csv)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all random numbers (1)")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    base, size = read_base(options.base), SIZES[options.like]
    counts = base.counts * (size.ratings / len(base.movies))
    sizes = family_sizes(counts, size.movies, np.random.default_rng(options.seed))
    expand_catalogue(base, sizes).write_csv(options.out / "movies.csv")
    user_counts = np.zeros(size.users, dtype=np.int64)
    movie_counts = np.zeros(sizes.sum(), dtype=np.int64)
    tables = expand(base, size, sizes, options.seed)
    for table in write_batches(tables, options.out / f"ratings.{options.format}"):
        user_counts += np.bincount(table["userId"] - 1, minlength=len(user_counts))
        movie_counts += np.bincount(table["movieId"] - 1, minlength=len(movie_counts))
    print(describe(base, user_counts, movie_counts, options.like))


if __name__ == "__main__":
    main()
