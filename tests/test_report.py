"""The parts of the report, and the whole page as a browser shows it."""

import shutil
from pathlib import Path

import networkx as nx
import numpy as np
import polars as pl
import pytest
from dvc.repo import Repo

from benchmarks.timings import stage_seconds
from stages import plot_tables, report
from stages.common.files import write_csv, write_json
from stages.common.params import YAML
from stages.common.stage import StageError
from stages.common.tables import (
    CATALOGUE,
    HISTORIES,
    POPULARITY,
    RANKS,
    RECOMMENDATIONS,
    write_table,
)
from stages.leaderboard import COLUMNS
from stages.reporting.dag import STAGES, draw_dag
from stages.reporting.examples import chain, choose_users, newest_likings
from stages.reporting.html_page import Html, element, table
from stages.reporting.parts import board_table, flat, timing_table
from tests.browser import open_tab, outside
from tests.conftest import ROOT
from tests.test_plots import EVIL, PLOTS, lists, ranks

TIMINGS = ROOT / "benchmarks" / "timings.csv"

PARAMS = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
SYSTEMS = PARAMS["leaderboard"]["systems"]
USERS, MOVIES = 20, 40


def catalogue(titles: list[str]) -> pl.DataFrame:
    columns = {"movie_id": range(1, len(titles) + 1), "title": titles, "year": 1999}
    return pl.DataFrame({**columns, "genres": [["Drama", EVIL]] * len(titles)}).cast(CATALOGUE)


def histories(movies: dict[int, list[int]]) -> pl.DataFrame:
    lengths = [len(liked) for liked in movies.values()]
    columns = {"user_id": list(movies), "history": list(movies.values())}
    times = [list(range(n)) for n in lengths]
    return pl.DataFrame({**columns, "timestamps": times, "history_length": lengths}).cast(HISTORIES)


@pytest.mark.filterwarnings("ignore:_NoneStep.value")  # of what DVC uses for its graph
def test_the_drawn_graph_is_that_of_dvc_yaml() -> None:
    graph = nx.DiGraph()
    name = lambda stage: stage.addressing.removeprefix("dvc.yaml:").split("@")[0]  # noqa: E731
    with Repo(str(ROOT)) as repo:
        graph.add_nodes_from(map(name, repo.index.stages))
        pairs = [(name(a), name(b)) for a, b in repo.index.graph.edges]
    graph.add_edges_from(pair for pair in pairs if pair[0] != pair[1])
    edges = set(nx.transitive_reduction(graph).edges)
    assert set(STAGES) == set(graph.nodes)
    assert {(stage, need) for stage, (_, needs) in STAGES.items() for need in needs} == edges


def test_no_two_stages_are_drawn_at_one_place() -> None:
    svg = draw_dag(STAGES, {"clean": 3})
    boxes = [part.split("width=")[0] for part in svg.split("<rect ")[1:]]
    assert len(set(boxes)) == len(STAGES)
    assert ">clean x3</text>" in svg


def test_the_report_shows_every_section_of_params() -> None:
    assert list(report.SECTIONS) == list(PARAMS)
    assert flat({"a": 1, "b": {"c": [1, "d"]}}, "x") == [("x.a", "1"), ("x.b.c", "1, d")]
    assert flat([True, None], "x") == [("x", "true, null")]


def test_what_is_not_marked_as_html_is_escaped() -> None:
    assert element("b", "<i>", Html("<u>"), class_='"') == '<b class="&quot;">&lt;i&gt;<u></b>'
    assert "<script" not in table(EVIL, [EVIL], [[EVIL]])


def test_the_best_value_of_a_column_is_marked() -> None:
    board = {"a": {"users": 9, "mrr": 0.5}, "b": {"users": 9, "mrr": 0.25}}
    assert '<span class="best">0.5000</span>' in board_table(board)
    assert '<span class="value">0.2500</span>' in board_table(board)


def test_example_users_have_few_average_and_many_likings() -> None:
    known = histories({user: [1] * (100 - user) for user in range(1, 100)} | {500: [1] * 400})
    chosen = choose_users(known, pl.Series(range(1, 100)))
    assert chosen == [90, 50, 11]  # with 10, 50 and 89 likings; user 500 has no list
    assert choose_users(known.reverse(), pl.Series(range(1, 100))) == chosen
    assert choose_users(histories({7: [1]}), pl.Series([7])) == [7]


def test_newest_likings_stand_first() -> None:
    known = histories({1: [3, 1, 2], 2: [1]})
    found = newest_likings(known, 1, catalogue(["A", "B", "C"]), 2)
    assert found["title"].to_list() == ["B", "A"]


def test_the_chain_says_where_a_movie_stood_before() -> None:
    steps = {
        "first": lists([(1, 2, 1), (1, 1, 2), (2, 3, 1)]),
        "second": lists([(1, 1, 1), (1, 3, 2), (1, 2, 3)]),
    }
    heads = chain(steps, 1, catalogue(["A", "B", "C"]), 2)
    assert heads["first"].select("rank", "title").rows() == [(1, "B"), (2, "A")]
    found = heads["second"].select("rank", "title", "rank_first").rows()
    assert found == [(1, "A", 2), (2, "C", None)]


def test_raw_files_are_named_with_their_hash(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"abc")
    (tmp_path / "a.csv").write_bytes(b"")
    found = report.raw_files(tmp_path)
    assert [row[:2] for row in found] == [("a.csv", 0), ("b.csv", 3)]
    assert found[1][2].startswith("ba7816bf8f01cfea414140de5dae2223")


# The whole page, from made-up results.


def write_results(folder: Path) -> None:
    """Everything that the stages before `plot_tables` leave, with hostile titles."""
    rng = np.random.default_rng(3)
    data, metrics = folder / "data", folder / "metrics"
    (data / "raw").mkdir(parents=True)
    (data / "raw" / "ratings.csv").write_text("userId\n")
    write_table(catalogue([EVIL] * MOVIES), data / "movies" / "catalogue.parquet", CATALOGUE)
    known = histories({user: list(range(1, user % 9 + 2)) for user in range(1, USERS + 1)})
    write_table(known, data / "histories" / "test.parquet", HISTORIES)
    popularity = pl.DataFrame({"movie_id": range(1, MOVIES + 1), "likings": range(MOVIES, 0, -1)})
    popularity = popularity.with_columns(popularity_rank=pl.col("movie_id"))
    write_table(popularity, data / "popularity" / "test.parquet", POPULARITY)
    board, intervals = {}, []
    for place, system in enumerate(SYSTEMS):
        rows = [
            (user, int(movie) + 1, rank + 1)
            for user in range(1, USERS + 1)
            for rank, movie in enumerate(rng.permutation(MOVIES)[:15])
        ]
        path = data / "recommendations" / system / "test.parquet"
        write_table(lists(rows), path, RECOMMENDATIONS)
        targets = ranks(rng.integers(0, 16, USERS).tolist())
        write_table(targets, data / "ranks" / f"{system}.parquet", RANKS)
        board[system] = dict.fromkeys(COLUMNS, 0.1 + place / 100) | {"users": USERS}
        parts = {"slice": ["target", "genre"], "value": ["tied", EVIL], "users": [3, 4]}
        parts |= {"recall@10": [0.5, 0.25], "ndcg@10": [0.25, 0.125]}
        write_csv(pl.DataFrame(parts), metrics / "slices" / f"{system}.csv")
        for metric in ("ndcg@10", "recall@10", "recall@200"):
            intervals.append((system, "history", metric, 0.1, -0.1, 0.3, False))
    write_json(board, metrics / "leaderboard.json")
    head = ["system", "against", "metric", "difference", "low", "high", "real"]
    write_csv(pl.DataFrame(intervals, schema=head, orient="row"), metrics / "intervals.csv")
    for name in ("data", "split"):
        write_json({"users": USERS, "share": 0.5}, metrics / f"{name}.json")
    for name in PARAMS["retrievers"]:
        curve = {"epoch": [1, 2], "loss": [2.0, 1.0], "ndcg@10": [0.1, 0.2]}
        write_csv(pl.DataFrame(curve), metrics / "curves" / f"{name}.csv")
    for name in PARAMS["rankers"]:
        gains = {"feature": ["rank", "score"], "gain_share": [0.75, 0.25], "splits": [3, 1]}
        write_csv(pl.DataFrame(gains), metrics / "importance" / f"{name}.csv")


def make_report() -> Path:
    """Run both stages in the current folder."""
    data, metrics, made = Path("data"), Path("metrics"), Path("metrics/report.html")
    popular, lists_ = data / "popularity" / "test.parquet", data / "recommendations"
    plot_tables.main(metrics, data / "ranks", lists_, popular, metrics / "plots")
    past, titles = data / "histories" / "test.parquet", data / "movies" / "catalogue.parquet"
    report.main(metrics, data / "raw", past, titles, lists_, PLOTS, TIMINGS, made)
    return made.absolute()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of made-up results."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copy(ROOT / "params.yaml", folder)
    write_results(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return make_report()


def test_equal_results_give_an_equal_page_of_moderate_size(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = page.read_bytes()
    monkeypatch.chdir(page.parents[1])
    assert make_report().read_bytes() == before
    assert len(before) < 1_500_000


def test_a_missing_figure_is_named_and_the_page_stays(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(page.parents[1])
    before = page.read_bytes()
    gone = Path("metrics/importance/hit.csv")
    text = gone.read_text()
    gone.unlink()
    try:
        with pytest.raises(StageError, match=r"metrics/importance/hit\.csv: missing or no table"):
            make_report()
    finally:
        gone.write_text(text)
    assert page.read_bytes() == before


def test_seconds_come_from_the_log_of_a_run() -> None:
    log = """Running stage 'a@x':
> python -m stages.a x
noise 1.5 s
a@x: 1,000 rows -> 3, 12.5 s

Running stage 'b':
error: c: is wrong
Running stage 'embeddings@id':
embeddings: 5 movies of 3 numbers, 0.1 s
"""
    table = stage_seconds(log)
    assert table.rows() == [("a@x", 12.5), ("embeddings@id", 0.1)]
    shown = timing_table(table, 1)
    assert [part in shown for part in ("a@x", "12.5", "1 others", "12.6")] == [True] * 4


def test_titles_from_the_data_are_text(page: Path) -> None:
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
        assert tab.evaluate("document.querySelectorAll('figure svg').length") == 12
        rows = tab.evaluate("[...document.querySelectorAll('table')[0].rows].map(r => r.innerText)")
        assert [row.split("\t")[0] for row in rows] == ["system", *SYSTEMS]
        assert tab.evaluate("document.querySelector('table').checkVisibility()")
        for pixels in (1200, 400):  # wide tables scroll by themselves, the page does not
            tab.set_viewport_size({"width": pixels, "height": 800})
            box = "document.querySelector('table').getBoundingClientRect()"
            assert tab.evaluate(f"{box}.height > 200 && {box}.top < innerHeight")
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_page_that_asks_for_something_or_fails_is_found(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error(1); x</script>')
    with open_tab() as tab:
        tab.goto(bad.as_uri())
        assert outside(tab.asked) == ["http://127.0.0.1:9/x.png"]
        assert len(tab.problems) >= 2
