"""Stage: turn each movie's genres into 0/1 columns."""

from pathlib import Path

import polars as pl

from stages.common.stage import run_stage
from stages.common.tables import CATALOGUE, read_table, write_table


def genre_columns(catalogue: pl.DataFrame) -> pl.DataFrame:
    """CATALOGUE -> movie_id and one u8 column `genre_<name>` per genre, sorted by name.

    A movie without genres has a row of zeros. If no movie has a genre, the only column is
    `genre_none`, all zeros, because a table without columns has no rows.
    """
    names = catalogue["genres"].explode().drop_nulls().unique().sort().to_list()
    if not names:
        return catalogue.select("movie_id", genre_none=pl.lit(0, pl.UInt8))
    flags = [pl.col("genres").list.contains(n).cast(pl.UInt8).alias(f"genre_{n}") for n in names]
    return catalogue.select("movie_id", *flags)


def main(catalogue: Path, genres: Path) -> str:
    """Read CATALOGUE, write the genre table."""
    table = genre_columns(read_table(catalogue, CATALOGUE))
    write_table(table, genres, table.schema)
    return f"{table.height:,} movies, {table.width - 1} genres"


if __name__ == "__main__":
    run_stage(main)
