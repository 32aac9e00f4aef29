"""Measure each generator, feature group, objective and transformer design on validation targets.

    python -m benchmarks.ablation generators
    python -m benchmarks.ablation rankers
    python -m benchmarks.ablation designs

Reads a finished run in the working directory; test targets are never opened. Rankers are
cross-validated over users: all validation candidates of a user are ranked by a booster that was
trained on other users. A target that was not retrieved is a miss. Each row of `rankers` says by how
much ndcg@10 changes, with the 95% interval of a paired bootstrap over users; the folds and boosters
of several seeds are averaged before.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl

from benchmarks.tables import RESAMPLES, figures_row, header
from stages.common.params import load_params, read_value
from stages.common.systems import FUSION, merged_generators
from stages.common.tables import RECOMMENDATIONS, TARGETS, read_table
from stages.data.snapshots import (
    RANKER_SNAPSHOTS,
    read_histories,
    read_low_ratings,
    read_positives,
    read_seen,
)
from stages.evaluation.accuracy import MAIN_CUTOFFS, MAIN_METRICS
from stages.evaluation.bootstrap import paired_intervals
from stages.evaluation.metrics import target_ranks, user_metrics
from stages.ranker_data import add_labels, sample_negatives
from stages.ranking.features import GENERATOR_GROUPS, build_features, generator_features
from stages.ranking.folds import assign_folds, fold_rows
from stages.ranking.inputs import FeatureSources, RankerParams, read_context
from stages.train_ranker import KEYS, Params, lightgbm_params

TREES = 150
RANKER = "history"
SNAPSHOT = "val"
PAIR = ["user_id", "movie_id"]
DATA = Path("data")
HISTORIES, SEEN, TARGETS_FOLDER = DATA / "histories", DATA / "seen", DATA / "targets"
SOURCES = FeatureSources(
    lists=DATA,
    movies=DATA / "movies",
    histories=HISTORIES,
    embeddings=DATA / "embeddings",
    generators=DATA / "models" / "generators",
)
OPTIONS = ("gated_residuals", "use_time_gaps", "use_genres", "use_distances")
DESIGNS = {
    "SASRec block": dict.fromkeys(OPTIONS, False),
    "+ gated residuals": dict.fromkeys(OPTIONS[1:], False),
    "+ time gaps": dict.fromkeys(OPTIONS[2:], False),
    "+ genres in the movie vectors": dict.fromkeys(OPTIONS[3:], False),
    "+ distances in attention (the default)": {},
    "default, 512 sampled movies": {"num_sampled": 512},
    "default, no movie masked": {"item_mask_prob": 0.0},
    "default, one block": {"num_blocks": 1},
}


def validation_targets() -> pl.DataFrame:
    """Return TARGETS of the users that rankers learn from, sorted by user."""
    targets = read_table(TARGETS_FOLDER / f"{SNAPSHOT}.parquet", TARGETS)
    histories = read_histories(HISTORIES, SNAPSHOT)
    return targets.join(histories, on="user_id", how="semi").sort("user_id")


def main_metrics(lists: pl.DataFrame, targets: pl.DataFrame) -> np.ndarray:
    """Return the [users, metrics] `MAIN_METRICS` of RECOMMENDATIONS."""
    ranks = targets.select("user_id", "source_user_id", rank=target_ranks(lists, targets))
    return user_metrics(ranks, MAIN_CUTOFFS).select(MAIN_METRICS).to_numpy()


def generator_rows(_: int) -> Iterator[str]:
    """Measure every generator, and the merged candidates without it."""
    targets = validation_targets()
    names = merged_generators()
    merged = pl.read_parquet(DATA / "merged" / f"{SNAPSHOT}.parquet")
    target_rows = targets.join(merged, on=PAIR, how="left")
    yield header("generator", [*MAIN_METRICS, "candidate recall of the others"])
    for name in [*names, FUSION]:
        folder = DATA / ("recommendations" if name == FUSION else "candidates") / name
        lists = read_table(folder / f"{SNAPSHOT}.parquet", RECOMMENDATIONS)
        is_listed = [pl.col(f"rank_{n}").is_not_null() for n in names if n != name]
        recall = target_rows.select(pl.any_horizontal(is_listed).mean()).item()
        yield figures_row(name, [*main_metrics(lists, targets).mean(axis=0), recall])


def full_examples(ranker: RankerParams) -> tuple[dict[str, pl.DataFrame], dict[str, set[str]]]:
    """Return the ranker's examples by snapshot with all candidates, and the features by group."""
    tables: dict[str, pl.DataFrame] = {}
    for snapshot in RANKER_SNAPSHOTS:
        histories, context = read_context(SOURCES, ranker.retriever, snapshot)
        candidates = pl.read_parquet(SOURCES.lists / ranker.candidates / f"{snapshot}.parquet")
        table = generator_features(candidates, ranker.feature_groups)
        targets = read_table(TARGETS_FOLDER / f"{snapshot}.parquet", TARGETS)
        table = add_labels(table, targets, ranker.drop_users_without_hit)
        tables[snapshot] = build_features(table, histories, context, ranker.feature_groups)
    first_candidate = candidates[:1]
    columns = {
        group: generator_features(first_candidate, [group])
        if group in GENERATOR_GROUPS
        else build_features(first_candidate.select(PAIR), histories, context, [group])
        for group in ranker.feature_groups
    }
    return tables, {group: set(table.columns) - set(PAIR) for group, table in columns.items()}


def fold_boosters(
    tables: dict[str, pl.DataFrame],
    ranker: RankerParams,
    features: list[str],
    users: np.ndarray,
    seed: int,
) -> Iterator[tuple[np.ndarray, lgb.Booster]]:
    """Yield the user_id of each fold of `users`, and a booster that all other users trained."""
    params = load_params(Params, "lightgbm")
    options = lightgbm_params(params, ranker.model_copy(update={"metric": "ndcg"}), seed)
    folds = assign_folds(users, params.nfold, seed)
    for _, validation_index in fold_rows(folds, users, np.ones(len(users), dtype=int)):
        is_validation = pl.col("user_id").is_in(users[validation_index])
        examples = [
            sample_negatives(t.filter(~is_validation), ranker.negatives_per_user, seed)
            for t in tables.values()
        ]
        sizes = [t.group_by("user_id", maintain_order=True).len()["len"] for t in examples]
        rows = pl.concat(examples)
        data = lgb.Dataset(
            rows.select(features).to_numpy(order="c"),
            rows["label"].to_numpy(),
            group=pl.concat(sizes).to_numpy(),
            feature_name=features,
            params=options,
        )
        yield users[validation_index], lgb.train(options, data, num_boost_round=TREES)


def cross_validate(
    tables: dict[str, pl.DataFrame], ranker: RankerParams, features: list[str], seed: int
) -> np.ndarray:
    """Return [users, metrics] of all validation candidates, scored by boosters of other users."""
    users = np.unique(np.concatenate([t["user_id"].to_numpy() for t in tables.values()]))
    lists = []
    for fold, booster in fold_boosters(tables, ranker, features, users, seed):
        candidates = tables[SNAPSHOT].filter(pl.col("user_id").is_in(fold))
        scores = booster.predict(candidates.select(features).to_numpy(order="c"))
        lists.append(candidates.select(*PAIR, score=pl.Series(scores)))
    return main_metrics(pl.concat(lists), validation_targets())


def ranker_rows(seeds: int) -> Iterator[str]:
    """Measure the ranker with other objectives, and without a snapshot, generator or group."""
    ranker = load_params(RankerParams, f"rankers.{RANKER}")
    tables, features_by_group = full_examples(ranker)
    features = [n for n in tables[SNAPSHOT].columns if n not in KEYS]

    def measure(
        drop: set[str] = frozenset(),
        snapshots: tuple[str, ...] = RANKER_SNAPSHOTS,
        **changes: object,
    ) -> np.ndarray:
        """Return [users, metrics], the mean over the seeds."""
        variant = ranker.model_copy(update=changes)
        rest = [name for name in features if name not in drop]
        examples = {name: tables[name] for name in snapshots}
        runs = [cross_validate(examples, variant, rest, seed) for seed in range(1, seeds + 1)]
        return np.mean(runs, axis=0)

    full = measure()

    def row(name: str, values: np.ndarray) -> str:
        difference = (values - full)[:, :1]
        low, high = paired_intervals(difference, RESAMPLES, np.random.default_rng(0))
        figures = [*values.mean(axis=0), difference.mean(), low[0], high[0]]
        return figures_row(name, figures)

    yield header(
        f"ranker ({TREES} trees, {seeds} seeds)",
        [*MAIN_METRICS, "ndcg@10 changes by", "low", "high"],
    )
    yield row(f"all {len(features)} features, {ranker.objective}", full)
    for group, columns in features_by_group.items():
        yield row(f"without group `{group}` ({len(columns)})", measure(columns))
    for name in merged_generators():
        columns = {f"{kind}_{name}" for kind in GENERATOR_GROUPS}
        yield row(f"without the scores and ranks of `{name}`", measure(columns))
    for objective in ("lambdarank", "binary", "rank_xendcg"):
        if objective != ranker.objective:
            yield row(objective, measure(objective=objective))
    yield row("without the inner_val targets", measure(snapshots=(SNAPSHOT,)))


def design_rows(seeds: int) -> Iterator[str]:
    """Measure the history retriever without some of its parts, trained for two snapshots."""
    from stages import train_retrieval
    from stages.retrieval import history

    params = load_params(history.Params, "retrievers.history")
    max_length = read_value("histories.max_length", int)
    inner_val, val = RANKER_SNAPSHOTS
    positives = read_positives(HISTORIES, val)
    tables = {
        "positives": positives,
        "low_ratings": read_low_ratings(SEEN),
        "histories": read_histories(HISTORIES, inner_val),
        "seen": read_seen(SEEN, inner_val),
        "targets": read_table(TARGETS_FOLDER / f"{inner_val}.parquet", TARGETS),
        "genres": read_table(DATA / "movies" / "genres.parquet"),
    }
    histories = read_histories(HISTORIES, val)
    seen = read_seen(SEEN, val)
    validate = train_retrieval.Validator(positives, histories, seen, validation_targets())
    yield header(f"history retriever, mean of {seeds} seeds", [*MAIN_METRICS, "best epoch"])
    for name, changes in DESIGNS.items():
        design, rows = params.model_copy(update=changes), []
        for seed in range(1, seeds + 1):
            first_fit, arrays = train_retrieval.train(
                history, design, tables, max_length, seed, snapshots=RANKER_SNAPSHOTS
            )
            metrics = validate(arrays[val])
            rows.append([*(metrics[metric] for metric in MAIN_METRICS), first_fit.epoch])
        yield figures_row(name, list(np.mean(rows, axis=0)))


TABLES: dict[str, Callable[[int], Iterator[str]]] = {
    "generators": generator_rows,
    "rankers": ranker_rows,
    "designs": design_rows,
}


def main() -> None:
    """Parse the command line and print one table."""
    parser = argparse.ArgumentParser(description="Ablations on validation targets.")
    parser.add_argument("table", choices=TABLES, help="what is left out, or varied")
    parser.add_argument("--seeds", type=int, default=2, help="runs that are averaged (2)")
    options = parser.parse_args()
    for row in TABLES[options.table](options.seeds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
