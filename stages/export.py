"""Stage: gather what serving needs, and nothing else, into one folder."""

from pathlib import Path

from stages.boosters import booster_texts
from stages.common.files import read_arrays
from stages.common.params import read_value
from stages.common.stage import StageError, run_stage, whole_file
from stages.common.tables import (
    CATALOGUE,
    DISLIKES,
    HISTORIES,
    POPULARITY,
    TRAIN,
    VALIDATION,
    read_table,
)
from stages.folds import NEWEST, known_likings
from stages.serving.bundle import ITEM_MODELS, Bundle, Settings, read_index, write_bundle

POPULAR = "popularity"


def generators_of(ranker: str) -> list[str]:
    """The systems whose lists the ranker orders: all merged ones, or a single one."""
    merged = read_value("fusion.generators", list[str])
    kind, _, name = read_value(f"rankers.{ranker}.candidates", str).partition("/")
    if kind == "pools":
        return merged
    if name not in merged:
        raise StageError(f"export.ranker: {ranker!r} orders {name!r}, no generator; use another")
    return [name]


def read_settings() -> Settings:
    """The part of params.yaml that serving needs."""
    name = read_value("export.ranker", str)
    return Settings(
        ranker=name,
        generators=generators_of(name),
        candidates=read_value("candidates.count", int),
        max_candidates=read_value("fusion.max_candidates", int),
        fusion_k=read_value("fusion.k", float),
        vectors=read_value(f"rankers.{name}.vectors", str),
        groups=read_value(f"rankers.{name}.features", list[str]),
        max_length=read_value("histories.max_length", int),
        threads=read_value("lightgbm.threads", int),
    )


def main(
    ids: Path,
    catalogue: Path,
    genres: Path,
    popularity: Path,
    train: Path,
    val: Path,
    histories: Path,
    dislikes: Path,
    models: Path,
    index: Path,
    ranker: Path,
    bundle: Path,
) -> str:
    """Write the bundle of the models that know everything before the test targets."""
    settings = read_settings()
    likings = known_likings(read_table(train, TRAIN), read_table(val, VALIDATION))[NEWEST]
    towers = [n for n in settings.generators if n not in (*ITEM_MODELS, POPULAR)]
    systems = sorted({*ITEM_MODELS, *towers, settings.vectors})
    made = Bundle(
        settings,
        {
            "user_ids": read_table(ids / "users.parquet"),
            "movie_ids": read_table(ids / "movies.parquet"),
            "catalogue": read_table(catalogue, CATALOGUE),
            "genres": read_table(genres),
            "popularity": read_table(popularity, POPULARITY),
            "likings": likings.sort("user_id", "position"),
            "histories": read_table(histories, HISTORIES),
            "dislikes": read_table(dislikes, DISLIKES),
        },
        {name: read_arrays(models / name / f"{NEWEST}.npz") for name in systems},
        {name: read_index(index / name / f"{NEWEST}.faiss") for name in towers},
        booster_texts(ranker),
    )
    with whole_file(bundle) as temporary:
        temporary.mkdir()
        write_bundle(made, temporary)
    users = made.tables["histories"].height
    return f"ranker {settings.ranker}, {len(systems)} models -> a bundle for {users:,} users"


if __name__ == "__main__":
    run_stage(main)
