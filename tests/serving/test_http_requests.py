"""What the HTTP service takes as a request."""

import json
from typing import Any

import pytest

from stages.serving.http_requests import (
    FORMS,
    MAX_K,
    MAX_MOVIES,
    MAX_QUERY,
    MAX_RATINGS,
    FormError,
    parse_query,
    parse_recommendation,
)


def parse(value: Any) -> dict[str, Any]:
    return parse_recommendation(json.dumps(value).encode())


def test_the_fields_become_the_arguments_of_the_recommender() -> None:
    body = {"user": 42, "ratings": {"Fargo": 2, "7": 4.5}, "liked": ["é", 3], "seen": [9], "k": 5}
    assert parse(body) == {**body, "disliked": []}
    assert parse({"user": "x"})["k"] == 10
    assert list(FORMS) == list(parse({"user": "x"}))


def test_the_limits_themselves_are_allowed() -> None:
    movies = list(range(MAX_MOVIES))
    ratings = {str(movie): 5 for movie in range(MAX_RATINGS)}
    body = {"user": None, "ratings": ratings, "liked": movies, "k": MAX_K}
    assert parse(body)["liked"] == movies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 9000,
        b'{"k": NaN, "user": 1}',
        b"1" * 9000,
        b'{"user":1,"user":2}',
    ],
)
def test_a_body_that_is_no_json_or_has_a_key_twice_has_status_400(body: bytes) -> None:
    message = "body: is no JSON in UTF-8; send a JSON object"
    if body.startswith(b'{"user"'):
        message = "body: has an object with a key twice; give each key once"
    with pytest.raises(FormError, match=f"^{message}$") as error:
        parse_recommendation(body)
    assert error.value.status == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "body: is no object"),
        (None, "body: is no object"),
        ({}, "user: is missing, and so are movies"),
        ({"k": 3, "liked": []}, "user: is missing, and so are movies"),
        ({"user": None}, "user: is missing, and so are movies"),
        ({"user": 1, "top": 3}, '"top": there is no such field; give some of user, ratings'),
        ({"user": 1, "a\nb": 3}, r'"a\\nb": there is no such field'),
        ({"user": 1, "\ud800": 3}, r'"\\ud800": there is no such field'),
        ({"user": True}, "user: has a value"),
        ({"user": ""}, "user: has a value"),
        ({"user": 1.0}, "user: has a value"),
        ({"user": 2**63}, "user: has a value"),
        ({"user": "x" * 201}, "user: has a value"),
        ({"user": "\ud800"}, "user: has a value"),
        ({"liked": "3"}, "liked: has a value"),
        ({"liked": None}, "liked: has a value"),
        ({"liked": [True]}, "liked: has a value"),
        ({"disliked": [[3]]}, "disliked: has a value"),
        ({"seen": list(range(MAX_MOVIES + 1))}, f"seen: .* up to {MAX_MOVIES} movies"),
        ({"ratings": [3]}, "ratings: has a value"),
        ({"ratings": {"3": 0}}, "ratings: has a value that does not fit; give stars above 0"),
        ({"ratings": {"3": 5.5}}, "ratings: has a value"),
        ({"ratings": {"3": "5"}}, "ratings: has a value"),
        ({"ratings": {"3": True}}, "ratings: has a value"),
        ({"ratings": {"": 3}}, "ratings: has a value"),
        ({"ratings": dict.fromkeys(map(str, range(MAX_RATINGS + 1)), 5)}, "ratings: has a value"),
        ({"user": 1, "k": 0}, "k: has a value"),
        ({"user": 1, "k": MAX_K + 1}, f"k: .* from 1 to {MAX_K}"),
        ({"user": 1, "k": 5.0}, "k: has a value"),
        ({"user": 1, "k": None}, "k: has a value"),
        ({"user": 1, "k": True}, "k: has a value"),
    ],
)
def test_other_fields_and_values_have_status_422(body: Any, message: str) -> None:
    with pytest.raises(FormError, match=f"^{message}") as error:
        parse(body)
    assert error.value.status == 422
    assert "\n" not in str(error.value)
    assert str(error.value).isprintable()


def test_a_query_is_one_text() -> None:
    assert parse_query([("q", "star wars")]) == "star wars"
    assert parse_query([]) == ""
    assert len(parse_query([("q", "x" * MAX_QUERY)])) == MAX_QUERY
    for parameters in ([("q", "x" * (MAX_QUERY + 1))], [("q", "a"), ("q", "b")], [("ids", "1")]):
        with pytest.raises(FormError, match=r"^q: ") as error:
            parse_query(parameters)
        assert error.value.status == 422
