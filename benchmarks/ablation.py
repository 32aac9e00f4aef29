"""What each generator, feature group, loss and tower design gives, on validation targets alone.

    python -m benchmarks.ablation generators
    python -m benchmarks.ablation rankers
    python -m benchmarks.ablation designs

Reads a finished run in the working directory; test targets are never opened. Rankers are
cross-validated over users: each user's validation candidates, all of them, are ranked by boosters
that were trained on other users. A target that was not retrieved is a miss.
"""

import argparse
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl

from stages import ranker_data
from stages.common.params import load_params, read_section
from stages.features import build_features, pool_features
from stages.folds import LEARNT, learnt_targets
from stages.metrics import COMPARED as SHOWN
from stages.metrics import target_ranks, user_metrics
from stages.ranker_inputs import Sources, pasts
from stages.train_ranker import KEYS, Params, lightgbm_params, user_folds

TREES = 150
RANKER = "history"
DESIGNS = {
    "SASRec block": {"gates": False, "time_gaps": False, "genres": False},
    "+ gated residuals": {"time_gaps": False, "genres": False},
    "+ time gaps": {"genres": False},
    "+ genres in the movie vectors (the default)": {},
    "default, 512 sampled negatives": {"negatives": 512},
    "default, nothing hidden": {"hidden": 0.0},
    "default, one block": {"blocks": 1},
}


def line(name: str, figures: list[float]) -> str:
    """A row of a Markdown table."""
    return f"| {name} | " + " | ".join(f"{figure:.4f}" for figure in figures) + " |"


def header(name: str, columns: list[str]) -> str:
    """The head of a Markdown table."""
    return f"| {name} | {' | '.join(columns)} |\n| --- |" + " ---: |" * len(columns)


def validation_targets(data: Path) -> pl.DataFrame:
    """user_id and movie_id of the users that rankers learn from."""
    held_out = pl.read_parquet(data / "split" / "val.parquet").filter("is_target")
    users = pl.read_parquet(data / "histories" / "val.parquet", columns=["user_id"])
    held_out = held_out.join(users, on="user_id", how="semi")
    return held_out.select("user_id", "movie_id").sort("user_id")


def measured(lists: pl.DataFrame, targets: pl.DataFrame) -> list[float]:
    """`SHOWN` of RECOMMENDATIONS."""
    ranks = targets.select("user_id", rank=target_ranks(lists, targets))
    return list(user_metrics(ranks, [10, 200]).select(SHOWN).mean().row(0))


def generators(data: Path) -> Iterator[str]:
    """Every generator alone, with known dislikes left out, and the union's ceiling without it."""
    targets = validation_targets(data)
    names = read_section("fusion.generators")
    keys = ["user_id", "movie_id"]
    found = targets.join(
        pl.read_parquet(data / "pools" / "fusion" / "val.parquet"), on=keys, how="left"
    )
    watched = pl.read_parquet(data / "dislikes" / "val.parquet")
    yield header("generator", [*SHOWN, "ndcg@10, dislikes left out", "union without it"])
    for name in [*names, "fusion"]:
        lists = pl.read_parquet(data / "recommendations" / name / "val.parquet")
        fresh = lists.join(watched, on=keys, how="anti")
        others = [pl.col(f"rank_{n}").is_not_null() for n in names if n != name]
        union = found.select(pl.any_horizontal(others).mean()).item()
        yield line(name, [*measured(lists, targets), measured(fresh, targets)[0], union])


def full_examples(data: Path) -> dict[str, pl.DataFrame]:
    """The ranker's labelled examples by fold, with all candidates instead of a sample."""
    params = load_params(ranker_data.RankerParams, f"rankers.{RANKER}")
    models, movies, split = data / "models", data / "movies", data / "split"
    parts = split / "train.parquet", split / "val.parquet"
    targets = learnt_targets(*(pl.read_parquet(path) for path in parts))
    sources = Sources(
        movies / "catalogue.parquet",
        movies / "genres.parquet",
        data / "popularity",
        data / "dislikes",
        *parts,
        data / "histories",
        data / "embeddings" / params.vectors,
        models / "item_knn",
        models / "ease",
    )
    made = {}
    for fold, before, known in pasts(sources, LEARNT):
        candidates = pl.read_parquet(data / params.candidates / f"{fold}.parquet")
        table = pool_features(candidates, params.features)
        table = ranker_data.add_labels(table, targets[fold], params.misses)
        made[fold] = build_features(table, before, known, params.features)
    return made


def cross_validated(
    tables: dict[str, pl.DataFrame],
    dropped: Callable[[str], bool],
    objective: str,
    targets: pl.DataFrame,
) -> list[float]:
    """`SHOWN` of all validation candidates, each scored by boosters of other users."""
    ranker = load_params(ranker_data.RankerParams, f"rankers.{RANKER}")
    params = load_params(Params, "lightgbm")
    options = lightgbm_params(params, objective, "ndcg", ranker.cutoff, seed=1)
    features = [n for n in tables["val"].columns if n not in KEYS and not dropped(n)]
    everyone = np.unique(np.concatenate([t["user_id"].to_numpy() for t in tables.values()]))
    part = user_folds(everyone, np.ones(len(everyone), dtype=int), params.folds, seed=1)
    scored = []
    for _, held in part:
        inside = pl.col("user_id").is_in(everyone[held])
        learnt = [
            ranker_data.sample_negatives(t.filter(~inside), ranker.negatives, seed=1)
            for t in tables.values()
        ]
        sizes = [t.group_by("user_id", maintain_order=True).len()["len"] for t in learnt]
        rows = pl.concat(learnt)
        data = lgb.Dataset(
            rows.select(features).to_numpy(order="c"),
            rows["label"].to_numpy(),
            group=pl.concat(sizes).to_numpy(),
            params=options,
        )
        booster = lgb.train(options, data, num_boost_round=TREES)
        judged = tables["val"].filter(inside)
        scores = booster.predict(judged.select(features).to_numpy(order="c"))
        scored.append(judged.select("user_id", "movie_id", score=pl.Series(scores)))
    return measured(pl.concat(scored), targets)


def rankers(data: Path) -> Iterator[str]:
    """The ranker without each generator, feature group and fold, and with other losses."""
    targets = validation_targets(data)
    tables = full_examples(data)
    objective = read_section(f"rankers.{RANKER}.objective")
    everything = [n for n in tables["val"].columns if n not in KEYS]
    own = ("score_", "rank_", "gap_")
    yield header(f"ranker ({TREES} trees)", SHOWN)
    for loss in dict.fromkeys([objective, "lambdarank", "binary", "rank_xendcg"]):
        yield line(loss, cross_validated(tables, lambda _: False, loss, targets))
    later = {"val": tables["val"]}
    yield line(
        "without the early fold", cross_validated(later, lambda _: False, objective, targets)
    )
    for name in read_section("fusion.generators"):
        of_it = {f"{prefix}{name}" for prefix in own}
        figures = cross_validated(tables, lambda n, of_it=of_it: n in of_it, objective, targets)
        yield line(f"without what `{name}` says", figures)
    for group in read_section(f"rankers.{RANKER}.features"):
        of_it = group_columns(group, everything)
        figures = cross_validated(tables, lambda n, of_it=of_it: n in of_it, objective, targets)
        yield line(f"without group `{group}`", figures)


def group_columns(group: str, columns: list[str]) -> set[str]:
    """The columns that a feature group has made."""
    prefixes = {
        "cooccurrence": ("item_knn_", "ease_"),
        "popularity": ("log_likings", "popularity_gap"),
        "dislikes": ("own_rating", "log_ratings", "liked_share", "user_liked_share"),
        "recency": ("log_likings_", "days_since_liked", "likings_before_share"),
        "year": ("year", "movie_age"),
        "activity": ("history_", "days_per_liking", "days_between"),
    }.get(group, (group,))
    found = {n for n in columns if n.startswith(prefixes)}
    if group == "popularity":
        found -= group_columns("recency", columns)
    return found


def designs(data: Path) -> Iterator[str]:
    """The history retriever with and without its parts; trained for the first two folds."""
    from stages import train_retrieval
    from stages.retrieval import history

    params = load_params(history.Params, "retrievers.history")
    length, targets = read_section("histories.max_length"), validation_targets(data)
    likings = pl.read_parquet(data / "histories" / "train.parquet").filter(pl.col("fold") < 2)
    tables = {
        "likings": likings,
        "histories": pl.read_parquet(data / "histories" / "early.parquet"),
        "genres": pl.read_parquet(data / "movies" / "genres.parquet"),
    }
    before = pl.read_parquet(data / "histories" / "val.parquet")
    validate = train_retrieval.validator(likings, before, targets)
    yield header("history retriever, mean of two seeds", [*SHOWN, "best epoch"])
    for name, change in DESIGNS.items():
        rows = []
        for seed in (1, 2):
            changed = dataclasses.replace(params, **change)
            first, made = train_retrieval.train(
                history, changed, tables, length, seed, folds=LEARNT
            )
            figures = validate(made["val"])
            rows.append([*(figures[metric] for metric in SHOWN), first.epoch])
        yield line(name, list(np.mean(rows, axis=0)))


def main() -> None:
    """Parse the command line, print one table."""
    parser = argparse.ArgumentParser(description="Ablations on validation targets.")
    made = {"generators": generators, "rankers": rankers, "designs": designs}
    parser.add_argument("table", choices=made)
    chosen = parser.parse_args()
    for row in made[chosen.table](Path("data").resolve()):
        print(row, flush=True)


if __name__ == "__main__":
    main()
