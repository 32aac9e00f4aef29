"""Stage: write the report of a run, one page without scripts that opens offline.

The page names movies that users liked. Git holds no data, so DVC keeps the page.
"""

import dataclasses
import hashlib
from pathlib import Path

import polars as pl

from stages.common.files import read_csv, read_json
from stages.common.params import read_all, read_value
from stages.common.stage import atomic_write, run_stage
from stages.common.systems import (
    FUSION,
    block_names,
    generator_names,
    ranker_system,
    system_list_paths,
)
from stages.common.tables import CATALOGUE, HISTORIES, RECOMMENDATIONS, read_table
from stages.evaluation.metrics import rank_systems
from stages.reporting.charts import CHARTS, draw
from stages.reporting.examples import choose_users, newest_positives, step_heads
from stages.reporting.glossary import glossary
from stages.reporting.html_page import Html, element, figure, page, section
from stages.reporting.parts import (
    board_table,
    example,
    file_table,
    interval_table,
    introduction,
    parameters,
    quality_table,
    statistics,
    system_table,
    timing_table,
    verdict_box,
    without_folders,
)
from stages.reporting.verdict import rule_sentence, served_sentence, verdict

NUM_EXAMPLE_MOVIES = 10
NUM_STAGES = 12  # the rows of the table of timings
TIMED_SOURCE = "ml-100k"  # the data set of benchmarks/timings.csv


def raw_file_versions(folder: Path) -> list[tuple[str, int, str]]:
    """Return name, size in bytes and SHA-256 of every raw file."""
    versions = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        versions.append((path.relative_to(folder).as_posix(), path.stat().st_size, digest))
    return versions


def draw_charts(tables: Path, templates: Path) -> dict[str, Html]:
    """Draw every chart, and return it with its caption, by the chart's name."""
    charts = {}
    for name, chart in CHARTS.items():
        table = read_csv(tables / f"{chart.file}.csv")
        charts[name] = figure(draw(name, chart, table, templates), chart.caption)
    return charts


def example_users(
    histories: Path, catalogue: Path, ids: Path, paths: dict[str, Path]
) -> list[Html]:
    """Return one part for each example user.

    Args:
        histories: HISTORIES of the snapshot `test`.
        catalogue: CATALOGUE.
        ids: The id maps of the stage `clean`.
        paths: RECOMMENDATIONS by step, in the order of the pipeline.
    """
    movies, history_table = read_table(catalogue, CATALOGUE), read_table(histories, HISTORIES)
    last_step = list(paths)[-1]
    users = choose_users(history_table, read_table(paths[last_step])["user_id"].unique())
    is_example = pl.col("user_id").is_in(users)  # all users' lists may be millions of rows
    lists = {
        step: read_table(path, RECOMMENDATIONS).filter(is_example) for step, path in paths.items()
    }
    lengths = dict(history_table.select("user_id", "history_length").iter_rows())
    sources = dict(history_table.select("user_id", "source_user_id").iter_rows())
    raw_ids = dict(read_table(ids / "users.parquet").select("user_id", "raw_id").iter_rows())
    parts = []
    for user in users:
        newest = newest_positives(history_table, user, movies, NUM_EXAMPLE_MOVIES)
        heads = step_heads(lists, user, movies, NUM_EXAMPLE_MOVIES)
        parts.append(example(raw_ids[sources[user]], lengths[user], newest, heads))
    return parts


def verdict_of_run(metrics: Path, board: dict[str, dict[str, float]], split: dict) -> Html:
    """Return the box at the top of the page."""
    rankers = [ranker_system(name) for name in block_names("rankers")]
    sentences = verdict(
        board,
        read_csv(metrics / "intervals.csv"),
        read_csv(metrics / "plots" / "main_metrics.csv"),
        [name for name in generator_names() if name in board],
        [name for name in rankers if name in board],
        rule_sentence(
            split,
            read_value("time_split.method", str),
            read_value("time_split.targets", str),
            read_value("candidates.exclude", str),
        ),
    )
    served = ranker_system(read_value("export.ranker", str))
    reason = served_sentence(read_csv(metrics / "validation.csv"), served, rankers)
    return verdict_box(sentences, reason)


def example_steps(board: dict[str, dict[str, float]]) -> list[str]:
    """Return the systems whose lists the examples show, in the order of the pipeline.

    These are the two best generators, fusion, and the best ranker of the leaderboard.
    """
    generators = [name for name in generator_names() if name in board]
    rankers = [name for name in map(ranker_system, block_names("rankers")) if name in board]
    fusion = [FUSION] if FUSION in board else []
    return [*rank_systems(board, generators)[:2], *fusion, *rank_systems(board, rankers)[:1]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """The files and folders that the report shows."""

    metrics: Path
    raw: Path
    histories: Path
    catalogue: Path
    ids: Path
    candidates: Path
    recommendations: Path
    plots: Path
    timings: Path


def main(inputs: Inputs, report: Path) -> str:
    """Write the page."""
    metrics = inputs.metrics
    board = read_json(metrics / "leaderboard.json")
    counts = {name: read_json(metrics / f"{name}.json") for name in ("data", "split")}
    generators = [name for name in generator_names() if name in board]
    best_generator = rank_systems(board, generators)[0]
    paths = system_list_paths(example_steps(board), inputs.candidates, inputs.recommendations)
    charts = draw_charts(metrics / "plots", inputs.plots)
    source = read_value("data.source", str)
    parts: dict[str, list[Html]] = {
        "Verdict": [verdict_of_run(metrics, board, counts["split"])],
        "Systems": [introduction("systems"), system_table(glossary(board, read_all()))],
        "Results": [
            introduction("results"),
            board_table(board),
            charts["main_metrics"],
            element("h3", f"Difference to {best_generator}, the best generator"),
            introduction("differences"),
            interval_table(read_csv(metrics / "intervals.csv"), best_generator),
        ],
        "Beyond accuracy": [
            introduction("beyond"),
            quality_table(read_csv(metrics / "beyond_accuracy.csv")),
            charts["beyond_accuracy"],
        ],
        "Data": [
            introduction("data"),
            file_table(raw_file_versions(inputs.raw)),
            statistics(**counts),
        ],
        "Accuracy by list length": [charts["recall"], charts["ndcg"]],
        "Training": [charts["curve"], charts["loss"]],
        "Slices": [charts["slices"]],
        "Coverage": [charts["accuracy_coverage"], charts["long_tail"]],
        "Ranker features": [charts["importance"]],
        "Examples": [
            introduction("examples"),
            *example_users(inputs.histories, inputs.catalogue, inputs.ids, paths),
        ],
        "Parameters": [introduction("parameters"), *parameters(read_all())],
    }
    if source == TIMED_SOURCE:
        timings = timing_table(read_csv(inputs.timings), NUM_STAGES)
        parts["Timings"] = [introduction("timings"), timings]
    users = next(iter(board.values()))["users"]
    lead = f"{without_folders(source)}: {len(board)} systems, {users:,} test users"
    sections = [section(title, *body) for title, body in parts.items()]
    text = page("Movie recommender: report", lead, sections)
    with atomic_write(report) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return f"{len(board)} systems -> {len(parts)} sections, {len(text) // 1000} kB"


if __name__ == "__main__":
    run_stage(main)
