"""The peers' parts that need none of their libraries."""

import numpy as np
import polars as pl
import pytest

from benchmarks.peers import compare
from benchmarks.peers.data import Snapshot
from benchmarks.peers.report import (
    RANKS_FILE,
    RESULTS_FILE,
    Results,
    differences_table,
    metrics_table,
    peer_values,
    read_results,
    targets_checksum,
    user_values,
)
from benchmarks.peers.two_stage import (
    COUNT,
    choose_lists,
    feature_table,
    fused_lists,
    ranked_lists,
    train_ranker,
)
from stages.common.files import write_csv, write_json
from stages.common.tables import (
    KNOWN_POSITIVES,
    LOW_RATINGS,
    POPULARITY,
    RANKS,
    SEEN,
    write_table,
)
from stages.ranker_data import add_labels
from tests.small_tables import (
    held_out_targets,
    low_rated_pairs,
    movie_popularity,
    scored_lists,
    seen_pairs,
    target_rank_table,
)
from tests.small_tables import (
    ranked_lists as lists_of_ranks,
)

PAIR = pl.Schema({"user_id": pl.Int32, "movie_id": pl.Int32})


def pairs(rows: list[tuple[int, int]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user_id", "movie_id"], orient="row").cast(dict(PAIR))


@pytest.fixture
def snapshot(tmp_path):
    """A snapshot `val`: user 1 likes 10 and has rated 11 low, user 2 likes 11 and 12."""
    positives = pairs([(1, 10), (2, 11), (2, 12), (2, 13)])
    positives = positives.with_columns(timestamp=pl.int_range(4), snapshot=pl.Series([0, 0, 1, 2]))
    write_table(positives, tmp_path / "histories" / "positives.parquet", KNOWN_POSITIVES)
    seen = seen_pairs([(1, 10), (2, 11), (2, 12)], [(1, 11)])
    write_table(seen, tmp_path / "seen" / "val.parquet", SEEN)
    popularity = movie_popularity({10: 1, 11: 1, 12: 1})
    low = low_rated_pairs([(1, 11), (2, 10)])
    write_table(low, tmp_path / "seen" / "low_ratings.parquet", LOW_RATINGS)
    write_table(popularity, tmp_path / "movies" / "popularity" / "val.parquet", POPULARITY)
    return Snapshot(tmp_path, "val")


def test_lists_leave_out_positives_and_low_ratings(snapshot):
    assert snapshot.movies.tolist() == [10, 11, 12]  # 13 is not known yet
    lists = snapshot.best_unseen(np.array([[0.1, 0.9, 0.5], [0.1, 0.9, 0.5]], dtype=np.float32))
    assert lists.select("user_id", "movie_id", "rank").rows() == [(1, 12, 1), (2, 10, 1)]


def test_snapshot_counts_its_own_positives_only(snapshot):
    assert snapshot.matrix(0.5).toarray().tolist() == [[1, 0.5, 0], [0.5, 1, 1]]
    assert snapshot.matrix().toarray().tolist() == [[1, 0, 0], [0, 1, 1]]
    assert sorted(snapshot.history_lengths().rows()) == [(1, 1), (2, 2)]


def test_profiles_weigh_older_ratings_less(snapshot):
    seen = snapshot.seen.with_columns(age=pl.Series([1, 0, 1, 0], dtype=pl.UInt32))
    snapshot.seen = seen  # user 1: 10, then 11, which is low; user 2: 11, then 12
    assert snapshot.profiles(0.5, 1.0).toarray().tolist() == [[0.5, 0.5, 0], [0, 0.5, 1]]
    assert snapshot.profiles(0.5, 0.0).toarray().tolist() == [[1, 0.5, 0], [0, 1, 1]]
    assert snapshot.profiles(0.0, 1.0).nnz == 3


def test_fused_lists_order_by_reciprocal_ranks():
    lists = {
        "a": lists_of_ranks([(1, 10, 1), (1, 11, 2)]),
        "b": lists_of_ranks([(1, 11, 1), (1, 12, 2)]),
    }
    fused = fused_lists(lists)
    assert fused["movie_id"].to_list() == [11, 10, 12]
    assert fused["score"].to_list() == pytest.approx([1 / 61 + 1 / 62, 1 / 61, 1 / 62])


def test_fused_lists_have_at_most_count_movies():
    rows = [(1, movie, movie) for movie in range(1, COUNT + 11)]
    assert fused_lists({"a": lists_of_ranks(rows)})["movie_id"].to_list() == [*range(1, COUNT + 1)]


def test_feature_table_has_the_lists_popularity_and_history_length():
    lists = {"a": scored_lists([(1, 10, 0.5)]), "b": scored_lists([(1, 11, 0.7), (2, 10, 0.1)])}
    lengths = pl.DataFrame({"user_id": [2, 1], "history_length": [4, 3]}, schema_overrides=PAIR)
    fused = scored_lists([(1, 11, 0.25)])
    table = feature_table(lists, fused, movie_popularity({11: 9, 10: 5}), lengths)
    assert table.columns[2:6] == ["score_a", "rank_a", "score_b", "rank_b"]
    columns = ["rank_a", "rank_b", "fused_score", "positives", "history_length"]
    assert table.select("user_id", "movie_id", *columns).rows() == [
        (1, 10, 1, None, None, 5, 3),
        (1, 11, None, 1, 0.25, 9, 3),
        (2, 10, None, 1, None, 5, 4),
    ]


def test_scores_are_relative_to_the_list_of_a_user():
    lists = {"a": scored_lists([(1, 10, 7.0), (1, 11, 5.0), (2, 10, 0.7), (2, 11, 0.5)])}
    lengths = pl.DataFrame({"user_id": [1, 2], "history_length": 3}, schema_overrides=PAIR)
    table = feature_table(lists, lists["a"], movie_popularity({10: 1, 11: 1}), lengths)
    assert table["score_a"].to_list() == pytest.approx([0.5**0.5, -(0.5**0.5)] * 2, abs=1e-4)


def test_chosen_lists_are_those_that_improve_the_fusion():
    """`a` and `c` have the target 10 first together, `b` has it nowhere."""
    lists = {
        "b": lists_of_ranks([(1, 20, 1), (1, 21, 2)]),
        "c": lists_of_ranks([(1, 12, 1), (1, 10, 2)]),
        "a": lists_of_ranks([(1, 11, 1), (1, 10, 2), (1, 13, 3)]),
    }

    def metric(fused):
        return 1 / fused.filter(pl.col("movie_id") == 10)["rank"].append(pl.Series([99])).min()

    assert sorted(choose_lists(lists, metric)) == ["a", "c"]


def test_labels_leave_out_users_whose_target_is_in_no_list():
    table = pairs([(1, 10), (1, 11), (2, 10)])
    labels = add_labels(table, held_out_targets([(1, 11), (2, 12)]), True)
    assert labels.select("user_id", "movie_id", "label").rows() == [(1, 10, 0), (1, 11, 1)]


def test_ranker_learns_which_list_to_trust():
    """In list `good` the target is first, in list `bad` it is anywhere."""
    users, movies, rng = range(1, 121), range(1, 31), np.random.default_rng(1)
    targets = held_out_targets([(user, int(rng.integers(1, 31))) for user in users])
    target = dict(targets.select("user_id", "movie_id").rows())
    good = [(u, m, 1.0 if m == target[u] else -m / 100) for u in users for m in movies]
    bad = [(u, m, float(rng.random())) for u in users for m in movies]

    def ordered(rows):
        return scored_lists(sorted(rows, key=lambda row: (row[0], -row[2])))

    lists = {"good": ordered(good), "bad": ordered(bad)}
    lengths = pl.DataFrame({"user_id": users, "history_length": 5}, schema_overrides=PAIR)
    popularity = movie_popularity(dict.fromkeys(movies, 1))
    table = feature_table(lists, lists["bad"], popularity, lengths)
    ranker = train_ranker(add_labels(table, targets, True), seed=1)
    assert ranker.metric > 0.9
    first = ranked_lists(table, ranker.booster).filter(pl.col("rank") == 1)
    assert dict(first.select("user_id", "movie_id").rows()) == target


def peer_result(values: list[float]) -> dict:
    """The result of the peer A, whose metrics all have the value of a seed."""

    def run(value):
        metrics = dict.fromkeys([f"recall@{k}" for k in (1, 10, 20, 50, 200)], value)
        metrics |= {"ndcg@10": value, "mrr": value, "coverage@10": value}
        return {"validation": value, "seconds": 3.0, "metrics": metrics, "epochs": "4 of 9"}

    runs = {str(seed): run(value) for seed, value in enumerate(values, 1)}
    return {"title": "A", "source": "grid", "settings": {"k": 5}, "runs": runs}


def test_metrics_table_is_the_mean_over_the_seeds():
    row = metrics_table({"a": peer_result([0.1, 0.3])})[-1]
    assert row.startswith("| A | k 5, epochs 4 of 9, 4 of 9 | grid | 2 | 0.2000 |")
    assert row.count("0.2000") == 9


def test_differences_are_systems_minus_peers_with_an_interval():
    peer = np.linspace(0, 1, 200)
    systems = {"up": peer + 0.25, "even": peer[::-1]}
    row = differences_table({"P": peer}, systems, resamples=200, seed=1)[-1]
    up, even = row.removeprefix("| P | ").removesuffix(" |").split(" | ")
    assert up == "+0.2500 [+0.2500, +0.2500]"
    low, high = map(float, even.partition("[")[2].rstrip("]").split(", "))
    assert low < 0 < high


def test_user_values_are_in_the_order_of_users():
    ranks = target_rank_table([1, 0, 3]).reverse()
    assert user_values(ranks).tolist() == [1, 0, 0.5]


def test_values_of_a_peer_are_the_means_over_its_seeds():
    peers = {"a": peer_result([0.1, 0.3]), "b": peer_result([0.1])}
    ranks = {"user": [0, 1], "a-1": [1, 0], "a-2": [3, 3], "b-1": [5, 5]}
    assert peer_values(Results(peers, pl.DataFrame(ranks), ""), "a").tolist() == [0.75, 0.25]


def test_checksum_of_targets_tells_users_and_movies_apart():
    targets = pairs([(1, 10), (2, 11)])
    checksum = targets_checksum(targets)
    assert targets_checksum(targets.reverse().with_columns(rank=1)) == checksum
    for other in ([(1, 11), (2, 10)], [(1, 10), (3, 11)], [(1, 10)]):
        assert targets_checksum(pairs(other)) != checksum


@pytest.fixture
def kept_peers(tmp_path, monkeypatch):
    """Results of the peer `a`, and a run of the rankers that find every target first."""
    ranks = target_rank_table([1] * 50)
    results = {"targets": targets_checksum(ranks), "peers": {"a": peer_result([0.5])}}
    write_json(results, tmp_path / "peers" / RESULTS_FILE)
    table = pl.DataFrame({"user": range(50), "a-1": [3] * 50})
    write_csv(table, tmp_path / "peers" / RANKS_FILE)
    for name in ("ranker_history", "ranker_hit"):
        write_table(ranks, tmp_path / "ranks" / f"{name}.parquet", RANKS)
    options = ["--peers", str(tmp_path / "peers"), "--ranks", str(tmp_path / "ranks")]
    monkeypatch.setattr("sys.argv", ["compare", *options])
    return tmp_path


def test_a_run_is_compared_with_kept_ranks(kept_peers, capsys):
    compare.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| A | k 5, epochs 4 of 9 | grid | 1 | 0.5000 |")
    assert lines[-2] == "| A | +0.5000 [+0.5000, +0.5000] | +0.5000 [+0.5000, +0.5000] |"


def test_a_run_needs_only_one_of_the_rankers(kept_peers, capsys):
    (kept_peers / "ranks" / "ranker_history.parquet").unlink()
    compare.main()
    assert capsys.readouterr().out.splitlines()[-2] == "| A | +0.5000 [+0.5000, +0.5000] |"


def test_a_folder_without_ranks_of_systems_is_named(kept_peers):
    for path in (kept_peers / "ranks").iterdir():
        path.unlink()
    with pytest.raises(SystemExit, match=r"ranks: no ranks of a ranker or retriever; run `dvc"):
        compare.main()


def test_a_run_of_other_targets_is_refused(kept_peers):
    path = kept_peers / "ranks" / "ranker_hit.parquet"
    write_table(target_rank_table([1] * 49), path, RANKS)
    with pytest.raises(SystemExit, match=r"ranker_hit.parquet: has other test targets than the"):
        compare.main()


@pytest.mark.parametrize("name", [RESULTS_FILE, RANKS_FILE])
def test_a_folder_without_peers_is_named(kept_peers, name):
    (kept_peers / "peers" / name).unlink()
    with pytest.raises(SystemExit, match=rf"peers: has no {name}; name the folder of"):
        compare.main()


def test_ranks_of_other_peers_are_refused(kept_peers):
    write_csv(pl.DataFrame({"user": [0], "a-2": [3]}), kept_peers / "peers" / RANKS_FILE)
    with pytest.raises(SystemExit, match=r"ranks.csv: has other peers or seeds than results.json"):
        compare.main()


def test_kept_ranks_have_the_kept_metrics():
    results = read_results(compare.KEPT)
    for name, peer in results.peers.items():
        for seed, run in peer["runs"].items():
            ranks = results.ranks.select(user_id="user", rank=f"{name}-{seed}")
            values = user_values(ranks)
            assert values.mean() == pytest.approx(run["metrics"]["ndcg@10"], abs=1e-6)
            is_hit = ranks["rank"].is_between(1, 200)
            assert is_hit.mean() == pytest.approx(run["metrics"]["recall@200"], abs=1e-6)
