"""The demo's API as its clients see it."""

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from stages.serving.demo import MAX_PICKS, MAX_QUERY, Demo, name_movies
from stages.serving.local_server import MAX_BODY, Server, content_security_policy
from stages.serving.pipeline import NEW_USER, ServingPipeline
from tests.conftest import ROOT
from tests.serving.commands import run_command
from tests.serving.http_client import JSON, send


def recommend(server: Server, body: object) -> tuple[int, dict]:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    response, content = send(server, "POST", "/api/recommendations", text, **JSON)
    return response.status, json.loads(content)


def test_search_finds_all_words_in_any_order_by_popularity(
    server: Server, recommender: ServingPipeline
) -> None:
    response, content = send(server, "GET", "/api/movies?q=1982+no.+3+FILM")
    assert response.status == 200
    assert json.loads(content) == {
        "movies": [{"movie_id": 3, "title": "Film, No. 3 (1982)", "genres": ["Drama"]}]
    }
    movies = json.loads(send(server, "GET", "/api/movies")[1])["movies"]
    positives = dict(recommender.popularity.select("movie_id", "positives").iter_rows())
    counts = [positives[movie["movie_id"]] for movie in movies]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == max(positives.values())
    assert json.loads(send(server, "GET", "/api/movies?q=zebra")[1]) == {"movies": []}
    movies = json.loads(send(server, "GET", "/api/movies?q=flim+no+3")[1])["movies"]
    assert movies[0]["title"] == "Film, No. 3 (1982)"


def test_movies_of_one_title_have_their_ids_behind_it() -> None:
    ids = {"title": ["Twins", "Heat", "Twins", "7", "7"], "raw_id": ["7", "8", "9", "7", "10"]}
    names = name_movies(pl.DataFrame(ids))
    assert names == ["Twins [7]", "Heat", "Twins [9]", "7", "7 [10]"]


def test_movies_are_found_by_their_ids(server: Server) -> None:
    response, content = send(server, "GET", "/api/movies?ids=7,9999999999,3,3")
    assert response.status == 200
    movies = {movie["movie_id"]: movie["title"] for movie in json.loads(content)["movies"]}
    assert movies == {3: "Film, No. 3 (1982)", 7: "Film, No. 7 (1986)"}


def test_recommendations_are_those_of_the_recommender(
    server: Server, recommender: ServingPipeline
) -> None:
    status, value = recommend(server, {"liked": [3, 7]})
    assert status == 200
    expected = recommender.for_person(NEW_USER, [3, 7], 20)
    movies = value["recommendations"]
    assert [m["movie_id"] for m in movies] == expected["movie_id"].to_list()
    assert [m["explanation"] for m in movies] == expected["explanation"].to_list()
    assert [m["generators"] for m in movies] == expected["generators"].to_list()
    assert {m["explanation_id"] for m in movies} <= {3, 7, None}
    assert [m["title"] for m in movies] == expected["title"].to_list()
    columns = ["rank", "movie_id", "title", "genres", "explanation_id", "explanation", "generators"]
    assert list(movies[0]) == columns
    status, value = recommend(server, {"liked": [3], "disliked": [7], "seen": [9]})
    assert status == 200
    expected = recommender.for_person(NEW_USER, [3], 20, disliked=[7], seen=[9])
    assert [m["movie_id"] for m in value["recommendations"]] == expected["movie_id"].to_list()
    assert recommend(server, {"seen": [9]})[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("{", 400, "the body is not JSON"),
        (b"\xff\xfe", 400, "the body is not JSON"),
        ("[" * 4000, 400, "the body is not JSON"),
        ([], 400, "the body must be"),
        ({}, 400, "the body must be"),
        ({"liked": []}, 400, "the body must be"),
        ({"liked": "3"}, 400, "the body must be"),
        ({"liked": [True]}, 400, "the body must be"),
        ({"liked": [1.0]}, 400, "the body must be"),
        ({"liked": [[1]]}, 400, "the body must be"),
        ({"liked": [1, 4711]}, 400, "liked: there is no movie 4711"),
        ({"liked": [-1]}, 400, "liked: there is no movie -1"),
        ({"liked": [1] * (MAX_PICKS + 1)}, 400, f"liked: give up to {MAX_PICKS} movies"),
        ({"seen": [1] * (MAX_PICKS + 1)}, 400, f"seen: give up to {MAX_PICKS} movies"),
        ({"liked": [1], "seen": [4711]}, 400, "seen: there is no movie 4711"),
        ({"liked": [], "disliked": []}, 400, "the body must be"),
        (
            {"seen": {"1": 2}},
            400,
            'the body must be {"liked": [movie_id, ...], "disliked": [...], ',
        ),
        ({"liked": [1], "seen": None}, 400, "the body must be"),
        ({"liked": [1], "disliked": [4711]}, 400, "disliked: there is no movie 4711"),
        ({"liked": [1], "loved": [2]}, 400, "the body must be"),
        ({"liked": [1, 2], "disliked": [2]}, 400, "give each movie in one of the lists"),
        (" " * (MAX_BODY + 1), 413, f"send up to {MAX_BODY} bytes"),
    ],
)
def test_a_bad_body_is_refused(server: Server, body: object, status: int, message: str) -> None:
    actual, value = recommend(server, body)
    assert actual == status
    assert value["error"].startswith(message)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "message"),
    [
        ("GET", f"/api/movies?q={'a' * (MAX_QUERY + 1)}", {}, 400, "q: use up to 100 characters"),
        ("GET", "/api/movies?" + "q=a&" * 9, {}, 400, "give one field, ids"),
        ("GET", "/api/movies?ids=1,x", {}, 400, "ids: give up to 150 numbers"),
        ("GET", "/api/movies?ids=1,", {}, 400, "ids: give up to 150 numbers"),
        (
            *("GET", "/api/movies?ids=" + ",".join(["1"] * (3 * MAX_PICKS + 1))),
            *({}, 400, "ids: give up to 150 numbers"),
        ),
        ("GET", "/api/recommendations", {}, 405, "use POST"),
        ("POST", "/api/movies", {}, 405, "use GET"),
        ("POST", "/api/recommendations", {"Content_Type": "text/plain"}, 415, "send application"),
        ("POST", "/api/recommendations", {**JSON, "Host": "example.org"}, 421, "this is not the"),
    ],
)
def test_other_requests_get_the_right_status(
    server: Server, method: str, path: str, headers: dict[str, str], status: int, message: str
) -> None:
    response, content = send(server, method, path, **headers)
    assert response.status == status
    assert json.loads(content)["error"].startswith(message)


def test_the_limits_themselves_are_allowed(server: Server) -> None:
    ids = ",".join(["1"] * (3 * MAX_PICKS))
    movies = json.loads(send(server, "GET", f"/api/movies?ids={ids}")[1])["movies"]
    assert [movie["movie_id"] for movie in movies] == [1]
    assert send(server, "GET", f"/api/movies?q={'a' * MAX_QUERY}")[0].status == 200
    assert len(json.loads(send(server, "GET", "/api/movies")[1])["movies"]) == 12
    assert recommend(server, {"liked": [1] * MAX_PICKS, "disliked": [2], "seen": []})[0] == 200


def test_a_connection_is_kept_for_the_next_recommendation(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    for _ in range(3):
        connection.request("POST", "/api/recommendations", '{"liked": [5]}', JSON)
        response = connection.getresponse()
        assert response.status == 200
        assert len(json.loads(response.read())["recommendations"]) > 5
    connection.close()


def test_the_page_is_whole_and_its_policy_lets_nothing_else_run(server: Server) -> None:
    response, content = send(server, "GET", "/")
    text = content.decode()
    assert response.status == 200
    policy = response.headers["Content-Security-Policy"]
    assert policy == content_security_policy(text)
    assert content_security_policy(text.replace("use strict", "use laxness")) != policy
    assert not re.search(r"https?://|innerHTML|\son\w+=|\sstyle=|@[A-Z]", text)
    assert '<span id="catalogue">40 movies, up to 2019</span>' in text


def test_the_page_shows_limits_and_an_id_as_they_are() -> None:
    tables = {
        "catalogue": pl.DataFrame({"movie_id": [1], "title": ["Heat"], "year": [None]}),
        "movie_ids": pl.DataFrame({"movie_id": [1], "raw_id": ["7"]}),
        "popularity": pl.DataFrame({"movie_id": [1], "positives": [1]}),
        "histories": pl.DataFrame({"user_id": [2, 4]}),
        "user_ids": pl.DataFrame({"user_id": [2, 3, 4], "raw_id": ["<a>", "c", "b"]}),
    }
    text = Demo(SimpleNamespace(**tables)).page()
    assert '<span id="catalogue">1 movies</span>' in text  # without a year
    assert 'placeholder="an id, for example &lt;a&gt;"' in text
    assert f"const MAX_PICKS = {MAX_PICKS};" in text
    assert f'maxlength="{MAX_QUERY}"' in text


def test_several_clients_may_ask_at_once(server: Server) -> None:
    expected = recommend(server, {"liked": [9]})
    responses: list[tuple[int, dict]] = []
    threads = [
        threading.Thread(target=lambda: responses.append(recommend(server, {"liked": [9]})))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert responses == [expected] * 8


def test_a_port_in_use_and_a_missing_bundle_are_one_line(
    server: Server, bundle: Path, tmp_path: Path
) -> None:
    port = str(server.server_port)
    cases = {
        ("--port", port, "--bundle", str(bundle)): f"error: --port {port}: ",
        ("--port", "70000", "--bundle", str(bundle)): "error: --port 70000: ",
        ("--bundle", "nowhere"): "error: nowhere/schema.json: not found; ",
    }
    for arguments, message in cases.items():
        result = run_command(tmp_path, "demo", *arguments)
        assert result.returncode == 1
        assert result.stderr.startswith(message)
        assert result.stderr.count("\n") == 1


def test_the_command_serves_the_page_until_it_is_interrupted(
    bundle: Path, recommender: ServingPipeline
) -> None:
    command = [sys.executable, "-m", "stages.serving", "demo", "--port", "0"]
    command += ["--bundle", str(bundle)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            (url,) = re.findall(r"Open (http://127\.0\.0\.1:\d+/) in", process.stdout.readline())
            with urllib.request.urlopen(url, timeout=10) as response:
                assert response.read().decode() == Demo(recommender).page()
        finally:
            process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[0] == "\nstopped\n"
    assert process.returncode == 0
