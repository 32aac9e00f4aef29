"""What each system of a report is, in a line."""

from collections.abc import Iterable, Mapping
from typing import Any

DESCRIPTIONS = {
    "popularity": "the movies with the most positives of all time; a baseline",
    "popularity_recent": "the movies with the most positives of the last days; a baseline",
    "item_knn": "nearest neighbours of the user's newest positives, with BM25 weights",
    "ease": "a linear item-to-item model in closed form, on the user's newest ratings",
    "slit": "a linear model in closed form of what follows what",
    "id": "a vector for each user and each movie, with a softmax over the catalogue",
    "genre": "like id, but a movie's vector is its own plus those of its genres",
    "hard_negative": "like id, but trained against the highest-scoring wrong movies",
    "history": "a causal transformer over the user's newest ratings",
    "fusion": "reciprocal rank fusion of the generators' lists, without any training",
}
GENERATOR = "generator of stages/generators/{name}.py"
RETRIEVER = "retriever of stages/retrieval/{name}.py, with a trained tower ({tower})"
RANKER = "LightGBM ranker ({objective}) of {candidates}, on {groups}"


def describe(name: str, params: Mapping[str, Any]) -> str:
    """Return what a system is: by its name if it is built in, else by its block of params.yaml."""
    kind, _, ranker = name.partition("_")
    if kind == "ranker" and ranker in params["rankers"]:
        block = params["rankers"][ranker]
        groups = len(block["feature_groups"])
        source = block["candidates"]
        source = "the merged candidates" if source == "merged" else f"the lists of {source[11:]}"
        words = f"{groups} group{'s' if groups != 1 else ''} of features"
        return RANKER.format(objective=block["objective"], candidates=source, groups=words)
    if name in DESCRIPTIONS:
        return DESCRIPTIONS[name]
    if name in params["retrievers"]:
        return RETRIEVER.format(name=name, tower=params["retrievers"][name]["tower"])
    return GENERATOR.format(name=name)


def glossary(systems: Iterable[str], params: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, kind and description of every system.

    Args:
        systems: Names, in the order of the leaderboard.
        params: All of params.yaml.
    """
    rows = []
    for name in systems:
        kind = "fusion" if name == "fusion" else "ranker"
        kind = "retriever" if name in params["retrievers"] else kind
        kind = "generator" if name in params["generators"] else kind
        rows.append((name, kind, describe(name, params)))
    return rows
