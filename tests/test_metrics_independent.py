"""Our metrics against trec_eval's, ties included."""

import ir_measures
import numpy as np
import polars as pl
import pytest
from ir_measures import RR, P, R, Success, nDCG

from stages.metrics import target_ranks, user_metrics
from tests.test_metrics import recommendations, targets

CUTOFFS = [1, 3, 10, 20]
OURS = {"recall": R, "hit_rate": Success, "precision": P, "ndcg": nDCG}


def random_case(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lists of 30 movies with few different scores, and 1 to 4 targets a user, some not listed."""
    rng = np.random.default_rng(seed)
    listed, wanted = [], []
    for user in range(1, 21):
        movies = rng.permutation(60)[:30]
        scores = -np.sort(-rng.integers(0, rng.integers(2, 40), 30).astype(float))
        listed += [(user, int(m), float(s)) for m, s in zip(movies, scores)]
        wanted += [(user, int(m)) for m in rng.permutation(60)[: rng.integers(1, 5)]]
    return recommendations(listed), targets(wanted)


def trec_eval(lists: pl.DataFrame, wanted: pl.DataFrame, measure) -> dict[int, float]:
    """The measure by user. Of equal scores trec_eval takes the name that sorts last first, so
    targets get the names that sort first: the pessimistic order that we promise.
    """
    pairs = set(wanted.select("user_id", "movie_id").rows())

    def name(user: int, movie: int) -> str:
        return f"{'a' if (user, movie) in pairs else 'b'}{movie}"

    run = [
        ir_measures.ScoredDoc(str(user), name(user, movie), score)
        for user, movie, score in lists.select("user_id", "movie_id", "score").rows()
    ]
    judged = [ir_measures.Qrel(str(u), name(u, m), 1) for u, m in sorted(pairs)]
    found = ir_measures.pytrec_eval.iter_calc([measure], judged, run)
    return {int(row.query_id): row.value for row in found}


@pytest.mark.parametrize("seed", range(5))
def test_every_metric_equals_trec_eval(seed: int) -> None:
    lists, wanted = random_case(seed)
    ranks = wanted.select("user_id", rank=target_ranks(lists, wanted))
    table = user_metrics(ranks, CUTOFFS)
    measures = {f"{name}@{k}": theirs @ k for name, theirs in OURS.items() for k in CUTOFFS}
    for name, measure in {**measures, "mrr": RR}.items():
        theirs = trec_eval(lists, wanted, measure)
        ours = dict(table.select("user_id", name).rows())
        assert ours == pytest.approx(theirs), name
    assert 0 < table["ndcg@10"].mean() < 1
