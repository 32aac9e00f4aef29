"""Examples for a ranker, and its settings."""

import numpy as np
import polars as pl

from stages.ranking.inputs import RankerParams
from stages.train_ranker import Params

SMALL = Params(
    learning_rate=0.1,
    num_leaves=7,
    min_data_in_leaf=5,
    feature_fraction=1.0,
    bagging_fraction=1.0,
    lambda_l2=0.0,
    num_boost_round=30,
    early_stopping_rounds=5,
    nfold=3,
    ensemble_size=2,
)


def ranker_params(objective: str) -> RankerParams:
    """A ranker with this objective, measured by ndcg@10."""
    return RankerParams(
        candidates="merged",
        retriever="history",
        objective=objective,
        metric="ndcg",
        eval_at=10,
        drop_users_without_hit=True,
        negatives_per_user=100,
        feature_groups=["score"],
    )


def noisy_examples(users: int = 120, candidates: int = 20) -> pl.DataFrame:
    """One target per user; the feature `hint` correlates with the label, `noise` does not.

    Every user has one query.
    """
    rng = np.random.default_rng(5)
    label = np.zeros((users, candidates), dtype=np.uint8)
    label[np.arange(users), rng.integers(0, candidates, users)] = 1
    hint = label * 1.5 + rng.normal(size=label.shape)
    return pl.DataFrame(
        {
            "snapshot": np.zeros(users * candidates, dtype=np.uint8),
            "user_id": np.repeat(np.arange(users, dtype=np.int32), candidates),
            "source_user_id": np.repeat(np.arange(users, dtype=np.int32), candidates),
            "movie_id": np.tile(np.arange(candidates, dtype=np.int32), users),
            "hint": hint.ravel().astype(np.float32),
            "noise": rng.normal(size=users * candidates).astype(np.float32),
            "label": label.ravel(),
        }
    )
