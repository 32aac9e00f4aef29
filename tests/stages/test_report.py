"""The whole page, from synthetic results, as a browser shows it."""

import re
from pathlib import Path

import pytest

from stages import report
from stages.common.stage import StageError
from tests.browser import accessibility_faults, faint_chart_texts, open_tab, outside
from tests.conftest import edit_params
from tests.stages.results import (
    PARAMS,
    SYSTEMS,
    run_beyond_accuracy,
    run_evaluate,
    run_leaderboard,
    run_plot_tables,
    run_report,
    write_results,
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of synthetic results."""
    folder = tmp_path_factory.mktemp("report")
    write_results(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_evaluate()
        run_leaderboard()
        run_beyond_accuracy()
        run_plot_tables()
        return run_report()


@pytest.fixture
def folder(page: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the results, as the current folder."""
    monkeypatch.chdir(page.parents[1])
    return page.parents[1]


def test_raw_files_are_listed_with_their_hash(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"abc")
    (tmp_path / "a.csv").write_bytes(b"")
    versions = report.raw_file_versions(tmp_path)
    assert [row[:2] for row in versions] == [("a.csv", 0), ("b.csv", 3)]
    assert versions[1][2].startswith("ba7816bf8f01cfea414140de5dae2223")


def test_the_examples_show_the_best_systems_in_the_order_of_the_pipeline(folder: Path) -> None:
    board = {name: {"ndcg@10": n / 100} for n, name in enumerate(SYSTEMS)}
    generators = [*PARAMS["generators"], *PARAMS["retrievers"]]
    steps = [generators[-1], generators[-2], "fusion", SYSTEMS[-1]]
    assert report.example_steps(board) == steps
    del board["fusion"]
    assert report.example_steps(board) == [step for step in steps if step != "fusion"]


def test_equal_results_give_an_equal_page_of_moderate_size(page: Path, folder: Path) -> None:
    content = page.read_bytes()
    run_plot_tables()
    assert run_report().read_bytes() == content
    assert len(content) < 1_500_000


@pytest.mark.parametrize("name", ["intervals.csv", "validation.csv", "plots/importance.csv"])
def test_a_missing_table_is_named_and_the_page_stays(page: Path, folder: Path, name: str) -> None:
    content = page.read_bytes()
    path = Path("metrics", name)
    text = path.read_text()
    path.unlink()
    try:
        with pytest.raises(StageError, match=rf"^metrics/{name}: missing or no table; run"):
            run_report()
    finally:
        path.write_text(text)
    assert page.read_bytes() == content


def test_the_report_shows_every_section_of_params(page: Path) -> None:
    text = page.read_text()
    sections = [text.index(f"<summary>{name} (") for name in PARAMS]
    assert sections == sorted(sections)


def test_a_report_of_own_data_has_raw_ids_no_path_and_no_timings_of_another_data_set(
    page: Path, folder: Path
) -> None:
    text = page.read_text()
    assert len(re.findall(r"<h3>User &lt;script&gt;[^<]*Jerry&quot; \d+, who likes", text)) == 3
    assert "Seconds by stage" in text  # of the default data set
    params = Path("params.yaml").read_text()
    try:
        edit_params(Path(), data__source="/home/reader/my books", ray__storage="/mnt/secret/shards")
        text = run_report().read_text()
    finally:
        Path("params.yaml").write_text(params)
        run_report()
    assert "<p>…/my books: 13 systems, 20 test users</p>" in text
    assert "/home/reader" not in text
    assert "/mnt/secret" not in text
    assert "Seconds by stage" not in text


def test_titles_and_genres_from_the_data_are_text(page: Path) -> None:
    text = page.read_text()
    assert "&lt;script&gt;window.hacked" in text
    assert "<script" not in text
    assert "<img" not in text
    assert 'href="http' not in text
    assert 'src="http' not in text


def test_a_browser_shows_the_report_without_any_request(page: Path) -> None:
    with open_tab() as tab:
        tab.goto(page.as_uri())
        assert tab.asked == [page.as_uri()]
        assert tab.problems == []
        assert tab.evaluate("window.hacked") is None
        assert tab.evaluate("document.querySelectorAll('figure svg').length") == 10
        for table in ("Systems", "Leaderboard"):
            rows = f"[...document.querySelector('[aria-label={table}] table').rows]"
            rows = tab.evaluate(f"{rows}.map(r => r.innerText)")
            assert [row.split("\t")[0] for row in rows] == ["system", *SYSTEMS]
        assert tab.evaluate("document.querySelector('table').checkVisibility()")
        assert tab.evaluate("document.querySelectorAll('.verdict p').length") == 4


def test_on_a_phone_the_tables_scroll_in_their_own_box_and_the_page_does_not(page: Path) -> None:
    with open_tab() as tab:
        tab.goto(page.as_uri())
        tab.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        for pixels in (1200, 375, 320):
            tab.set_viewport_size({"width": pixels, "height": 800})
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
            box = "document.querySelector('.verdict').getBoundingClientRect()"
            assert tab.evaluate(f"{box}.height > 80 && {box}.top < innerHeight")
        boxes = "[...document.querySelectorAll('.wide')]"
        assert tab.evaluate(f"{boxes}.every(b => b.getBoundingClientRect().right <= innerWidth)")
        assert tab.evaluate(f"{boxes}.some(b => b.scrollWidth > b.clientWidth)")


@pytest.mark.parametrize("width", [375, 1200])
def test_neither_axe_nor_the_contrast_of_charts_has_a_finding(page: Path, width: int) -> None:
    with open_tab() as tab:
        tab.set_viewport_size({"width": width, "height": 800})
        tab.goto(page.as_uri())
        assert accessibility_faults(tab) == []
        tab.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        assert accessibility_faults(tab) == []
        assert faint_chart_texts(tab) == []


def test_a_page_with_faint_texts_and_a_field_without_a_label_is_noticed(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><html lang='en'><title>t</title><body style='background: #fff'><main>"
        "<h1>Bad</h1><p style='color: #999'>faint</p><input><svg width='99' height='30'>"
        "<rect width='99' height='30' fill='#5aa2cf'/><text y='20' fill='#fff'>0.25</text></svg>"
    )
    with open_tab() as tab:
        tab.goto(bad.as_uri())
        rules = {line.split(": ")[1] for line in accessibility_faults(tab)}
        assert rules == {"color-contrast", "label"}
        assert faint_chart_texts(tab) == ["light: 0.25: 2.80", "dark: 0.25: 2.80"]


def test_a_page_that_requests_something_or_fails_is_noticed(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error(1); x</script>')
    with open_tab() as tab:
        tab.goto(bad.as_uri())
        assert outside(tab.asked) == ["http://127.0.0.1:9/x.png"]
        assert len(tab.problems) >= 2
