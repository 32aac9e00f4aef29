"""The users of the data in the demo's API."""

import json
from http import HTTPStatus
from urllib.parse import quote

import polars as pl
import pytest

from stages.serving.demo_users import MAX_ID, MAX_USERS, DemoUsers
from stages.serving.local_server import RequestError, Server
from stages.serving.pipeline import ServingPipeline
from tests.serving.http_client import JSON, send

NAMES = {1: "One", 2: "Two", 3: "Three", 4: "Four"}


@pytest.fixture
def users() -> DemoUsers:
    """Three users of the data, of whom the third one likes nothing."""
    histories = pl.DataFrame(
        {"user_id": [1, 3], "history": [[1], [1, 2, 3, 4]], "history_length": [1, 9]}
    )
    ids = pl.DataFrame({"user_id": [1, 2, 3], "raw_id": ["anna & bo", "cy", "an"]})
    return DemoUsers(histories, ids)


def test_a_user_is_described_by_the_newest_movies(users: DemoUsers) -> None:
    newest = ["Four", "Three", "Two"]
    assert users.describe("an", NAMES) == {"user_id": "an", "positives": 9, "newest": newest}
    assert users.describe("anna & bo", NAMES)["newest"] == ["One"]
    assert users.number("an") == 3


def test_ids_that_begin_with_a_text_are_suggested_if_they_have_recommendations(
    users: DemoUsers, server: Server
) -> None:
    assert users.suggest("an") == ["anna & bo", "an"]
    assert users.suggest("anna") == ["anna & bo"]
    assert users.suggest("c") == users.suggest("n") == []
    ids = json.loads(send(server, "GET", "/api/users")[1])["users"]
    assert len(ids) == MAX_USERS
    ids = json.loads(send(server, "GET", "/api/users?q=5")[1])["users"]
    assert ids == ["5", *(str(user) for user in range(50, 60))]


@pytest.mark.parametrize(
    ("raw_id", "status", "message"),
    [
        ("zoe", 404, 'there is no user "zoe" in the data'),
        ("3", 404, 'there is no user "3" in the data'),
        ("a\n", 404, r"there is no user 'a\n' in the data"),
        ("a" * MAX_ID, 404, "there is no user"),
        ("cy", 404, 'user "cy" likes no movie of the data'),
        ("", 400, "give the id of a user as text"),
        ("a" * (MAX_ID + 1), 400, f"of up to {MAX_ID} characters"),
        (3, 400, "give the id of a user as text"),
        (None, 400, "give the id of a user as text"),
    ],
)
def test_another_id_is_refused(users: DemoUsers, raw_id: object, status: int, message: str) -> None:
    with pytest.raises(RequestError) as error:
        users.number(raw_id)
    assert error.value.status == HTTPStatus(status)
    assert message in str(error.value)


def test_users_of_the_data_get_their_lists_with_picks_or_without(
    server: Server, recommender: ServingPipeline
) -> None:
    def recommend(body: dict) -> tuple[int, dict]:
        response, content = send(server, "POST", "/api/recommendations", json.dumps(body), **JSON)
        return response.status, json.loads(content)

    for picks in ({}, {"liked": [3], "disliked": [7], "seen": [9]}):
        status, value = recommend({"user": "5", **picks})
        assert status == 200
        kinds = {kind: picks.get(kind, []) for kind in ("disliked", "seen")}
        expected = recommender.for_person(5, picks.get("liked", []), 20, **kinds)
        ids = [movie["movie_id"] for movie in value["recommendations"]]
        assert ids == expected["movie_id"].to_list()
    assert recommend({"user": "4711"}) == (404, {"error": 'there is no user "4711" in the data'})
    assert recommend({"user": 5})[0] == 400


def test_the_api_describes_a_user(server: Server, recommender: ServingPipeline) -> None:
    response, content = send(server, "GET", "/api/users?id=5")
    assert response.status == 200
    user = json.loads(content)["user"]
    history = recommender.histories.filter(pl.col("user_id") == 5)
    assert user["positives"] == history["history_length"].item()
    titles = dict(recommender.catalogue.select("movie_id", "title").iter_rows())
    assert user["newest"] == [titles[movie] for movie in history["history"][0][-3:][::-1]]
    response, content = send(server, "GET", f"/api/users?id={quote('ö&')}")
    assert response.status == 404
    assert json.loads(content) == {"error": 'there is no user "ö&" in the data'}
