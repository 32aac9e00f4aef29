"""Small retrievers on the tables of `tests.retrieval.tables`."""

import importlib

import numpy as np
import polars as pl
import tensorflow as tf

from stages.common.params import load_params
from stages.data.snapshots import SNAPSHOTS
from stages.retrieval.training import Retriever
from tests.retrieval.tables import LENGTH

RETRIEVERS = ["id", "genre", "hard_negative", "history"]
SMALL = {
    "dimension": 16,
    "batch_size": 32,
    "epochs": 4,
    "finetune_epochs_ratio": 0.0,
    "dropout": 0.0,
    "learning_rate": 0.01,
}
LOSSES = [("softmax", 1000), ("softmax", 4), ("in_batch_softmax", 1000)]  # and the size of a sample
MODELS = [(name, *loss) for name in RETRIEVERS for loss in LOSSES]
MODELS.remove(("history", "in_batch_softmax", 1000))


def small_retriever(name: str, **changes: object):
    """The module of a retriever, and its params of the repository with `changes`.

    The current folder has to be the repository's root.
    """
    module = importlib.import_module(f"stages.retrieval.{name}")
    params = load_params(module.Params, f"retrievers.{name}")
    return module, params.model_copy(update=changes)


def train_small(name: str, tables: dict[str, pl.DataFrame], **changes: object):
    """Train a small retriever for all snapshots: the first fit, and the arrays by snapshot."""
    from stages.train_retrieval import train

    module, params = small_retriever(name, **{**SMALL, **changes})
    return train(module, params, tables, LENGTH, seed=1)


def build_small(name: str, tables: dict[str, pl.DataFrame], **changes: object):
    """The data of the last snapshot, an untrained model, and its source of batches."""
    from stages.retrieval.data import training_data

    module, params = small_retriever(name, **changes)
    assert tables["positives"]["snapshot"].max() == len(SNAPSHOTS) - 1
    inputs = (tables[name] for name in ("positives", "low_ratings", "genres"))
    data = training_data(*inputs, LENGTH)
    return data, *module.build(data, params, np.random.default_rng(0))


def gradient_arguments(
    name: str, tables: dict[str, pl.DataFrame], loss: str, num_sampled: int
) -> tuple[Retriever, tuple]:
    """A small model, one of `MODELS`, and the arguments of `_gradients` for its first batch."""
    changes = {"loss": loss} if name != "history" else {}
    _, model, batches = build_small(name, tables, **SMALL | {"num_sampled": num_sampled} | changes)
    weights = {key: variable.read_value() for key, variable in model.w.items()}
    inputs = tuple(map(tf.constant, next(iter(batches()))))
    return model, (weights, inputs, tf.constant(1), tf.constant(0))


def operations(function: tf.types.experimental.ConcreteFunction) -> set[str]:
    """The types of the operations of a function and of those that it calls."""
    graph = function.graph.as_graph_def()
    functions = [node for part in graph.library.function for node in part.node_def]
    return {node.op for node in [*graph.node, *functions]}
