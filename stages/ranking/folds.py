"""The folds of a ranker's cross-validation, each with a booster that has not seen its users.

folds/users.parquet   FOLDS
folds/<fold>.txt      the booster that learned from the users of all other folds
"""

from pathlib import Path
from typing import NamedTuple

import lightgbm as lgb
import numpy as np
import polars as pl

from stages.common.stage import StageError
from stages.common.tables import FOLDS, read_table, write_table
from stages.models.boosters import read_booster_texts, write_booster_texts

FOLDER = "folds"  # in the folder of a ranker


class Folds(NamedTuple):
    """What out-of-fold scores need."""

    users: pl.DataFrame  # FOLDS
    boosters: list[str]  # texts, in the order of the folds; above many users of the first one only


class Trained(NamedTuple):
    """A trained ranker."""

    boosters: list[lgb.Booster]  # whose scores are to be averaged
    metric: float  # the cross-validated metric of one
    folds: Folds


def assign_folds(users: np.ndarray, nfold: int, seed: int) -> pl.DataFrame:
    """Return FOLDS: a fold of every user.

    Args:
        users: source_user_id; may repeat.
        nfold: Number of folds.
        seed: The seed of the shuffle of the users.

    Raises:
        StageError: There are fewer users than folds.
    """
    unique_users = np.unique(users)
    if len(unique_users) < nfold:
        raise StageError(
            f"lightgbm.nfold: {nfold} folds of {len(unique_users)} users; set it lower"
        )
    fold = np.random.default_rng(seed).permutation(len(unique_users)) % nfold
    table = pl.DataFrame({"source_user_id": unique_users, "fold": fold})
    return table.cast(dict(FOLDS))


def fold_rows(
    folds: pl.DataFrame, users: np.ndarray, sizes: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the training and the validation rows of each fold; no user is in both.

    Args:
        folds: FOLDS.
        users: [groups] the user of each group of rows, in the table's order.
        sizes: [groups] the number of rows of each group.
    """
    index = np.searchsorted(folds["source_user_id"].to_numpy(), users)
    rows = np.repeat(folds["fold"].to_numpy()[index], sizes)
    numbers = range(folds["fold"].max() + 1)
    return [(np.flatnonzero(rows != f), np.flatnonzero(rows == f)) for f in numbers]


def fold_of_users(folds: pl.DataFrame, users: pl.Series) -> pl.Series:
    """Return the fold of each of `users`.

    No booster has learned from a user who is not in FOLDS; such users are spread over all folds.

    Args:
        folds: FOLDS.
        users: source_user_id.
    """
    nfold = int(folds["fold"].max()) + 1
    table = users.to_frame("source_user_id").join(
        folds, on="source_user_id", how="left", maintain_order="left"
    )
    spread = (pl.col("source_user_id") % nfold).cast(FOLDS["fold"])
    return table.select(pl.col("fold").fill_null(spread)).to_series()


def write_folds(folds: Folds, ranker: Path) -> None:
    """Write folds into the folder of a ranker."""
    write_table(folds.users, ranker / FOLDER / "users.parquet", FOLDS)
    write_booster_texts(folds.boosters, ranker / FOLDER)


def read_folds(ranker: Path) -> Folds:
    """Read the folds in the folder of a ranker, whose checksums are compared before."""
    users = read_table(ranker / FOLDER / "users.parquet", FOLDS)
    return Folds(users, read_booster_texts(ranker / FOLDER))
