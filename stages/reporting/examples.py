"""Example users for the report: what they liked, and what each step of the chain made of it.

Chosen by the number of their likings; no test target is looked at.
"""

import polars as pl

SHARES = (0.1, 0.5, 0.9)  # of the users, ordered by their number of likings


def choose_users(histories: pl.DataFrame, users: pl.Series) -> list[int]:
    """One user with few, one with average and one with many likings; equal ones by user_id.

    Args:
        histories: HISTORIES before the test targets.
        users: Those who have recommendations.

    Returns:
        Up to three user ids, fewest likings first.
    """
    known = histories.filter(pl.col("user_id").is_in(users.implode()))
    ordered = known.sort("history_length", "user_id")["user_id"].to_list()
    chosen = [ordered[int(share * (len(ordered) - 1))] for share in SHARES if ordered]
    return list(dict.fromkeys(chosen))


def newest_likings(
    histories: pl.DataFrame, user: int, catalogue: pl.DataFrame, count: int
) -> pl.DataFrame:
    """title and genres of the `count` movies that the user liked last, newest first."""
    history = histories.filter(pl.col("user_id") == user).select(movie_id="history")
    newest = history.explode("movie_id").reverse().head(count)
    return newest.join(catalogue, on="movie_id", how="left", maintain_order="left").select(
        "title", "genres"
    )


def chain(
    steps: dict[str, pl.DataFrame], user: int, catalogue: pl.DataFrame, count: int
) -> dict[str, pl.DataFrame]:
    """The head of the user's list at every step, and where its movies stood in earlier steps.

    Args:
        steps: RECOMMENDATIONS by step, in the order of the chain.
        user: The user's id.
        catalogue: CATALOGUE.
        count: Length of a head.

    Returns:
        By step: rank, title, genres, and `rank_<step>` for each earlier step, null where that
        step's list lacks the movie.
    """
    heads: dict[str, pl.DataFrame] = {}
    lists: dict[str, pl.DataFrame] = {}
    for name, table in steps.items():
        mine = table.filter(pl.col("user_id") == user).select("movie_id", "rank").sort("rank")
        head = mine.head(count)
        head = head.join(catalogue, on="movie_id", how="left", maintain_order="left")
        for earlier, ranks in lists.items():
            named = ranks.rename({"rank": f"rank_{earlier}"})
            head = head.join(named, on="movie_id", how="left", maintain_order="left")
        heads[name] = head.select("rank", "title", "genres", pl.col("^rank_.*$"))
        lists[name] = mine
    return heads
