"""HTML elements that escape all text, and the page around them with its style."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple


class Html(str):
    """Text that is HTML already, and is not escaped again."""


class Section(NamedTuple):
    """A section of a page, and what the link to it needs."""

    anchor: str
    """The id of the section's element."""

    title: str
    body: Html


def as_html(value: Any) -> Html:
    """Return `value` as HTML, escaped unless it is Html: titles of a data set may be anything."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def element(tag: str, *children: Any, **attributes: str) -> Html:
    """Return an element with escaped children and attributes.

    In the names of attributes, `_` stands for `-`, and is dropped at the end: `class_`.
    """
    pairs = "".join(
        f' {k.rstrip("_").replace("_", "-")}="{escape(v)}"' for k, v in attributes.items()
    )
    return Html(f"<{tag}{pairs}>{''.join(map(as_html, children))}</{tag}>")


def paragraph(*children: Any) -> Html:
    """Return a paragraph."""
    return element("p", *children)


def table(
    title: str, head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[int] = ()
) -> Html:
    """Return a table that scrolls sideways in a narrow window.

    Args:
        title: The name of the table for screen readers.
        head: The names of the columns.
        rows: The cells of each row.
        numbers: The indices of the columns that are aligned to the right.
    """
    classes = ["number" if i in numbers else "text" for i in range(len(head))]
    names = [element("th", name, scope="col", class_=c) for name, c in zip(head, classes)]
    body = [
        element(
            "tr", *(element("td", cell, class_=c) for cell, c in zip(row, classes, strict=True))
        )
        for row in rows
    ]
    grid = element("table", element("thead", element("tr", *names)), element("tbody", *body))
    return element("div", grid, class_="wide", tabindex="0", role="region", aria_label=title)


def figure(svg: str, caption: str) -> Html:
    """Return a chart above its caption."""
    return element("figure", Html(svg), element("figcaption", caption), tabindex="0")


def section(title: str, *children: Any) -> Section:
    """Return a section with a heading."""
    anchor = re.sub(r"[^a-z]+", "-", title.lower()).strip("-")
    return Section(anchor, title, element("section", element("h2", title), *children, id=anchor))


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return a whole document, whose security policy forbids it to load or run anything."""
    links = [element("a", part.title, href=f"#{part.anchor}") for part in sections]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1><p>{escape(lead)}</p>{element('nav', *links)}</header>\n"
        "<main>\n" + "\n".join(part.body for part in sections) + "\n</main>\n</body>\n</html>\n"
    )


STYLE = """
:root { color-scheme: light dark; --ink: #1d2530; --page: #fff; --faint: #5d6875;
  --line: #dde2e8; --card: #f4f6f9; --accent: #1f5fbf; --better: #1f5fbf; --worse: #a03c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7ec; --page: #14181d; --faint: #9aa5b1;
  --line: #323b46; --card: #1e242b; --accent: #7fb2ff; --better: #7fb2ff; --worse: #ffb27a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 70rem; color: var(--ink);
  background: var(--page); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.8rem; }
h2 { margin: 3rem 0 .6rem; font-size: 1.3rem; border-bottom: 1px solid var(--line); }
h3 { margin: 2rem 0 .4rem; font-size: 1.05rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--accent); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; }
small, figcaption, header p { color: var(--faint); }
small { display: block; }
figure { margin: 1.2rem 0 2rem; overflow-x: auto; }
figcaption { max-width: 46rem; font-size: .9rem; position: sticky; left: 0; }
svg { display: block; width: 100%; height: auto; overflow: visible; min-width: 36rem; }
.wide { overflow-x: auto; margin: .8rem 0; }
.beside { display: flex; flex-wrap: wrap; gap: 0 3rem; align-items: flex-start; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .3rem .55rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { background: var(--card); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.best { font-weight: 700; }
.better { color: var(--better); font-weight: 600; }
.worse { color: var(--worse); font-weight: 600; }
.verdict { background: var(--card); border-left: 4px solid var(--accent); padding: .4rem 1rem; }
code { font-size: .85em; overflow-wrap: anywhere; }
details { margin: .4rem 0; }
summary { cursor: pointer; }
@media (max-width: 40rem) {
  body { font-size: 15px; padding: 1rem .75rem 3rem; } h1 { font-size: 1.4rem; }
  nav { flex-wrap: nowrap; overflow-x: auto; white-space: nowrap; padding-bottom: .4rem; }
  .wide th:first-child, .wide td:first-child { position: sticky; left: 0; }
  .wide td:first-child { background: var(--page); } }
"""
