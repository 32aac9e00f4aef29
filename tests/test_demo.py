"""The demo's server as its clients see it, and the page in a real browser."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from stages.demo import MAX_LIKED, MAX_QUERY, Demo, searchable
from stages.demo import page as demo_page
from stages.serving.chain import NEW_USER, Chain
from stages.serving.local_server import MAX_BODY, Server, policy
from tests.conftest import ROOT

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def chain(tiny_run: Path) -> Chain:
    return Chain(tiny_run / "data" / "bundle")


@pytest.fixture(scope="module")
def server(chain: Chain) -> Iterator[Server]:
    with Server(demo_page(), Demo(chain).routes(), 0) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(
    server: Server, method: str, path: str, body: str | bytes | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """One request on a connection of its own; header names are written with `_` for the dash."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def recommend(server: Server, body: object) -> tuple[int, dict]:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    answer, content = ask(server, "POST", "/api/recommendations", text, **JSON)
    return answer.status, json.loads(content)


def test_search_finds_all_words_in_any_order_the_most_liked_first(
    server: Server, chain: Chain
) -> None:
    answer, content = ask(server, "GET", "/api/movies?q=1982+no.+3+FILM")
    assert answer.status == 200
    assert json.loads(content) == {
        "movies": [{"movie_id": 3, "title": "Film, No. 3 (1982)", "genres": ["Drama"]}]
    }
    everything = json.loads(ask(server, "GET", "/api/movies")[1])["movies"]
    likings = dict(chain.popularity.select("movie_id", "likings").iter_rows())
    counts = [likings[movie["movie_id"]] for movie in everything]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == max(likings.values())
    assert json.loads(ask(server, "GET", "/api/movies?q=zebra")[1]) == {"movies": []}


def test_accents_need_not_be_typed() -> None:
    assert searchable(pl.Series(["Léon: AMÉLIE"])).to_list() == ["leon: amelie"]


def test_recommendations_are_those_of_the_chain(server: Server, chain: Chain) -> None:
    status, value = recommend(server, {"liked": [3, 7]})
    assert status == 200
    wanted = chain.for_person(NEW_USER, [3, 7], 20)
    shown = value["recommendations"]
    assert [m["movie_id"] for m in shown] == wanted["movie_id"].to_list()
    assert [m["because"] for m in shown] == wanted["because"].to_list()
    assert {m["because_id"] for m in shown} <= {3, 7, None}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        ("[" * 4000, 400, "not JSON"),
        ([], 400, "the body must be"),
        ({}, 400, "the body must be"),
        ({"liked": []}, 400, "the body must be"),
        ({"liked": "3"}, 400, "the body must be"),
        ({"liked": [True]}, 400, "the body must be"),
        ({"liked": [1.0]}, 400, "the body must be"),
        ({"liked": [[1]]}, 400, "the body must be"),
        ({"liked": [1, 4711]}, 400, "there is no movie 4711"),
        ({"liked": [-1]}, 400, "there is no movie -1"),
        ({"liked": [1] * (MAX_LIKED + 1)}, 400, f"up to {MAX_LIKED} movies"),
        (" " * (MAX_BODY + 1), 413, f"up to {MAX_BODY} bytes"),
    ],
)
def test_a_bad_body_is_refused(server: Server, body: object, status: int, message: str) -> None:
    got, value = recommend(server, body)
    assert got == status
    assert message in value["error"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("GET", "/../params.yaml", {}, 404),
        ("GET", "/%2e%2e/params.yaml", {}, 404),
        ("GET", "/api/recommendations", {}, 405),
        ("POST", "/", {}, 405),
        ("HEAD", "/", {}, 405),
        ("OPTIONS", "/api/recommendations", {}, 405),
        ("BREW", "/", {}, 501),
        ("POST", "/api/recommendations", {"Content_Type": "text/plain"}, 415),
        ("POST", "/api/recommendations", {**JSON, "Content-Length": "x"}, 411),
        ("POST", "/api/recommendations", {**JSON, "Content-Length": "-1"}, 411),
        ("POST", "/api/recommendations", {**JSON, "Content-Length": "9999999"}, 413),
        ("POST", "/api/recommendations", {**JSON, "Transfer-Encoding": "chunked"}, 411),
        ("GET", "/api/movies?q=" + "a" * (MAX_QUERY + 1), {}, 400),
        ("GET", "/api/movies?" + "q=a&" * 9, {}, 400),
        ("GET", "/", {"Host": "example.org"}, 421),
        ("GET", "/", {"Host": "127.0.0.1:1"}, 421),
        ("POST", "/api/recommendations", {**JSON, "Host": "example.org"}, 421),
    ],
)
def test_other_requests_get_the_right_status(
    server: Server, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer, content = ask(server, method, path, **headers)
    assert answer.status == status
    if method != "HEAD":
        assert json.loads(content)["error"]
    if status == 405:
        assert answer.headers["Allow"] in ("GET", "POST")
    assert "Python" not in answer.headers["Server"]
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_localhost_is_a_name_of_this_host(server: Server) -> None:
    name = f"localhost:{server.server_port}"
    assert ask(server, "GET", "/", Host=name)[0].status == 200


def test_it_listens_on_this_computer_only(server: Server) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_a_request_without_a_host_or_that_is_no_http_is_refused(server: Server) -> None:
    for text, status in ((b"GET / HTTP/1.1\r\n\r\n", b"421"), (b"NONSENSE\r\n\r\n", b"400")):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as line:
            line.sendall(text)
            got = line.recv(4096)
        assert status in got.split(b"\r\n")[0], got


def test_a_connection_is_kept_for_the_next_request(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    for _ in range(3):
        connection.request("POST", "/api/recommendations", '{"liked": [5]}', JSON)
        answer = connection.getresponse()
        assert answer.status == 200
        assert len(json.loads(answer.read())["recommendations"]) > 5
    connection.close()


def test_the_page_is_whole_and_its_policy_lets_nothing_else_run(server: Server) -> None:
    answer, content = ask(server, "GET", "/")
    page = content.decode()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    allowed = answer.headers["Content-Security-Policy"]
    assert allowed == policy(page)
    assert "unsafe" not in allowed
    assert policy(page.replace("use strict", "use laxness")) != allowed
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"https?://|innerHTML|\son\w+=|\sstyle=|@MAX", page)


def test_a_fault_of_ours_is_not_shown_to_the_client(capsys: pytest.CaptureFixture[str]) -> None:
    with Server(demo_page(), {"/fault": {"GET": lambda _: 1 // 0}}, 0) as broken:
        thread = threading.Thread(target=broken.serve_forever)
        thread.start()
        answer, content = ask(broken, "GET", "/fault")
        broken.shutdown()
        thread.join()
    assert answer.status == 500
    assert json.loads(content) == {"error": "something went wrong"}
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_many_may_ask_at_once(server: Server) -> None:
    wanted = recommend(server, {"liked": [9]})
    got: list[tuple[int, dict]] = []
    threads = [
        threading.Thread(target=lambda: got.append(recommend(server, {"liked": [9]})))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [wanted] * 8


def test_a_port_in_use_and_a_missing_bundle_are_one_line(server: Server, tiny_run: Path) -> None:
    port = str(server.server_port)
    cases = {
        ("--port", port, "--bundle", str(tiny_run / "data" / "bundle")): f"error: --port {port}: ",
        ("--bundle", "nowhere"): "error: nowhere/schema.json: not found; ",
    }
    for arguments, message in cases.items():
        command = [sys.executable, "-m", "stages.demo", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") == 1


@pytest.fixture
def page(server: Server):
    """The page in headless Chromium, and a list that collects what its console complains of."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}; install Debian's chromium or set CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), headless=True, args=FLAGS
        )
        tab = browser.new_page(viewport={"width": 1200, "height": 900})
        problems: list[str] = []
        tab.on("console", lambda m: problems.append(m.text) if m.type != "log" else None)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.goto(server.url)
        tab.problems = problems
        yield tab
        browser.close()


def test_a_person_searches_picks_two_and_sees_why(page, chain: Chain) -> None:
    page.wait_for_selector("#list li")
    assert page.inner_text("#list-title") == "Liked by many"
    page.keyboard.type("no. 3 ")  # the field has the focus
    page.wait_for_selector("#matches .option")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert page.get_attribute("#query", "aria-activedescendant") == "match0"
    page.keyboard.press("Enter")
    page.wait_for_selector("#status:has-text('1 pick')")
    page.fill("#query", "no. 7")
    page.click("#matches .option >> text=Film, No. 7 (1986)")
    page.wait_for_selector("#status:has-text('2 picks')")
    assert page.inner_text("#list-title") == "Recommended for you"

    picked = [text.split("\n")[0] for text in page.locator("#likes li").all_inner_texts()]
    liked = [
        int(chain.catalogue.filter(pl.col("title") == title)["movie_id"][0]) for title in picked
    ]
    wanted = chain.for_person(NEW_USER, liked[::-1], 20)
    assert page.locator("#list .title").all_inner_texts() == wanted["title"].to_list()
    whys = wanted["because"].drop_nulls().to_list()
    assert page.locator("#list .why b").all_inner_texts() == whys
    assert set(whys) <= set(picked)
    assert whys
    assert page.problems == []

    page.click("#list li:first-child .add")
    page.wait_for_selector("#status:has-text('3 picks')")
    page.click("#likes li:first-child button")
    page.wait_for_selector("#status:has-text('2 picks')")
    page.click("#clear")
    page.wait_for_selector("#list-title:has-text('Liked by many')")
    assert page.locator("#likes li").count() == 0
    assert page.problems == []


def test_titles_are_shown_as_text_and_nothing_foreign_runs(page) -> None:
    title = "<img src=x onerror=alert(1)><b>Bold"
    body = {"movies": [{"movie_id": 1, "title": title, "genres": ["<i>"]}]}
    page.route("**/api/movies*", lambda route: route.fulfill(json=body))
    page.fill("#query", "bold")
    page.wait_for_selector("#matches .option")
    assert page.inner_text("#matches .option").startswith(title)
    assert page.locator("#matches img").count() == 0
    assert page.problems == []
    # The browser itself refuses markup and scripts that are not the page's own.
    added = "document.body.innerHTML = '<b>x</b>'"
    with pytest.raises(Exception, match="TrustedHTML"):
        page.evaluate(added)


def test_an_error_of_the_server_is_shown(page) -> None:
    page.wait_for_selector("#list li")
    refused = {"status": 400, "json": {"error": "not today"}}
    page.route("**/api/recommendations", lambda route: route.fulfill(**refused))
    page.click("#list li:first-child .add")
    page.wait_for_selector("#status.bad")
    assert page.inner_text("#status") == "Sorry: not today"
