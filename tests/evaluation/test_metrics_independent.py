"""The metrics against those of trec_eval, ties included."""

import numpy as np
import polars as pl
import pytest

from stages.evaluation.metrics import target_ranks, user_metrics
from tests.small_tables import held_out_targets, scored_lists

ir_measures = pytest.importorskip("ir_measures", reason="has no wheel for Linux on aarch64")
CUTOFFS = [1, 3, 10, 20]
MEASURES = {
    "recall": ir_measures.R,
    "hit_rate": ir_measures.Success,
    "precision": ir_measures.P,
    "ndcg": ir_measures.nDCG,
}


def random_case(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lists of 30 movies with few different scores, and 1 to 4 targets a user, not all listed."""
    rng = np.random.default_rng(seed)
    lists, targets = [], []
    for user in range(1, 21):
        movies = rng.permutation(60)[:30]
        scores = -np.sort(-rng.integers(0, rng.integers(2, 40), 30).astype(float))
        lists += [(user, int(m), float(s)) for m, s in zip(movies, scores)]
        targets += [(user, int(m)) for m in rng.permutation(60)[: rng.integers(1, 5)]]
    return scored_lists(lists), held_out_targets(targets)


def trec_eval(lists: pl.DataFrame, targets: pl.DataFrame, measure) -> dict[int, float]:
    """The measure by user.

    trec_eval ranks equal scores by name, last name first. Targets get names that sort first here,
    which gives them the pessimistic ranks of `target_ranks`.
    """
    pairs = set(targets.select("user_id", "movie_id").rows())

    def name(user: int, movie: int) -> str:
        return f"{'a' if (user, movie) in pairs else 'b'}{movie}"

    run = [
        ir_measures.ScoredDoc(str(user), name(user, movie), score)
        for user, movie, score in lists.select("user_id", "movie_id", "score").rows()
    ]
    judgements = [ir_measures.Qrel(str(u), name(u, m), 1) for u, m in sorted(pairs)]
    rows = ir_measures.pytrec_eval.iter_calc([measure], judgements, run)
    return {int(row.query_id): row.value for row in rows}


@pytest.mark.parametrize("seed", range(5))
def test_every_metric_equals_trec_eval(seed: int) -> None:
    lists, targets = random_case(seed)
    ranks = targets.select("user_id", rank=target_ranks(lists, targets))
    table = user_metrics(ranks, CUTOFFS)
    measures = {f"{name}@{k}": measure @ k for name, measure in MEASURES.items() for k in CUTOFFS}
    for name, measure in {**measures, "mrr": ir_measures.RR}.items():
        values = dict(table.select("user_id", name).rows())
        assert values == pytest.approx(trec_eval(lists, targets, measure)), name
    assert 0 < table["ndcg@10"].mean() < 1
