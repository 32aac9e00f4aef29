"""Stage: count the positives of each movie that each snapshot knows."""

from pathlib import Path

import polars as pl

from stages.common.stage import run_stage
from stages.common.tables import CATALOGUE, POPULARITY, read_table, write_table
from stages.data.snapshots import SNAPSHOTS, known_rows, read_positives
from stages.parallel.executor import Tables, map_user_shards


def count_positives(catalogue: pl.DataFrame, positives: pl.DataFrame) -> pl.DataFrame:
    """Return POPULARITY of all movies of the catalogue, sorted by movie.

    Movies with equal counts share the worst of their ranks. `positives` has user_id and movie_id.
    """

    def count(shard: pl.DataFrame) -> Tables:
        return (shard.group_by("movie_id").agg(positives=pl.len()),)

    parts = pl.concat([counts for (counts,) in map_user_shards("popularity", count, positives)])
    counts = parts.group_by("movie_id").agg(pl.col("positives").sum())
    table = catalogue.select("movie_id").join(counts, on="movie_id", how="left").fill_null(0)
    rank = pl.col("positives").rank("max", descending=True)
    return table.with_columns(popularity_rank=rank).sort("movie_id")


def main(catalogue: Path, histories: Path, popularity: Path) -> str:
    """Write POPULARITY of every snapshot."""
    movies, positives = read_table(catalogue, CATALOGUE), read_positives(histories)
    for snapshot in SNAPSHOTS:
        counts = count_positives(movies, known_rows(positives, snapshot))
        write_table(counts, popularity / f"{snapshot}.parquet", POPULARITY)
    return f"{positives.height:,} positives of {movies.height:,} movies"


if __name__ == "__main__":
    run_stage(main)
