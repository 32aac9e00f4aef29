import pytest

from stages.reporting.html_page import Html, element, page, section, table
from tests.small_tables import HOSTILE


def test_text_that_is_not_html_is_escaped() -> None:
    assert element("b", "<i>", Html("<u>"), class_='"') == '<b class="&quot;">&lt;i&gt;<u></b>'
    assert "<script" not in table(HOSTILE, [HOSTILE], [[HOSTILE]])
    assert "<script" not in page(HOSTILE, HOSTILE, [section(HOSTILE, HOSTILE)])


def test_numbers_are_aligned_to_the_right() -> None:
    text = table("t", ["name", "count"], [["a", 1]], [1])
    assert '<td class="text">a</td><td class="number">1</td>' in text


def test_a_row_of_another_length_is_a_bug() -> None:
    with pytest.raises(ValueError, match="zip"):
        table("t", ["a", "b"], [[1]])


def test_the_page_links_to_its_sections() -> None:
    text = page("Report", "lead", [section("Accuracy by list length", "x")])
    assert '<a href="#accuracy-by-list-length">Accuracy by list length</a>' in text
    assert '<section id="accuracy-by-list-length">' in text
