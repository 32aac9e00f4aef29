"""The users of the data, as the demo's page names and describes them."""

from http import HTTPStatus
from typing import Any

import numpy as np
import polars as pl

from stages.serving.local_server import RequestError
from stages.serving.raw_ids import quote

MAX_ID = 100  # characters
MAX_USERS = 12  # that are suggested at once
NEWEST = 3  # liked movies that describe a user


class DemoUsers:
    """Users by their raw ids."""

    def __init__(self, histories: pl.DataFrame, user_ids: pl.DataFrame) -> None:
        """Take HISTORIES, sorted by user, and user_id and raw_id of all users of the data."""
        self.histories = histories
        self.numbers = dict(user_ids.select("raw_id", "user_id").iter_rows())
        served = user_ids.join(histories, on="user_id", how="semi", maintain_order="left")
        self.served_ids = served["raw_id"]

    def suggest(self, start: str) -> list[str]:
        """Return the first raw ids that begin with `start`, of users with recommendations."""
        return self.served_ids.filter(self.served_ids.str.starts_with(start))[:MAX_USERS].to_list()

    def row(self, raw_id: Any) -> int:
        """Return the row of a user in the histories.

        Raises:
            RequestError: `raw_id` is no id of a user of the data, or the user has no positive.
        """
        if not isinstance(raw_id, str) or not 0 < len(raw_id) <= MAX_ID:
            message = f"user: give the id of a user as text of up to {MAX_ID} characters"
            raise RequestError(HTTPStatus.BAD_REQUEST, message)
        user = self.numbers.get(raw_id)
        if user is None:
            raise RequestError(
                HTTPStatus.NOT_FOUND, f"there is no user {quote(raw_id)} in the data"
            )
        users = self.histories["user_id"].to_numpy()
        row = int(np.searchsorted(users, user))
        if row == len(users) or users[row] != user:
            message = f"user {quote(raw_id)} likes no movie of the data"
            raise RequestError(HTTPStatus.NOT_FOUND, message)
        return row

    def number(self, raw_id: Any) -> int:
        """Return the user_id of a user; raise as `row` does."""
        return int(self.histories["user_id"][self.row(raw_id)])

    def describe(self, raw_id: str, names: dict[int, str]) -> dict[str, Any]:
        """Return what the page says about a user; raise as `row` does.

        Args:
            raw_id: The user.
            names: Titles by movie_id.
        """
        row = self.row(raw_id)
        newest = self.histories["history"][row].reverse()[:NEWEST].to_list()
        return {
            "user_id": raw_id,
            "positives": self.histories["history_length"][row],
            "newest": [names[movie] for movie in newest],
        }
