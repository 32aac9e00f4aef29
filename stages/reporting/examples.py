"""Example users for the report: their newest positives, and their list after each step.

The users are chosen by their number of positives; no test target is read.
"""

import polars as pl

QUANTILES = (0.1, 0.5, 0.9)  # of the number of positives


def choose_users(histories: pl.DataFrame, users: pl.Series) -> list[int]:
    """Choose a user with few, one with average and one with many positives.

    Args:
        histories: HISTORIES of the snapshot `test`.
        users: The ids of the users who have recommendations.

    Returns:
        Up to three user ids, fewest positives first.
    """
    matches = histories.filter(pl.col("user_id").is_in(users.implode()))
    ids = matches.sort("history_length", "user_id")["user_id"].to_list()
    examples = [ids[int(quantile * (len(ids) - 1))] for quantile in QUANTILES if ids]
    return list(dict.fromkeys(examples))


def newest_positives(
    histories: pl.DataFrame, user: int, catalogue: pl.DataFrame, count: int
) -> pl.DataFrame:
    """Return title and genres of the user's `count` newest positives, newest first."""
    history = histories.filter(pl.col("user_id") == user).select(movie_id="history")
    newest = history.explode("movie_id").reverse().head(count)
    return newest.join(catalogue, on="movie_id", how="left", maintain_order="left").select(
        "title", "genres"
    )


def step_heads(
    steps: dict[str, pl.DataFrame], user: int, catalogue: pl.DataFrame, count: int
) -> dict[str, pl.DataFrame]:
    """Return the head of the user's list after every step, with the ranks before that step.

    Args:
        steps: RECOMMENDATIONS by step, in the order of the pipeline.
        user: The user's id.
        catalogue: CATALOGUE.
        count: The length of a head.

    Returns:
        By step: rank, title, genres, and `rank_<step>` for each step before it, null where the
        list of that step lacks the movie.
    """
    heads: dict[str, pl.DataFrame] = {}
    lists_before: dict[str, pl.DataFrame] = {}
    for step, table in steps.items():
        ranks = table.filter(pl.col("user_id") == user).select("movie_id", "rank").sort("rank")
        head = ranks.head(count)
        head = head.join(catalogue, on="movie_id", how="left", maintain_order="left")
        for step_before, ranks_before in lists_before.items():
            column = ranks_before.rename({"rank": f"rank_{step_before}"})
            head = head.join(column, on="movie_id", how="left", maintain_order="left")
        heads[step] = head.select("rank", "title", "genres", pl.col("^rank_.*$"))
        lists_before[step] = ranks
    return heads
