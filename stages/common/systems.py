"""The names of generators and systems, derived from the blocks of params.yaml.

A candidate generator is a block of `generators` or `retrievers`. A system is anything that
`evaluate` measures: every generator, `fusion`, and `ranker_<name>` for every block of `rankers`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import Field

from stages.common.params import Section, load_params, read_section, read_value
from stages.common.stage import NAME, NAME_RULE, StageError

FUSION = "fusion"
BASELINE = "popularity"  # which every other system is compared with


class LeaderboardParams(Section):
    """Which systems are compared, and how."""

    exclude: list[str]
    """Systems that are neither measured nor shown."""

    resamples: int = Field(ge=10, le=1_000_000)
    """Bootstrap samples of the users for an interval."""


def block_names(section: str) -> list[str]:
    """Return the names of the blocks of a section of params.yaml, in their order."""
    blocks = read_section(section)
    if not isinstance(blocks, Mapping) or not blocks:
        raise StageError(f"{section}: must hold one block per name; see the default params.yaml")
    for name in blocks:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise StageError(f"{section}.{name}: {NAME_RULE}")
    return list(blocks)


def generator_names() -> list[str]:
    """Return all candidate generators: the blocks of `generators`, then those of `retrievers`."""
    names = [*block_names("generators"), *block_names("retrievers")]
    for name in names:
        if names.count(name) > 1 or name == FUSION or name.startswith("ranker_"):
            raise StageError(f"{name}: names two systems; rename the generator or the retriever")
    return names


def ranker_system(ranker: str) -> str:
    """Return the system name of a block of `rankers`."""
    return f"ranker_{ranker}"


def without(names: list[str], excluded: list[str], key: str) -> list[str]:
    """Return `names` without the `excluded` ones, which are the value of the param `key`."""
    for name in excluded:
        if name not in names:
            raise StageError(f"{key}: {name!r} does not exist; use some of {', '.join(names)}")
    return [name for name in names if name not in excluded]


def merged_generators() -> list[str]:
    """Return the generators whose lists are merged: all but those of `fusion.exclude`."""
    exclude = read_value("fusion.exclude", list[str])
    names = without(generator_names(), exclude, "fusion.exclude")
    if not names:
        raise StageError("fusion.exclude: leaves no generator; exclude fewer")
    return names


def refuse_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Raise a StageError if `folder` holds a file or folder that belongs to none of `names`."""
    names = set(names)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.partition(".")[0] not in names and not path.name.startswith("."):
            raise StageError(f"{path}: belongs to no block of params.yaml; delete it")


def system_names() -> list[str]:
    """Return all systems that are evaluated: generators, fusion and rankers, in this order."""
    rankers = [ranker_system(name) for name in block_names("rankers")]
    systems = [*generator_names(), FUSION, *rankers]
    exclude = load_params(LeaderboardParams, "leaderboard").exclude
    return without(systems, exclude, "leaderboard.exclude")


def require_baseline(systems: Iterable[str]) -> None:
    """Raise a StageError if `BASELINE` is none of `systems`."""
    if BASELINE not in systems:
        raise StageError(
            f"generators.{BASELINE}: is missing or excluded, and all systems are compared with it; "
            "add it"
        )


def system_list_paths(
    systems: Iterable[str], candidates: Path, recommendations: Path, snapshot: str = "test"
) -> dict[str, Path]:
    """Return the file of every system's recommendations.

    Args:
        systems: From `system_names`.
        candidates: The folder of the generators' lists.
        recommendations: The folder of the lists of fusion and the rankers.
        snapshot: Before whose targets the lists are.
    """
    generators, file = generator_names(), f"{snapshot}.parquet"
    return {
        system: (candidates if system in generators else recommendations) / system / file
        for system in systems
    }
