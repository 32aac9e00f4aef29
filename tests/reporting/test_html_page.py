import re

import pytest

from stages.reporting.html_page import STYLE, Html, element, page, section, table
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


def test_a_phone_is_asked_to_show_the_page_in_its_own_width() -> None:
    text = page("Report", "lead", [])
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text


def luminance(color: str) -> float:
    """Relative luminance of a color such as #1f5fbf (WCAG 2)."""
    color = color if len(color) == 7 else "#" + "".join(2 * c for c in color[1:])
    parts = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_texts_have_contrast_in_both_modes(mode: int) -> None:
    colors = dict(re.findall(r"--(\w+): (#\w+);", STYLE.split(":root")[1 + mode]))
    for ground in ("page", "card"):
        for name in ("ink", "faint", "accent", "better", "worse"):
            pair = sorted((luminance(colors[name]), luminance(colors[ground])))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (name, ground)
