"""Train a ranker on a Ray cluster: every worker has whole users, and all grow the same trees.

Imported only where `engine` is `ray`. `stages.train_ranker.train` is what each worker runs; that
of LightGBM's data-parallel learner adds up all workers' histograms, for the trees of the
cross-validation as for those that are kept.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl

from stages.cluster import connect, ray_params
from stages.cluster_training import exchange_of, train_on_workers
from stages.common.stage import StageError
from stages.hashing import split

FIGURES = "figures.json"
BEFORE_STOPPING = 20  # LightGBM's early stopping comes 30th
Train = Callable[..., tuple[list[lgb.Booster], float]]


def train_on_ray(
    train: Train, examples: pl.DataFrame, params: Any, options: dict, seed: int
) -> tuple[list[lgb.Booster], float]:
    """`train`, that of `stages.train_ranker`, with the users shared out among `ray.workers`."""
    workers, users = ray_params().workers, examples["user_id"].n_unique()
    parts = split(examples, workers)
    fewest = min(part["user_id"].n_unique() for part in parts)
    if fewest < params.folds:
        raise StageError(f"ray.workers: a worker of {workers} gets {fewest} users; set it lower")
    ray = connect()
    config = {
        "parts": [ray.put(part) for part in parts],
        "train": train,
        "params": params,
        "options": options,
        "seed": seed,
        "users": users,
    }
    return train_on_workers("lightgbm", loop, config, "ranker", read_boosters)


def read_boosters(folder: Path) -> tuple[list[lgb.Booster], float]:
    """What the first worker has written at the end of `loop`."""
    figures = json.loads((folder / FIGURES).read_text())
    texts = [(folder / f"{n}.txt").read_text() for n in range(figures["boosters"])]
    return [lgb.Booster(model_str=text) for text in texts], figures["metric"]


class Agreement:
    """A LightGBM callback: a round's metric is the mean over the held-out users of all workers.

    So all stop at the same round. `values` has that of each round.
    """

    order = BEFORE_STOPPING

    def __init__(self, exchange: Callable[[Any], list[Any]], users: int) -> None:
        self.exchange, self.users = exchange, users
        self.values: list[float] = []

    def __call__(self, env: lgb.callback.CallbackEnv) -> None:
        """Put the agreed value in the place of this worker's own."""
        (own,) = env.evaluation_result_list
        told = self.exchange((self.users, own.metric_value))
        value = sum(users * v for users, v in told) / sum(users for users, _ in told)
        env.evaluation_result_list[:] = [own._replace(metric_value=value)]
        self.values.append(value)


def network() -> tuple[lgb.Booster, dict[str, Any]]:
    """Connect this process with the other workers' as long as the booster lives.

    One connection serves all boosters of the process: each with one of its own would close
    that of the others.

    Returns:
        A booster that holds the connection, and what the options of the others need.
    """
    from ray.train.lightgbm import get_network_params

    told = get_network_params()
    quiet = {"verbosity": -1}
    holder = lgb.Booster(quiet, lgb.Dataset(np.zeros((2, 1)), np.arange(2), params=quiet))
    if told["num_machines"] == 1:
        return holder, {}
    holder.set_network(**told)
    return holder, {
        "num_machines": told["num_machines"],
        "tree_learner": "data",
        "pre_partition": True,
    }


def processors() -> int:
    """How many this process's machine brings to the cluster."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    (node,) = (node for node in ray.nodes() if node["NodeID"] == here)
    return int(node["Resources"].get("CPU", 1))


def loop(config: dict[str, Any]) -> None:
    """What every worker does; the first one reports the boosters, which are the same on all."""
    import ray
    import ray.train

    context, exchange = ray.train.get_context(), exchange_of(config)
    rank = context.get_world_rank()
    part = ray.get(config["parts"][rank])
    holder, shared = network()
    # Threads of one machine that wait for each other in turns are several times as slow.
    threads = min(config["params"].threads, processors())
    share = max(1, threads // context.get_local_world_size())
    agreement = Agreement(exchange, part["user_id"].n_unique())
    boosters, _ = config["train"](
        part,
        config["params"],
        config["options"] | shared | {"num_threads": share},
        config["seed"],
        users=config["users"],
        callbacks=[agreement],
    )
    metric = agreement.values[boosters[0].num_trees() - 1]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if rank == 0:
            for n, booster in enumerate(boosters):
                Path(folder, f"{n}.txt").write_text(booster.model_to_string(), encoding="utf-8")
            figures = {"boosters": len(boosters), "metric": metric}
            Path(folder, FIGURES).write_text(json.dumps(figures))
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({"metric": metric}, checkpoint=checkpoint)
    holder.free_network()
