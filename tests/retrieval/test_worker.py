import numpy as np

from stages.retrieval.worker import State, Worker


def test_a_single_worker_takes_the_whole_batch() -> None:
    batch = np.arange(4), np.ones((4, 3)), np.arange(3)
    assert Worker().shard(batch) is batch
    assert Worker().all_reduce_sum(2.5) == 2.5
    assert Worker().broadcast(lambda: {"x": 1.0}) == {"x": 1.0}
    assert Worker().restore_checkpoint(None) == State()


def test_several_workers_share_the_rows_and_have_the_same_sample() -> None:
    rows, weights, sample = np.arange(5), np.arange(10).reshape(5, 2), np.arange(3)
    shards = []
    for rank in range(2):
        worker = Worker()
        worker.rank, worker.count = rank, 2
        shards.append(worker.shard((rows, weights, sample)))
    assert [shard[0].tolist() for shard in shards] == [[0, 2, 4], [1, 3]]
    assert shards[1][1].tolist() == [[2, 3], [6, 7]]
    assert all(shard[2] is sample for shard in shards)
