"""Measure the recommendations of new people by the number of movies that they like.

    python -m benchmarks.new_users
    python -m benchmarks.new_users --random

The users of the validation queries with at least 10 positives are served as new people. They tell
only their last 1, 3, 5 or 10 positives before the query, and the low ratings since the first of
these; with `--random`, as many positives of any time, and no low rating. The generators fold them
in: no vector of the training is used. The other movies that they have rated are on no list, but no
model uses them. The ranker is cross-validated over users as in `benchmarks.ablation`: boosters of
other users, trained on whole histories. The generators learned from these users' ratings before
the query, among those of all users; none learned from a target.

Reads a finished run in the working directory; test targets are never opened.
"""

import argparse
import importlib

import faiss
import numpy as np
import polars as pl

from benchmarks.ablation import (
    DATA,
    HISTORIES,
    PAIR,
    RANKER,
    SEEN,
    SNAPSHOT,
    SOURCES,
    fold_boosters,
    full_examples,
    main_metrics,
    validation_targets,
)
from benchmarks.tables import change_text, figures_row, header, interval_text
from stages.candidates import search_unseen
from stages.common.files import read_arrays
from stages.common.params import load_params, read_value
from stages.common.systems import FUSION, block_names, merged_generators, ranker_system
from stages.data.snapshots import read_histories, read_seen
from stages.evaluation.accuracy import MAIN_METRICS
from stages.fusion import fuse, merge
from stages.models.top_k import CandidateParams
from stages.models.user_vectors import user_embeddings
from stages.parallel.process import thread_count
from stages.ranking.features import build_features, generator_features
from stages.ranking.inputs import RankerParams, read_context
from stages.ranking.scorer import Scorer
from stages.rerank import rerank
from stages.serving.pipeline import NEW_USER

METRICS = ("ndcg@10", "recall@10")
Vectors = dict[str, tuple[np.ndarray, np.ndarray]]  # by retriever: user ids and their vectors


def cut_histories(
    histories: pl.DataFrame, count: int | None, rng: np.random.Generator | None = None
) -> pl.DataFrame:
    """Return HISTORIES of new people.

    Args:
        histories: HISTORIES.
        count: The positives that they keep: the newest. None: all.
        rng: Draws the positives instead.
    """
    people = histories.with_columns(source_user_id=pl.lit(NEW_USER, pl.Int32))
    if count is None:
        return people
    if rng is not None:
        events = people.select("user_id", "history", "timestamps").explode("history", "timestamps")
        events = events.with_columns(draw=pl.Series(rng.random(events.height)))
        drawn = events.filter(pl.col("draw").rank("ordinal").over("user_id") <= count)
        lists = drawn.group_by("user_id").agg("history", "timestamps")
        people = people.drop("history", "timestamps").join(
            lists, on="user_id", how="left", maintain_order="left"
        )
    return people.with_columns(
        pl.col("history", "timestamps").list.tail(count),
        history_length=pl.min_horizontal("history_length", pl.lit(count, pl.UInt32)),
    )


def cut_seen(seen: pl.DataFrame, histories: pl.DataFrame, with_low_ratings: bool) -> pl.DataFrame:
    """Return SEEN in which `positive` is null where the person does not tell the rating.

    A person tells the positives of the history, and the low ratings since the first of them.

    Args:
        seen: SEEN.
        histories: HISTORIES from `cut_histories`.
        with_low_ratings: Whether the person tells low ratings.
    """
    told = histories.select("user_id", movie_id="history").explode("movie_id")
    told = told.with_columns(in_history=True)
    rows = seen.join(told, on=PAIR, how="left", maintain_order="left")
    is_told = pl.col("in_history").fill_null(False)
    if with_low_ratings:
        since = histories.select("user_id", since=pl.col("timestamps").list.first())
        rows = rows.join(since, on="user_id", how="left", maintain_order="left")
        is_told |= ~pl.col("positive") & (pl.col("timestamp") >= pl.col("since"))
    # The columns of the rating alone: all rows stay.
    rows = rows.select(
        *PAIR, *(pl.when(is_told).then(name).alias(name) for name in seen.columns[len(PAIR) :])
    )
    # Ratings that are not told do not make the others older.
    age = pl.col("age").rank("ordinal").over("user_id") - 1
    return rows.with_columns(age=age).cast(dict(seen.schema))


class Generators:
    """The candidate generators of the validation snapshot."""

    def __init__(self) -> None:
        """Read the models of all generators, and the indexes of the retrievers."""
        names, models, file = block_names("retrievers"), DATA / "models", f"{SNAPSHOT}.npz"
        self.towers = {name: read_arrays(models / "retrievers" / name / file) for name in names}
        self.indexes = {
            name: faiss.read_index(str(DATA / "index" / name / f"{SNAPSHOT}.faiss"))
            for name in names
        }
        self.models = {
            name: read_arrays(models / "generators" / name / file)
            for name in block_names("generators")
        }
        self.count = load_params(CandidateParams, "candidates").count

    def lists(
        self, histories: pl.DataFrame, seen: pl.DataFrame
    ) -> tuple[dict[str, pl.DataFrame], Vectors]:
        """Return RECOMMENDATIONS by generator, and the users' vectors by retriever.

        Args:
            histories: HISTORIES, sorted by user.
            seen: SEEN of these users.
        """
        users = histories["user_id"].to_numpy()
        lists = {
            name: importlib.import_module(f"stages.generators.{name}").recommend(
                arrays, users, seen, self.count
            )
            for name, arrays in self.models.items()
        }
        vectors = {n: user_embeddings(a, histories, seen) for n, a in self.towers.items()}
        for name, index in self.indexes.items():
            lists[name] = search_unseen(index, *vectors[name], seen, self.count)
        return lists, vectors


class Ranker:
    """A ranker whose boosters do not know the users that they rank for."""

    def __init__(self, users: np.ndarray, seed: int) -> None:
        """Train a booster for each fold of the sorted `users`."""
        self.params = load_params(RankerParams, f"rankers.{RANKER}")
        tables, groups = full_examples(self.params)
        features = [name for names in groups.values() for name in sorted(names)]
        boosters = fold_boosters(tables, self.params, features, users, seed)
        self.scorers = [(fold, Scorer([booster])) for fold, booster in boosters]
        _, self.context = read_context(SOURCES, self.params.retriever, SNAPSHOT)

    def rank(self, merged: pl.DataFrame, histories: pl.DataFrame, vectors: Vectors) -> pl.DataFrame:
        """Return RECOMMENDATIONS of the merged candidates of the users of `histories`."""
        groups = self.params.feature_groups
        context = self.context._replace(user_vectors=vectors[self.params.retriever])
        features = generator_features(merged, groups)
        features = build_features(features, histories, context, groups)
        return pl.concat(
            rerank(scorer, features.filter(pl.col("user_id").is_in(fold)), thread_count())
            for fold, scorer in self.scorers
        ).sort("user_id", "rank")


def read_queries(min_positives: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return HISTORIES and SEEN of the validation queries with `min_positives` or more."""
    histories = read_histories(HISTORIES, SNAPSHOT)
    histories = histories.filter(pl.col("history_length") >= min_positives)
    seen = read_seen(SEEN, SNAPSHOT)
    return histories, seen.join(histories, on="user_id", how="semi", maintain_order="left")


def main() -> None:
    """Print a row for each number of positives: first the main systems, then all generators."""
    parser = argparse.ArgumentParser(description="Quality for new people.")
    counts, text = [1, 3, 5, 10], "numbers of positives of a new user (1 3 5 10)"
    parser.add_argument("--positives", type=int, nargs="+", default=counts, help=text)
    parser.add_argument("--random", action="store_true", help="positives of any time")
    parser.add_argument("--seed", type=int, default=1, help="seed of folds, boosters and positives")
    options = parser.parse_args()
    histories, seen = read_queries(max(options.positives))
    targets = validation_targets().join(histories, on="user_id", how="semi", maintain_order="left")
    generators = Generators()
    ranker = Ranker(histories["user_id"].to_numpy(), options.seed)
    system = ranker_system(RANKER)
    tables, told = {}, {}
    rows = {f"{n}": n for n in options.positives} | {"all": None, "all, known user": None}
    for name, count in rows.items():
        is_known = name.endswith("known user")
        rng = np.random.default_rng(options.seed) if options.random else None
        cut = histories if is_known else cut_histories(histories, count, rng)
        rated = cut_seen(seen, cut, with_low_ratings=rng is None) if count else seen
        lists, vectors = generators.lists(cut, rated)
        merged_names = merged_generators()
        merged = merge({n: lists[n] for n in merged_names})
        lists[FUSION] = fuse(merged, merged_names, read_value("fusion.k", float))
        lists[system] = ranker.rank(merged, cut, vectors)
        tables[name] = {n: main_metrics(table, targets) for n, table in lists.items()}
        told[name] = rated["positive"].is_not_null().sum() / cut.height
    print_tables(tables, told, system)


def print_tables(
    tables: dict[str, dict[str, np.ndarray]], told: dict[str, float], system: str
) -> None:
    """Print the Markdown tables.

    Args:
        tables: [users, metrics] `MAIN_METRICS` by row and system.
        told: Mean number of ratings that the person tells, by row.
        system: The ranker.
    """
    columns = [MAIN_METRICS.index(metric) for metric in METRICS]
    names = list(next(iter(tables.values())))
    last = list(tables.values())[-1]
    best = max((n for n in names if n not in (FUSION, system)), key=lambda n: last[n][:, 0].mean())
    systems = [best, FUSION, system]
    heads = [f"{name}, {metric}" for metric in METRICS for name in systems]
    print(f"{len(last[system])} users\n")
    print(header("positives", ["ratings told", *heads, f"{system}, ndcg@10 changes by"]))
    before = None
    for row, figures in tables.items():
        cells = [interval_text(figures[name][:, c]) for c in columns for name in systems]
        change = change_text(figures[system][:, 0], before)
        before = figures[system][:, 0]
        print(f"| {row} | {told[row]:.1f} | {' | '.join(cells)} | {change} |")
    print("\n" + header("ndcg@10", names))
    for row, figures in tables.items():
        print(figures_row(row, [figures[name][:, 0].mean() for name in names]))


if __name__ == "__main__":
    main()
