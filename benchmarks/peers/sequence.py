"""RecTools' transformers: SASRec, eSASRec and HSTU.

Settings start from published ones for ML-1M: those of the eSASRec paper for SASRec and eSASRec
(Tikhonovich et al. 2025, github.com/blondered/transformer_benchmark, configs/paper/loo/ml_1m.yaml),
and those of RecTools' HSTU tutorial, which are the HSTU authors' (Zhai et al. 2024): 2 blocks, 1
head, 200 positives, learning rate .001. Their 128 users a batch make 47 batches an epoch; smaller
data have smaller batches, so that an epoch has as many.

A model is trained on what `val` knows, and measured every second epoch. Training stops when ndcg@10
on the validation targets has not improved for `PATIENCE` epochs. Then a new model is trained on
what `test` knows, for the best number of epochs. HSTU's context, the time of the query, is that of
the user's last positive: nobody knows the time of a target.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import torch
from pytorch_lightning import Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import HSTUModel, SASRecModel
from rectools.models.nn.item_net import IdEmbeddingsItemNet
from rectools.models.nn.transformers.lightning import TransformerLightningModule
from rectools.models.nn.transformers.ligr import LiGRLayers
from rectools.models.nn.transformers.similarity import DistanceSimilarityModule

from benchmarks.peers.data import COUNT, Snapshot
from benchmarks.peers.models import Settings
from stages.data.pairs import cumcount_and_size
from stages.models.top_k import take_unseen

MAX_EPOCHS, VALIDATION_EPOCHS, PATIENCE = 100, 2, 10
MAX_BATCH_SIZE, MIN_BATCHES = 128, 47
SESSION_LENGTH = 200


class ProductSimilarity(DistanceSimilarityModule):
    """RecTools' similarity, several times as fast where the catalogue is small.

    A product with all movies is cheaper than to copy the vectors of 256 sampled movies for each
    position. The logits are the same.
    """

    def _get_pos_neg_logits(
        self, session_embs: torch.Tensor, item_embs: torch.Tensor, candidate_item_ids: torch.Tensor
    ) -> torch.Tensor:
        return torch.gather(session_embs @ item_embs.T, 2, candidate_item_ids)


class TargetLightningModule(TransformerLightningModule):
    """RecTools' training step without the padding, which is most of a batch.

    Logits are computed only where a session has a target. The loss is the same, because the mean
    is over these positions in any case.
    """

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return the loss of a batch."""
        is_target, model = batch["y"] != 0, self.torch_model
        movies = model.item_model.get_all_embeddings()
        sessions = model.encode_sessions(batch, movies)[is_target][None]
        y, weights = batch["y"][is_target][None], batch["yw"][is_target][None]
        candidates = None
        if self._requires_negatives:
            candidates = torch.cat([y[..., None], batch["negatives"][is_target][None]], dim=-1)
        logits = model.similarity_module(sessions, movies, candidates) / self.logits_t
        loss = self.loss_calculator(logits, y, weights)
        self.log(self.train_loss_name, loss, on_step=False, on_epoch=True)
        return loss


COMMON = {
    "session_max_len": SESSION_LENGTH,
    "n_blocks": 2,
    "n_heads": 1,
    "lr": 0.001,
    "item_net_block_types": (IdEmbeddingsItemNet,),
    "lightning_module_type": TargetLightningModule,
}


class SequencePeer(NamedTuple):
    """A transformer, its fixed options, and the settings that it is tried with."""

    title: str
    model: type
    options: dict[str, Any]
    trials: list[Settings]


def trials(n_factors: int, dropout_rate: float) -> list[Settings]:
    """Return the published settings, and the same with larger dropouts for smaller data."""
    return [{"n_factors": n_factors, "dropout_rate": rate} for rate in (dropout_rate, 0.3, 0.5)]


SEQUENCE_PEERS = {
    "sasrec": SequencePeer("RecTools SASRec", SASRecModel, {"loss": "softmax"}, trials(64, 0.1)),
    "esasrec": SequencePeer(
        "RecTools eSASRec",
        SASRecModel,
        {
            "loss": "sampled_softmax",
            "n_negatives": 256,
            "similarity_module_type": ProductSimilarity,
            "transformer_layers_type": LiGRLayers,
            "use_key_padding_mask": True,
        },
        trials(64, 0.1),
    ),
    "hstu": SequencePeer(
        "RecTools HSTU",
        HSTUModel,
        {
            "loss": "sampled_softmax",
            "n_negatives": 128,
            "similarity_module_type": ProductSimilarity,
            "lightning_module_kwargs": {"logits_t": 0.05},
            "relative_time_attention": True,
            "relative_pos_attention": True,
        },
        trials(50, 0.2),
    ),
}


def trainer() -> Trainer:
    """Return a Trainer that writes nothing, on a GPU where PyTorch sees one."""
    return Trainer(
        max_epochs=1,
        accelerator="auto",
        deterministic="warn" if torch.cuda.is_available() else True,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        enable_checkpointing=False,
    )


def interactions(snapshot: Snapshot) -> pd.DataFrame:
    """Return the positives as RecTools' table, with times that keep the order of equal ones."""
    users, movies, seconds = snapshot.positives["user_id", "movie_id", "timestamp"].to_numpy().T
    position, _ = cumcount_and_size(users)
    times = pd.to_datetime(seconds, unit="s") + pd.to_timedelta(position, unit="us")
    columns = {Columns.User: users, Columns.Item: movies, Columns.Weight: 1.0}
    return pd.DataFrame({**columns, Columns.Datetime: times})


class Training:
    """A transformer in training on what a snapshot knows; every call of `epoch` trains one more."""

    def __init__(
        self, peer: SequencePeer, settings: Settings, snapshot: Snapshot, seed: int
    ) -> None:
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        torch.set_num_threads(1)  # as the other peers, also where LensKit has set another number
        seed_everything(seed, verbose=False)
        rows = interactions(snapshot)
        self.snapshot, self.dataset = snapshot, Dataset.construct(rows)
        # RecTools leaves out the positives, not the low ratings.
        self.count = min(len(snapshot.movies), COUNT + snapshot.max_low)
        last = rows.groupby(Columns.User, sort=True)[Columns.Datetime].max().reset_index()
        self.context = last if peer.model is HSTUModel else None
        batch_size = min(MAX_BATCH_SIZE, len(snapshot.users) // MIN_BATCHES + 1)
        options = COMMON | peer.options | settings | {"batch_size": batch_size}
        self.model = peer.model(**options, get_trainer_func=trainer)

    def epoch(self) -> None:
        """Train one more epoch."""
        self.model.fit_partial(self.dataset, min_epochs=1, max_epochs=1)

    def lists(self) -> pl.DataFrame:
        """Return RECOMMENDATIONS of the best unseen movies."""
        users, count = self.snapshot.users, self.count
        context = {} if self.context is None else {"context": self.context.copy()}
        table = self.model.recommend(users, self.dataset, k=count, filter_viewed=True, **context)
        index = np.searchsorted(users, table[Columns.User]), table[Columns.Rank].to_numpy() - 1
        movies = np.full((len(users), count), -1)
        scores = np.full((len(users), count), -np.inf, dtype=np.float32)
        movies[index], scores[index] = table[Columns.Item], table[Columns.Score]
        return take_unseen(users, movies, scores, self.snapshot.seen_keys, COUNT)


class BestEpoch(NamedTuple):
    """The epoch with the best metric on the validation targets."""

    epoch: int
    metric: float
    lists: pl.DataFrame
    epochs: int  # that were trained
    is_cut: bool  # whether the time limit ended the training


def train_until_best(
    training: Training, metric: Callable[[pl.DataFrame], float], seconds: float
) -> BestEpoch:
    """Train until the metric has not improved for `PATIENCE` epochs, or `seconds` are over."""
    end, best = time.monotonic() + seconds, BestEpoch(0, -1.0, pl.DataFrame(), 0, False)
    for epoch in range(1, MAX_EPOCHS + 1):
        training.epoch()
        if epoch % VALIDATION_EPOCHS:
            continue
        lists = training.lists()
        value = metric(lists)
        if value > best.metric:
            best = BestEpoch(epoch, value, lists, epoch, False)
        is_cut = time.monotonic() > end
        best = best._replace(epochs=epoch, is_cut=is_cut)
        if is_cut or epoch - best.epoch >= PATIENCE:
            break
    return best


def train_epochs(training: Training, epochs: int) -> pl.DataFrame:
    """Train a number of epochs; return RECOMMENDATIONS."""
    for _ in range(epochs):
        training.epoch()
    return training.lists()
