"""Stage: everything about a run on one page, which needs no network and runs no program.

The page names movies that users liked, so it is kept by DVC and not by Git, which holds no data.
"""

import hashlib
from pathlib import Path

import polars as pl

from stages.common.files import read_json
from stages.common.params import read_section, read_value
from stages.common.stage import StageError, run_stage, whole_file
from stages.common.tables import CATALOGUE, HISTORIES, RECOMMENDATIONS, read_table
from stages.reporting.charts import CHARTS, draw, importance
from stages.reporting.dag import STAGES, draw_dag
from stages.reporting.examples import chain, choose_users, newest_likings
from stages.reporting.html_page import Html, element, figure, page, section
from stages.reporting.parts import (
    TEXTS,
    Board,
    board_table,
    example,
    file_table,
    interval_table,
    introduction,
    parameters,
    statistics,
    timing_table,
)

SECTIONS = (  # of params.yaml
    *("seed", "dvclive", "engine", "ray", "data"),
    *("clean", "positives", "time_split", "histories", "candidates"),
    *("item_knn", "ease", "faiss", "retrievers", "fusion", "lightgbm", "rankers"),
    *("evaluate", "leaderboard", "export"),
)
SHOWN = 10  # movies of an example's lists
FEATURES = 20  # of a ranker, the most important
STAGES_SHOWN = 12  # the longest


def read_csv(path: Path) -> pl.DataFrame:
    """A small table of metrics."""
    try:
        return pl.read_csv(path)
    except (FileNotFoundError, pl.exceptions.PolarsError):
        raise StageError(f"{path}: missing or no table; run `dvc repro`") from None


def raw_files(folder: Path) -> list[tuple[str, int, str]]:
    """Name, bytes and SHA-256 of every raw file: the version of the data."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found.append((path.relative_to(folder).as_posix(), path.stat().st_size, digest))
    return found


def best(board: Board, systems: list[str]) -> list[str]:
    """`systems` by ndcg@10, best first; of equal ones the first named."""
    return sorted(systems, key=lambda name: -board[name]["ndcg@10"])


def variants(retrievers: int, rankers: int, systems: int) -> dict[str, int]:
    """How many variants the stages have that have several."""
    counts = dict.fromkeys(
        ("train_retrieval", "embeddings", "faiss_index", "candidates"), retrievers
    )
    counts |= dict.fromkeys(("ranker_data", "train_ranker", "rerank"), rankers)
    return counts | {"evaluate": systems}


def figures(
    metrics: Path, templates: Path, retrievers: list[str], rankers: list[str]
) -> dict[str, Html]:
    """Every chart with its caption, by its name; a ranker's is named like its system."""
    made = {c.table for c in CHARTS.values() if c.table != "curves"}
    tables = {name: read_csv(metrics / "plots" / f"{name}.csv") for name in made}
    curves = [
        read_csv(metrics / "curves" / f"{name}.csv").with_columns(filename=pl.lit(name))
        for name in retrievers
    ]
    tables["curves"] = pl.concat(curves, how="diagonal_relaxed")
    wanted = {name: (chart, TEXTS[name]) for name, chart in CHARTS.items()}
    for name in rankers:
        system = f"ranker_{name}"
        tables[system] = read_csv(metrics / "importance" / f"{name}.csv").head(FEATURES)
        wanted[system] = importance(system), TEXTS["importance"].format(system)
    return {
        name: figure(draw(name, chart, tables[chart.table], templates), caption)
        for name, (chart, caption) in wanted.items()
    }


def examples(
    histories: Path, catalogue: Path, recommendations: Path, steps: list[str]
) -> list[Html]:
    """One part for each chosen user."""
    movies, known = read_table(catalogue, CATALOGUE), read_table(histories, HISTORIES)
    paths = {step: recommendations / step / "test.parquet" for step in steps}
    users = choose_users(known, read_table(paths[steps[-1]])["user_id"].unique())
    mine = pl.col("user_id").is_in(users)  # the others' lists may be millions of rows
    lists = {step: read_table(path, RECOMMENDATIONS).filter(mine) for step, path in paths.items()}
    lengths = dict(known.select("user_id", "history_length").iter_rows())
    parts = []
    for user in users:
        newest = newest_likings(known, user, movies, SHOWN)
        parts.append(example(user, lengths[user], newest, chain(lists, user, movies, SHOWN)))
    return parts


def main(
    metrics: Path,
    raw: Path,
    histories: Path,
    catalogue: Path,
    recommendations: Path,
    plots: Path,
    timings: Path,
    report: Path,
) -> str:
    """Read figures, lists and titles, write the page."""
    board = read_json(metrics / "leaderboard.json")
    counts = {name: read_json(metrics / f"{name}.json") for name in ("data", "split")}
    intervals = read_csv(metrics / "intervals.csv")
    retrievers = read_value("leaderboard.retrievers", list[str])
    retriever = best(board, retrievers)[0]
    generators = best(board, read_value("fusion.generators", list[str]))[:2]
    rankers = list(read_section("rankers"))
    ranker = best(board, [f"ranker_{name}" for name in rankers])[0]
    steps = [*generators, "fusion", ranker]
    drawn = figures(metrics, plots, retrievers, rankers)
    dag = draw_dag(STAGES, variants(len(retrievers), len(rankers), len(board)))
    parts: dict[str, list[Html]] = {
        "Results": [
            introduction("results"),
            board_table(board),
            drawn["scores"],
            element("h3", f"Difference to {retriever}, the best retriever"),
            introduction("differences"),
            interval_table(intervals, retriever),
        ],
        "Data": [introduction("data"), file_table(raw_files(raw)), statistics(**counts)],
        "Pipeline": [figure(dag, TEXTS["pipeline"])],
        "Accuracy by list length": [drawn["recall"], drawn["ndcg"]],
        "Learning": [drawn["curve"], drawn["loss"]],
        "Slices": [drawn["slices"]],
        "Coverage": [drawn["balance"], drawn["tail"]],
        "Ranker features": [drawn[f"ranker_{name}"] for name in rankers],
        "Examples": [
            introduction("examples"),
            *examples(histories, catalogue, recommendations, steps),
        ],
        "Parameters": [
            introduction("parameters"),
            *parameters({name: read_section(name) for name in SECTIONS}),
        ],
        "Timings": [introduction("timings"), timing_table(read_csv(timings), STAGES_SHOWN)],
    }
    users = next(iter(board.values()))["users"]
    lead = f"{read_value('data.source', str)}: {len(board)} systems, {users:,} test users"
    text = page("Movie recommender: report", lead, [section(t, *p) for t, p in parts.items()])
    with whole_file(report) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return f"{len(board)} systems -> {len(parts)} sections, {len(text) // 1000} kB"


if __name__ == "__main__":
    run_stage(main)
