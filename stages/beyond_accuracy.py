"""Stage: novelty, diversity, calibration and other qualities of every system's test lists."""

import dataclasses
from pathlib import Path
from typing import Literal

import polars as pl

from stages.common.files import write_csv, write_json
from stages.common.params import load_params, read_seed, read_value
from stages.common.stage import atomic_write, run_stage
from stages.common.systems import (
    BASELINE,
    LeaderboardParams,
    block_names,
    require_baseline,
    system_list_paths,
    system_names,
)
from stages.common.tables import (
    POPULARITY,
    RANKS,
    RATINGS,
    RECOMMENDATIONS,
    read_table,
)
from stages.data.queries import ratings_by_query
from stages.data.snapshots import TEST_SNAPSHOT, read_histories, read_positives, read_seen
from stages.evaluation.board import as_markdown
from stages.evaluation.bootstrap import mean_intervals
from stages.evaluation.list_quality import (
    QUALITIES,
    ListContext,
    build_list_context,
    gini,
    list_quality,
)
from stages.evaluation.metrics import LIST_LENGTH, mean_by_user

GINI = f"gini@{LIST_LENGTH}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    """The files and folders that the lists are compared with."""

    candidates: Path
    recommendations: Path
    ranks: Path
    ratings: Path
    histories: Path
    seen: Path
    movies: Path
    embeddings: Path  # of all retrievers


def later_low_ratings(
    ratings: pl.DataFrame, queries: pl.DataFrame, min_rating: float
) -> pl.DataFrame:
    """Return user_id and movie_id of the low ratings that are not known before each query.

    Args:
        ratings: RATINGS.
        queries: HISTORIES.
        min_rating: The lowest rating of a positive.
    """
    low = ratings.filter(pl.col("rating") < min_rating)
    later = ratings_by_query(low, queries).filter(~pl.col("known"))
    return later.select("user_id", "movie_id")


def read_context(
    sources: Sources, targets: pl.DataFrame, popular_lists: pl.DataFrame
) -> ListContext:
    """Read what the lists are compared with.

    Args:
        sources: The files and folders.
        targets: RANKS of any system.
        popular_lists: The top of the popularity baseline's lists.
    """
    movies, snapshot = sources.movies, f"{TEST_SNAPSHOT}.parquet"
    retriever = read_value("evaluate.item_vectors", Literal[tuple(block_names("retrievers"))])
    return build_list_context(
        users=targets["user_id"].unique().sort().to_numpy(),
        popularity=read_table(movies / "popularity" / snapshot, POPULARITY),
        genres=read_table(movies / "genres.parquet"),
        vectors=read_table(sources.embeddings / retriever / TEST_SNAPSHOT / "movies.parquet"),
        num_users=read_positives(sources.histories, TEST_SNAPSHOT)["user_id"].n_unique(),
        positives=read_seen(sources.seen, TEST_SNAPSHOT).filter("positive"),
        popular_lists=popular_lists,
        targets=targets,
        disliked=later_low_ratings(
            read_table(sources.ratings, RATINGS),
            read_histories(sources.histories, TEST_SNAPSHOT),
            read_value("positives.min_rating", float),
        ),
    )


def main(sources: Sources, board: Path, text: Path, interval_table: Path) -> str:
    """Write the means of every system as JSON and Markdown, and their intervals as CSV."""
    params, systems = load_params(LeaderboardParams, "leaderboard"), system_names()
    require_baseline(systems)
    paths = system_list_paths(systems, sources.candidates, sources.recommendations)

    def read_top(system: str) -> pl.DataFrame:
        lists = read_table(paths[system], RECOMMENDATIONS)
        return lists.filter(pl.col("rank") <= LIST_LENGTH)

    targets = read_table(sources.ranks / f"{BASELINE}.parquet", RANKS)
    tops = {system: read_top(system) for system in systems}
    context = read_context(sources, targets, tops[BASELINE])
    candidates = context.movie_ids[context.counts > 0]
    per_user, ginis = {}, {}
    for system, top in tops.items():
        quality = mean_by_user(list_quality(top, context, LIST_LENGTH), targets)
        per_user[system] = quality.rename({name: f"{name}@{LIST_LENGTH}" for name in QUALITIES})
        evaluated = top.filter(pl.col("user_id").is_in(context.users))
        ginis[system] = gini(evaluated, candidates, LIST_LENGTH)
    metrics = [f"{name}@{LIST_LENGTH}" for name in QUALITIES]
    table = mean_intervals(per_user, metrics, params.resamples, read_seed())
    rows: dict[str, dict[str, float]] = {system: {} for system in systems}
    for system, metric, value in table.select("system", "metric", "value").iter_rows():
        rows[system][metric] = value
    for system, value in ginis.items():
        rows[system][GINI] = value
    write_json(rows, board)
    write_csv(table, interval_table)
    with atomic_write(text) as temporary:
        temporary.write_text(as_markdown(rows, list(rows[BASELINE])), encoding="utf-8")
    return f"{len(systems)} systems, {len(context.users):,} queries"


if __name__ == "__main__":
    run_stage(main)
