"""Stage: hold out positives by time, for validation and for the test."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from pydantic import Field

from stages.common.files import write_json
from stages.common.params import Section, load_params, read_seed, read_value
from stages.common.stage import StageError, run_stage
from stages.common.tables import (
    POSITIVES,
    QUERIES,
    RATINGS,
    SPLIT,
    TARGETS,
    TEST,
    TRAIN,
    read_table,
    write_table,
)
from stages.data.hashing import splitmix64
from stages.data.pairs import cumcount_and_size
from stages.data.queries import number_queries
from stages.data.snapshots import RANKER_SNAPSHOTS, SNAPSHOTS, TEST_SNAPSHOT
from stages.data.split_audit import audit
from stages.parallel.executor import Tables, map_by_user


class Params(Section):
    """How targets are held out."""

    method: Literal["leave_one_out", "global"]
    """`leave_one_out`: the last positive of each user with at least `min_positives` is the test
    target, the one before it is the val target, and the `inner_val_targets` before that are the
    inner_val targets. `global`: two cuts in time leave `test_share` and `val_share` of all
    positives after them, and a third cut is `val_share` before the val cut. Models know what is
    before the cut. Each of a user's `targets` between this cut and the next is predicted from all
    positives of the user before it, those after the cut too, so that new users have targets.
    """

    ties: Literal["file", "hash"]
    """Order of a user's positives of the same time: as in the raw file, or by a seeded hash."""

    min_positives: int = Field(ge=3, le=1000)
    """Fewest positives of a user who has targets, with leave_one_out."""

    inner_val_targets: int = Field(ge=1, le=100)
    """Most inner_val targets per user, with leave_one_out."""

    val_share: float = Field(ge=0.001, le=0.5)
    """Share of all positives between two cuts, with global."""

    test_share: float = Field(ge=0.001, le=0.5)
    """Share of all positives after the last cut, with global."""

    targets: Literal["first", "last", "all"]
    """Which of a user's positives after a cut are targets, with global.

    A user's first positive of all is never a target: there is no history to predict it from.
    """


def order(positives: pl.DataFrame, ties: str, seed: int) -> pl.DataFrame:
    """POSITIVES -> SPLIT: number each user's positives by time, from 0."""
    table = positives  # sorted by user, time and row
    if ties == "hash":
        users, movies = positives["user_id"].to_numpy(), positives["movie_id"].to_numpy()
        tie = pl.Series("tie", splitmix64(users, movies, seed))
        table = positives.with_columns(tie).sort("user_id", "timestamp", "tie", "movie_id")
    position, _ = cumcount_and_size(table["user_id"].to_numpy())
    return table.with_columns(position=pl.Series(position)).select(
        pl.col(name).cast(kind) for name, kind in SPLIT.items()
    )


class Split(NamedTuple):
    """The parts of SPLIT, and the targets of every snapshot."""

    train: pl.DataFrame  # TRAIN: before the val targets
    val: pl.DataFrame  # SPLIT: what the test snapshot knows beside it
    later: pl.DataFrame  # SPLIT: all others, the test targets too; no evaluated model knows them
    # SPLIT, and `history_length` (the user's positives before the query), `gap` (seconds since the
    # positive before), `tied` (the gap is 0) and `new_user` (no model knows a positive of theirs).
    inner_val_targets: pl.DataFrame
    val_targets: pl.DataFrame
    test_targets: pl.DataFrame


def leave_one_out(ordered: pl.DataFrame, min_positives: int, inner_val_targets: int) -> Split:
    """Split SPLIT by each user's last positives; a user with too few of them stays in train.

    For example, a user with the movies 1 to 6 and two `inner_val_targets`:

        movie    1      2      3          4          5    6
        table    train  train  train      train      val  later
        targets                inner_val  inner_val  val  test

    The inner_val targets of a user share one query, whose history is the movies 1 and 2.
    """
    position, size = cumcount_and_size(ordered["user_id"].to_numpy())
    from_end = size - position  # 1 = the user's last
    has_targets = size >= min_positives
    table = _with_gaps(ordered).with_columns(
        part=pl.Series(np.where(has_targets & (from_end <= 2), from_end, 0)),
        inner_val=pl.Series(has_targets & (from_end <= 2 + inner_val_targets) & (position > 0)),
        new_user=pl.lit(False),
    )
    train, val, test = (table.filter(pl.col("part") == part) for part in (0, 2, 1))
    first = pl.col("position").min().over("user_id")
    return Split(
        train=train.select(TRAIN.names()),
        val=val.select(SPLIT.names()),
        later=test.select(SPLIT.names()),
        inner_val_targets=train.filter("inner_val").with_columns(history_length=first),
        val_targets=val.with_columns(history_length="position"),
        test_targets=test.with_columns(history_length="position"),
    )


def global_split(ordered: pl.DataFrame, cuts: list[int], targets: str) -> Split:
    """Split SPLIT at the times `cuts`, in seconds: those of inner_val, val and test.

    For example, with a cut between the movies 2 and 3 of a user, the histories of the `targets`:

        first  3 from 1, 2
        last   5 from 1, 2, 3, 4
        all    3 from 1, 2;  4 from 1, 2, 3;  5 from 1, 2, 3, 4
    """
    time, position = pl.col("timestamp"), pl.col("position")
    table = _with_gaps(ordered).with_columns(
        first_time=time.min().over("user_id"), history_length="position"
    )
    is_selected = {
        "first": position == position.min().over("user_id"),
        "last": position == position.max().over("user_id"),
        "all": pl.lit(True),
    }[targets]
    target_tables = []
    for cut, end in zip(cuts, [*cuts[1:], None]):
        rows = table.filter(time >= cut, True if end is None else time < end, position > 0)
        rows = rows.filter(is_selected)
        target_tables.append(rows.with_columns(new_user=pl.col("first_time") >= cut))
    inner_val_cut, val_cut, test_cut = cuts
    return Split(
        ordered.filter(time < val_cut).with_columns(inner_val=time >= inner_val_cut),
        ordered.filter(time >= val_cut, time < test_cut),
        ordered.filter(time >= test_cut),
        *target_tables,
    )


def _with_gaps(ordered: pl.DataFrame) -> pl.DataFrame:
    """Append to SPLIT the seconds since the user's row before, and whether they are 0."""
    gap = pl.when(pl.col("position") > 0).then(pl.col("timestamp") - pl.col("timestamp").shift(1))
    return ordered.with_columns(gap=gap).with_columns(tied=(pl.col("gap") == 0).fill_null(False))


def time_cuts(positives: pl.DataFrame, params: Params) -> list[int]:
    """Return the inner_val, val and test cut of the global split, in seconds since 1970.

    After them come `test_share` plus two, one and no `val_share` of all positives.
    """
    times = positives["timestamp"].sort()
    shares = [params.test_share + n * params.val_share for n in (2, 1, 0)]
    return [int(times[int(times.len() * max(1 - share, 0))]) for share in shares]


def main(positives: Path, ratings: Path, split: Path, targets: Path, metrics: Path) -> str:
    """Read POSITIVES; write the parts into `split`, and the targets to learn from into `targets`.

    test.parquet has the test targets, test_queries.parquet only their queries.
    """
    params = load_params(Params, "time_split")
    table, seed = read_table(positives, POSITIVES), read_seed()
    cuts = time_cuts(table, params) if params.method == "global" else []

    def split_shard(shard: pl.DataFrame) -> Tables:
        ordered = order(shard, params.ties, seed)
        if params.method == "global":
            return global_split(ordered, cuts, params.targets)
        return leave_one_out(ordered, params.min_positives, params.inner_val_targets)

    parts = Split(*map_by_user("time_split", split_shard, table))
    first_new_id = int(table["user_id"].max()) + 1
    tables = (parts.inner_val_targets, parts.val_targets, parts.test_targets)
    by_snapshot = dict(zip(SNAPSHOTS, (number_queries(t, first_new_id) for t in tables)))
    for name, rows in by_snapshot.items():
        if rows.height == 0:
            raise StageError(
                f"time_split: leaves no {name} target; use data with more positives per user"
            )
        if rows["user_id"].max() > np.iinfo(np.int32).max:
            raise StageError("time_split.targets: there are too many queries; use first or last")
    test = by_snapshot[TEST_SNAPSHOT]
    write_table(parts.train, split / "train.parquet", TRAIN)
    write_table(parts.val, split / "val.parquet", SPLIT)
    write_table(parts.later, split / "later.parquet", SPLIT)
    write_table(test, split / "test.parquet", TEST)
    write_table(test, split / "test_queries.parquet", QUERIES)
    for snapshot in RANKER_SNAPSHOTS:
        write_table(by_snapshot[snapshot], targets / f"{snapshot}.parquet", TARGETS)
    figures = {
        "train_positives": parts.train.height,
        **{f"{name}_targets": rows.height for name, rows in by_snapshot.items()},
        "users": table["user_id"].n_unique(),
        "sample_users": read_value("positives.sample_users", float),
        **audit(
            parts.train,
            parts.val,
            by_snapshot,
            table,
            read_table(ratings, RATINGS),
            params.method,
        ),
    }
    write_json(figures, metrics)
    counts = ", ".join(f"{name} {rows.height:,}" for name, rows in by_snapshot.items())
    users = f"{figures['test_users']:,} of {figures['users']:,} users"
    return f"{table.height:,} positives -> targets: {counts}; {users} have a test target"


if __name__ == "__main__":
    run_stage(main)
