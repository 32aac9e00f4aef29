"""The demo's page in a real browser."""

import re
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from stages.serving.local_server import Server
from stages.serving.pipeline import NEW_USER, ServingPipeline
from tests.browser import accessibility_faults, has_sideways_scroll, open_tab


@pytest.fixture
def page(server: Server) -> Iterator[Any]:
    """The page in headless Chromium."""
    with open_tab() as tab:
        tab.goto(server.url)
        yield tab


def test_a_person_searches_picks_two_and_sees_why(page, recommender: ServingPipeline) -> None:
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

    titles = page.locator("#likes li span").all_inner_texts()
    liked = [
        int(recommender.catalogue.filter(pl.col("title") == title)["movie_id"][0])
        for title in titles
    ]
    expected = recommender.for_person(NEW_USER, liked[::-1], 20)
    assert page.locator("#list .title").all_inner_texts() == expected["title"].to_list()
    explanations = expected["explanation"].drop_nulls().to_list()
    assert page.locator("#list .explanation b").all_inner_texts() == explanations
    assert set(explanations) <= set(titles)
    assert explanations
    assert page.problems == []

    page.click("#list li:first-child .add")
    page.wait_for_selector("#status:has-text('3 picks')")
    page.click("#likes li:first-child button")
    page.wait_for_selector("#status:has-text('2 picks')")
    page.click("#clear")
    page.wait_for_selector("#list-title:has-text('Liked by many')")
    assert page.locator("#likes li").count() == 0
    assert page.problems == []


def test_a_person_rates_low_and_has_seen_movies_and_the_address_keeps_them(
    page, server: Server, recommender: ServingPipeline
) -> None:
    page.click("#list li:nth-child(1) .add")
    page.wait_for_selector("#status:has-text('1 pick')")
    page.click("#list li:nth-child(2) .disliked")
    page.wait_for_selector("#status:has-text('2 picks')")
    page.click("#list li:nth-child(3) .seen")
    page.wait_for_selector("#status:has-text('3 picks')")
    liked, disliked, seen = (
        [int(number) for number in re.findall(rf"[#&]{kind}=(\d+)", page.url)]
        for kind in ("liked", "disliked", "seen")
    )
    assert page.url == f"{server.url}#liked={liked[0]}&disliked={disliked[0]}&seen={seen[0]}"
    expected = recommender.for_person(NEW_USER, liked, 20, disliked=disliked, seen=seen)
    titles = expected["title"].to_list()
    assert page.locator("#list .title").all_inner_texts() == titles
    assert page.locator("#likes .kind").all_inner_texts() == ["seen", "not for me"]

    generators = page.locator("#list .generators").first
    assert not generators.is_visible()
    page.click("#list li:first-child summary")
    assert generators.inner_text() == "found by (rank there): " + ", ".join(
        expected["generators"][0]
    )

    page.reload()
    page.wait_for_selector("#status:has-text('3 picks')")
    assert page.locator("#list .title").all_inner_texts() == titles
    page.goto(f"{server.url}#liked=3,4711,x&seen=7")
    page.wait_for_selector("#status:has-text('from 2 picks. The link names 2 more, which this')")
    assert page.locator("#likes li").count() == 2
    assert page.url == f"{server.url}#liked=3&seen=7"
    page.click("#clear")
    page.wait_for_selector("#list-title:has-text('Liked by many')")
    assert page.url == server.url
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
    # The browser refuses markup and scripts that are not the page's own.
    with pytest.raises(Exception, match="TrustedHTML"):
        page.evaluate("document.body.innerHTML = '<b>x</b>'")


def test_an_error_of_the_server_is_shown(page) -> None:
    page.wait_for_selector("#list li")
    error = {"status": 400, "json": {"error": "not today"}}
    page.route("**/api/recommendations", lambda route: route.fulfill(**error))
    page.click("#list li:first-child .add")
    page.wait_for_selector("#status.bad")
    assert page.inner_text("#status") == "Sorry: not today"


def test_a_user_of_the_data_is_chosen_and_the_address_keeps_the_user(
    page, server: Server, recommender: ServingPipeline
) -> None:
    page.wait_for_selector("#list li")
    page.click("#user")
    page.wait_for_selector("#users option", state="attached")
    page.keyboard.type("7")
    page.keyboard.press("Enter")
    page.wait_for_selector("#list-title:has-text('Recommended for user 7')")
    expected = recommender.for_person(7, [], 20)
    titles = expected["title"].to_list()
    assert page.locator("#list .title").all_inner_texts() == titles
    reasons = page.locator("#list .explanation").all_inner_texts()
    assert f"because user 7 liked {expected['explanation'].drop_nulls()[0]}" in reasons
    assert page.inner_text("#status") == f"{len(titles)} movies from the ratings of user 7."
    assert page.inner_text("#user-line").startswith("User 7 likes ")
    assert page.url == f"{server.url}#user=7"

    page.click("#list li:first-child .add")
    page.wait_for_selector("#status:has-text('the ratings of user 7 and 1 pick.')")
    first = int(expected["movie_id"][0])
    titles = recommender.for_person(7, [first], 20)["title"].to_list()
    assert page.locator("#list .title").all_inner_texts() == titles
    page.reload()
    page.wait_for_selector("#status:has-text('the ratings of user 7 and 1 pick.')")
    assert page.locator("#list .title").all_inner_texts() == titles
    assert page.input_value("#user") == "7"

    page.click("#leave")
    page.wait_for_selector("#list-title:has-text('Recommended for you')")
    assert page.url == f"{server.url}#liked={first}"
    assert page.inner_text("#user-line") == ""
    assert page.problems == []


@pytest.mark.parametrize("by_link", [True, False])
def test_an_unknown_user_is_a_line_and_the_rest_of_the_page_stays(
    page, server: Server, by_link: bool
) -> None:
    if by_link:
        page.goto(f"{server.url}#user=no+7&liked=3")
    else:
        page.goto(f"{server.url}#user=7&liked=3")
        page.wait_for_selector("#list-title:has-text('Recommended for user 7')")
        page.fill("#user", "no 7")
        page.keyboard.press("Enter")
    page.wait_for_selector("#list-title:has-text('Recommended for you')")
    assert page.inner_text("#user-error") == 'Sorry: there is no user "no 7" in the data'
    page.wait_for_selector("#status:has-text('movies from 1 pick.')")
    assert page.url == f"{server.url}#liked=3"


def test_everything_works_by_keyboard_alone(page) -> None:
    def press(*keys: str) -> None:
        for key in keys:
            page.keyboard.press(key)

    def focus() -> str:
        return page.evaluate(
            "document.activeElement.getAttribute('aria-label') || document.activeElement.id"
            " || document.activeElement.textContent"
        )

    def tab_to(name: str) -> None:
        names = []
        while not names or names[-1] != name:
            press("Tab")
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"the focus on {focus()} is not to be seen"
            names.append(focus())
            assert len(names) < 40, names

    page.wait_for_selector("#list li")
    assert focus() == "query"
    page.keyboard.type("no. 3")
    page.wait_for_selector("#matches .option")
    press("Enter")
    page.wait_for_selector("#status:has-text('1 pick')")
    second = page.locator("#list .title").nth(1).inner_text()
    tab_to(f"Not for me: {second}")
    press("Space")
    page.wait_for_selector("#status:has-text('2 picks')")
    assert second not in page.locator("#list .title").all_inner_texts()

    press("/")
    assert focus() == "query"
    first = page.locator("#list .title").first.inner_text()
    tab_to("Why?")
    press("Enter")
    assert page.locator("#list .generators").first.is_visible()
    tab_to(f"I liked it: {first}")
    press("Enter")
    page.wait_for_selector("#status:has-text('3 picks')")

    press("/")
    tab_to("user")
    page.keyboard.type("7")
    press("Enter")
    page.wait_for_selector("#list-title:has-text('Recommended for user 7')")
    press("/")
    assert focus() == "user"  # where / is a character
    page.fill("#user", "7")
    tab_to("leave")
    press("Enter")
    page.wait_for_selector("#list-title:has-text('Recommended for you')")
    assert focus() == "user"
    assert page.problems == []


@pytest.mark.parametrize("width", [375, 1200])
def test_axe_finds_no_fault_in_any_state_of_the_page_and_a_phone_need_not_scroll_sideways(
    page, server: Server, width: int
) -> None:
    def check(state: str) -> None:
        assert accessibility_faults(page) == [], state
        assert not has_sideways_scroll(page), state

    page.set_viewport_size({"width": width, "height": 700})
    page.wait_for_selector("#list li")
    check("at the start")
    page.fill("#query", "film")
    page.wait_for_selector("#matches .option")
    check("with matches")
    page.fill("#query", "zebra")
    page.wait_for_selector("#no-match:has-text('No title is like this among the 40 movies')")
    check("without a match")
    page.goto(f"{server.url}#liked=3&disliked=7&seen=9&user=7")
    page.wait_for_selector("#list-title:has-text('Recommended for user 7')")
    page.click("#list li:first-child summary")
    check("with a user, picks and reasons")
    page.fill("#user", "z" * 100)
    page.keyboard.press("Enter")
    page.wait_for_selector("#user-error:not(:empty)")
    check("with an error beside a field")
    page.route("**/api/recommendations", lambda route: route.abort())
    page.click("#list li:first-child .add")
    page.wait_for_selector("#status.bad")
    check("with an error over the list")
