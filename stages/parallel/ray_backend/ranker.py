"""Train a ranker on a Ray cluster: each worker holds whole users, and all grow the same trees.

Imported only where `backend` is `ray`. Every worker runs `stages.train_ranker.train`. LightGBM's
data-parallel learner sums the histograms of all workers, both in the cross-validation and for the
final boosters.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl

from stages.common.stage import StageError
from stages.data.hashing import split_by_user
from stages.data.queries import rename_for_queries, rename_for_users
from stages.models.boosters import parse_boosters, read_booster_texts, write_booster_texts
from stages.parallel.ray_backend.cluster import connect, ray_params
from stages.parallel.ray_backend.training import all_gather_function, train_on_workers
from stages.ranking.folds import Trained, read_folds, write_folds

SUMMARY = "summary.json"
BEFORE_EARLY_STOPPING = 20  # LightGBM's early stopping has the order 30
Train = Callable[..., Trained]


def train_on_ray(
    train: Train, examples: pl.DataFrame, params: Any, options: dict, seed: int
) -> Trained:
    """Run `stages.train_ranker.train` on `ray.workers` workers, with the users split among them.

    Args:
        train: `stages.train_ranker.train`.
        examples: Its examples; a user's rows go to one worker.
        params: Its params.
        options: Its options.
        seed: Its seed.

    Raises:
        StageError: A worker would have fewer users than there are folds, or the training failed.
    """
    workers, num_users = ray_params().workers, examples["user_id"].n_unique()
    shards = split_by_user(rename_for_users(examples), workers)
    fewest = min(shard["user_id"].n_unique() for shard in shards)
    if fewest < params.nfold:
        raise StageError(f"ray.workers: a worker of {workers} gets {fewest} users; set it lower")
    ray = connect()
    config = {
        "shards": [ray.put(rename_for_queries(shard)) for shard in shards],
        "train": train,
        "params": params,
        "options": options,
        "seed": seed,
        "num_users": num_users,
    }
    return train_on_workers("lightgbm", train_loop, config, "ranker", read_checkpoint)


def read_checkpoint(folder: Path) -> Trained:
    """Return what rank 0 wrote at the end of `train_loop`."""
    summary = json.loads((folder / SUMMARY).read_text())
    boosters = parse_boosters(read_booster_texts(folder))
    return Trained(boosters, summary["metric"], read_folds(folder))


class MetricAverager:
    """LightGBM callback that replaces a round's metric by the mean over all workers' users.

    Early stopping therefore ends all workers at the same round. `values` has the mean of each
    round.
    """

    order = BEFORE_EARLY_STOPPING

    def __init__(self, all_gather: Callable[[Any], list[Any]], users: int) -> None:
        self.all_gather, self.users = all_gather, users
        self.values: list[float] = []

    def __call__(self, env: lgb.callback.CallbackEnv) -> None:
        """Average the metric of this round, weighted by the workers' users."""
        (result,) = env.evaluation_result_list
        pairs = self.all_gather((self.users, result.metric_value))
        mean = sum(users * value for users, value in pairs) / sum(users for users, _ in pairs)
        env.evaluation_result_list[:] = [result._replace(metric_value=mean)]
        self.values.append(mean)


def connect_network() -> tuple[lgb.Booster, dict[str, Any]]:
    """Connect LightGBM in this process with the other workers.

    All boosters of the process share one connection: a booster that opened its own would close
    the connection of the others.

    Returns:
        A booster that keeps the connection open while it lives, and the options that the other
        boosters need to use it.
    """
    from ray.train.lightgbm import get_network_params

    network = get_network_params()
    quiet = {"verbosity": -1}
    holder = lgb.Booster(quiet, lgb.Dataset(np.zeros((2, 1)), np.arange(2), params=quiet))
    if network["num_machines"] == 1:
        return holder, {}
    holder.set_network(**network)
    return holder, {
        "num_machines": network["num_machines"],
        "tree_learner": "data",
        "pre_partition": True,
    }


def node_processors() -> int:
    """Return the number of processors that this process's machine adds to the cluster."""
    import ray

    node_id = ray.get_runtime_context().get_node_id()
    (node,) = (node for node in ray.nodes() if node["NodeID"] == node_id)
    return int(node["Resources"].get("CPU", 1))


def train_loop(config: dict[str, Any]) -> None:
    """Train on this worker's users; rank 0 reports the boosters, which are equal on all workers."""
    import ray
    import ray.train

    context, all_gather = ray.train.get_context(), all_gather_function(config)
    rank = context.get_world_rank()
    examples = ray.get(config["shards"][rank])
    holder, network_options = connect_network()
    # More threads than processors wait for each other, and are several times slower.
    threads = max(1, node_processors() // context.get_local_world_size())
    averager = MetricAverager(all_gather, examples["user_id"].n_unique())
    trained = config["train"](
        examples,
        config["params"],
        config["options"] | network_options | {"num_threads": threads},
        config["seed"],
        num_users=config["num_users"],
        callbacks=[averager],
    )
    boosters, folds = trained.boosters, trained.folds
    metric = averager.values[boosters[0].num_trees() - 1]
    folds = folds._replace(users=pl.concat(all_gather(folds.users)).sort("source_user_id"))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if rank == 0:
            texts = [booster.model_to_string() for booster in boosters]
            write_booster_texts(texts, Path(folder))
            write_folds(folds, Path(folder))
            Path(folder, SUMMARY).write_text(json.dumps({"metric": metric}))
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"metric": metric}, checkpoint=checkpoint)
    holder.free_network()
