"""Measure each generator, feature group, objective and transformer design on validation targets.

    python -m benchmarks.ablation generators
    python -m benchmarks.ablation rankers
    python -m benchmarks.ablation designs

Reads a finished run in the working directory; test targets are never opened. Rankers are
cross-validated over users: all validation candidates of a user are ranked by a booster that was
trained on other users. A target that was not retrieved is a miss.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl

from benchmarks.tables import figures_row, header
from stages.common.params import load_params, read_value
from stages.common.systems import FUSION, merged_generators
from stages.common.tables import LOW_RATINGS, RECOMMENDATIONS, TARGETS, read_table
from stages.data.snapshots import RANKER_SNAPSHOTS, read_histories, read_positives
from stages.evaluation.accuracy import MAIN_CUTOFFS, MAIN_METRICS
from stages.evaluation.metrics import target_ranks, user_metrics
from stages.ranker_data import add_labels, sample_negatives
from stages.ranking.features import GENERATOR_GROUPS, build_features, generator_features
from stages.ranking.inputs import FeatureSources, RankerParams, read_context
from stages.train_ranker import KEYS, Params, lightgbm_params, user_folds

TREES = 150
RANKER = "history"
SNAPSHOT = "val"
PAIR = ["user_id", "movie_id"]
DATA = Path("data")
HISTORIES, TARGETS_FOLDER = DATA / "histories", DATA / "targets"
DESIGNS = {
    "SASRec block": {"gated_residuals": False, "use_time_gaps": False, "use_genres": False},
    "+ gated residuals": {"use_time_gaps": False, "use_genres": False},
    "+ time gaps": {"use_genres": False},
    "+ genres in the movie vectors (the default)": {},
    "default, 512 sampled movies": {"num_sampled": 512},
    "default, no movie masked": {"item_mask_prob": 0.0},
    "default, one block": {"num_blocks": 1},
}
DESIGN_SEEDS = (1, 2)


def validation_targets() -> pl.DataFrame:
    """Return TARGETS of the users that rankers learn from, sorted by user."""
    targets = read_table(TARGETS_FOLDER / f"{SNAPSHOT}.parquet", TARGETS)
    histories = read_histories(HISTORIES, SNAPSHOT)
    return targets.join(histories, on="user_id", how="semi").sort("user_id")


def mean_main_metrics(lists: pl.DataFrame, targets: pl.DataFrame) -> list[float]:
    """Return the means of `MAIN_METRICS` of RECOMMENDATIONS."""
    ranks = targets.select("user_id", rank=target_ranks(lists, targets))
    return list(user_metrics(ranks, MAIN_CUTOFFS).select(MAIN_METRICS).mean().row(0))


def generator_rows() -> Iterator[str]:
    """Measure every generator, without known low ratings, and the merged candidates without it."""
    targets = validation_targets()
    names = merged_generators()
    merged = pl.read_parquet(DATA / "merged" / f"{SNAPSHOT}.parquet")
    target_rows = targets.join(merged, on=PAIR, how="left")
    low_ratings = read_table(DATA / "low_ratings" / f"{SNAPSHOT}.parquet", LOW_RATINGS)
    columns = ["ndcg@10 without low ratings", "candidate recall of the others"]
    yield header("generator", [*MAIN_METRICS, *columns])
    for name in [*names, FUSION]:
        folder = DATA / ("recommendations" if name == FUSION else "candidates") / name
        lists = read_table(folder / f"{SNAPSHOT}.parquet", RECOMMENDATIONS)
        filtered_lists = lists.join(low_ratings, on=PAIR, how="anti")
        ndcg, *_ = mean_main_metrics(filtered_lists, targets)
        is_listed = [pl.col(f"rank_{n}").is_not_null() for n in names if n != name]
        recall = target_rows.select(pl.any_horizontal(is_listed).mean()).item()
        yield figures_row(name, [*mean_main_metrics(lists, targets), ndcg, recall])


def full_examples(ranker: RankerParams) -> tuple[dict[str, pl.DataFrame], dict[str, set[str]]]:
    """Return the ranker's examples by snapshot with all candidates, and the features by group."""
    sources = FeatureSources(
        candidates=DATA / ranker.candidates,
        movies=DATA / "movies",
        histories=HISTORIES,
        low_ratings=DATA / "low_ratings",
        embeddings=DATA / "embeddings" / ranker.retriever,
        generators=DATA / "models" / "generators",
    )
    tables: dict[str, pl.DataFrame] = {}
    for snapshot in RANKER_SNAPSHOTS:
        histories, context = read_context(sources, snapshot)
        candidates = pl.read_parquet(sources.candidates / f"{snapshot}.parquet")
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


def cross_validate(
    tables: dict[str, pl.DataFrame], ranker: RankerParams, features: list[str]
) -> list[float]:
    """Return `MAIN_METRICS` of all validation candidates, scored by boosters of other users."""
    params = load_params(Params, "lightgbm")
    options = lightgbm_params(params, ranker.model_copy(update={"metric": "ndcg"}), seed=1)
    users = np.unique(np.concatenate([t["user_id"].to_numpy() for t in tables.values()]))
    folds = user_folds(users, np.ones(len(users), dtype=int), params.nfold, seed=1)
    lists = []
    for _, validation_index in folds:
        is_validation = pl.col("user_id").is_in(users[validation_index])
        examples = [
            sample_negatives(t.filter(~is_validation), ranker.negatives_per_user, seed=1)
            for t in tables.values()
        ]
        sizes = [t.group_by("user_id", maintain_order=True).len()["len"] for t in examples]
        rows = pl.concat(examples)
        data = lgb.Dataset(
            rows.select(features).to_numpy(order="c"),
            rows["label"].to_numpy(),
            group=pl.concat(sizes).to_numpy(),
            params=options,
        )
        booster = lgb.train(options, data, num_boost_round=TREES)
        candidates = tables[SNAPSHOT].filter(is_validation)
        scores = booster.predict(candidates.select(features).to_numpy(order="c"))
        lists.append(candidates.select(*PAIR, score=pl.Series(scores)))
    return mean_main_metrics(pl.concat(lists), validation_targets())


def ranker_rows() -> Iterator[str]:
    """Measure the ranker with other objectives, and without a snapshot, generator or group."""
    ranker = load_params(RankerParams, f"rankers.{RANKER}")
    tables, features_by_group = full_examples(ranker)
    features = [n for n in tables[SNAPSHOT].columns if n not in KEYS]

    def row(name: str, features_to_drop: set[str]) -> str:
        rest = [n for n in features if n not in features_to_drop]
        return figures_row(name, cross_validate(tables, ranker, rest))

    yield header(f"ranker ({TREES} trees)", MAIN_METRICS)
    for objective in dict.fromkeys([ranker.objective, "lambdarank", "binary", "rank_xendcg"]):
        variant = ranker.model_copy(update={"objective": objective})
        yield figures_row(objective, cross_validate(tables, variant, features))
    val_only = {SNAPSHOT: tables[SNAPSHOT]}
    yield figures_row("without the inner_val targets", cross_validate(val_only, ranker, features))
    for name in merged_generators():
        generator_columns = {f"{kind}_{name}" for kind in GENERATOR_GROUPS}
        yield row(f"without the scores and ranks of `{name}`", generator_columns)
    for group, group_columns in features_by_group.items():
        yield row(f"without group `{group}`", group_columns)


def design_rows() -> Iterator[str]:
    """Measure the history retriever without some of its parts, trained for two snapshots."""
    from stages import train_retrieval
    from stages.retrieval import history

    params = load_params(history.Params, "retrievers.history")
    max_length = read_value("histories.max_length", int)
    inner_val, val = RANKER_SNAPSHOTS
    positives = read_positives(HISTORIES, val)
    tables = {
        "positives": positives,
        "histories": read_histories(HISTORIES, inner_val),
        "targets": read_table(TARGETS_FOLDER / f"{inner_val}.parquet", TARGETS),
        "genres": read_table(DATA / "movies" / "genres.parquet"),
    }
    histories = read_histories(HISTORIES, val)
    validate = train_retrieval.Validator(positives, histories, validation_targets())
    yield header(
        f"history retriever, mean of {len(DESIGN_SEEDS)} seeds", [*MAIN_METRICS, "best epoch"]
    )
    for name, changes in DESIGNS.items():
        design, rows = params.model_copy(update=changes), []
        for seed in DESIGN_SEEDS:
            first_fit, arrays = train_retrieval.train(
                history, design, tables, max_length, seed, snapshots=RANKER_SNAPSHOTS
            )
            metrics = validate(arrays[val])
            rows.append([*(metrics[metric] for metric in MAIN_METRICS), first_fit.epoch])
        yield figures_row(name, list(np.mean(rows, axis=0)))


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "generators": generator_rows,
    "rankers": ranker_rows,
    "designs": design_rows,
}


def main() -> None:
    """Parse the command line and print one table."""
    parser = argparse.ArgumentParser(description="Ablations on validation targets.")
    parser.add_argument("table", choices=TABLES)
    for row in TABLES[parser.parse_args().table]():
        print(row, flush=True)


if __name__ == "__main__":
    main()
