"""The history retriever as a TensorFlow SavedModel: an index of TFRS over the user tower."""

from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from stages.models import towers
from stages.models.rating_matrices import TIME_GAPS
from stages.retrieval.ops import TensorFlowOps

# Arrays that the user tower does not compute with, or that are fixed in its graph.
OTHER_ARRAYS = ("bias", "catalogue_ids", "catalogue_genres", "num_heads", "num_blocks", "movie_ids")
# The ids that fill rows which are shorter than others. No movie has them.
NO_NUMBER, NO_TEXT = -1, ""
Query = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # raw ids, times, whether the ratings are low


class ServingOps(TensorFlowOps):
    """The operations without dropout and without gradients of their own, which cannot be saved."""

    matmul = batch_matmul = staticmethod(tf.matmul)

    def __init__(self) -> None:
        super().__init__(0.0, 0)


def newest_last(
    movies: tf.Tensor, times: tf.Tensor, is_low: tf.Tensor, length: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Move padding to the left, and return the last `length` columns.

    Args:
        movies: [n, m] indices of movies, oldest first, with -1 as padding anywhere.
        times: [n, m] seconds.
        is_low: [n, m] whether the ratings are low.
        length: Columns to return.

    Returns:
        [n, length] movies, their times, and whether they are rated low.
    """
    padding_first = tf.argsort(tf.cast(movies >= 0, tf.int32), axis=1, stable=True)
    more_columns = [[0, 0], [tf.maximum(length - tf.shape(movies)[1], 0), 0]]

    def shift(values: tf.Tensor, fill: tf.Tensor) -> tf.Tensor:
        values = tf.gather(values, padding_first, batch_dims=1)
        values = tf.pad(values, more_columns, constant_values=fill)
        return tf.ensure_shape(values[:, -length:], [None, length])

    no_time = tf.constant(0, tf.int64)
    return shift(movies, tf.constant(-1)), shift(times, no_time), shift(is_low, tf.constant(False))


def time_gaps(times: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Return the [n, length] int32 classes that `stages.models.rating_matrices.time_gaps` returns.

    A class is the number of the limits 1, 3, 7, 15, ... that the seconds reach. Whole numbers do
    not round, unlike TensorFlow's logarithm.
    """
    limits = tf.constant([2**g - 1 for g in range(1, TIME_GAPS)], tf.int64)
    seconds = times[:, 1:] - times[:, :-1]
    has_previous = mask[:, 1:] & mask[:, :-1]
    reaches = has_previous[:, :, None] & (seconds[:, :, None] >= limits)
    return tf.pad(tf.reduce_sum(tf.cast(reaches, tf.int32), axis=2), [[0, 0], [1, 0]])


class HistoryTower(tf.Module):
    """Computes users' vectors from raw ids, as `stages.models.user_vectors` does from a table."""

    def __init__(self, arrays: towers.Weights, raw_ids: tf.Tensor, padding: tf.Tensor) -> None:
        """Take the weights of `arrays`; `raw_ids` are the [movies] ids of its `movie_ids`."""
        super().__init__(name="history_tower")
        self.w = {
            name: tf.Variable(value, trainable=False, name=name)
            for name, value in arrays.items()
            if name not in OTHER_ARRAYS
        }
        self.sizes = {name: int(arrays[name]) for name in ("num_heads", "num_blocks")}
        self.ops, self.padding = ServingOps(), padding
        rows = tf.range(len(raw_ids), dtype=tf.int64)
        rows = tf.lookup.KeyValueTensorInitializer(raw_ids, rows)
        # Anonymous: a table's name would count the tables of the process before it.
        self.rows = tf.lookup.StaticHashTable(rows, -1, experimental_is_anonymous=True)

    def movie_rows(self, raw_ids: tf.Tensor) -> tf.Tensor:
        """Return the int32 positions of raw ids in `movie_ids`; -1 for those that it lacks."""
        return tf.cast(self.rows.lookup(raw_ids), tf.int32)

    def __call__(self, query: Query) -> tf.Tensor:
        """Return [n, d + 1] vectors of [n, m] raw ids, their times and whether they are low."""
        ids, times, is_low = query
        if "low" not in self.w:
            ids = tf.where(is_low, self.padding, ids)
        length = self.w["position"].shape[0]
        movies, times, is_low = newest_last(self.movie_rows(ids), times, is_low, length)
        rows = movies, time_gaps(times, movies >= 0), is_low
        heads, blocks = self.sizes["num_heads"], self.sizes["num_blocks"]
        states = towers.encode(self.w, *rows, heads, blocks, self.ops, last_only=True)
        return towers.with_one(states[:, 0], self.ops)


def recommend_unseen(
    index: tfrs.layers.factorized_top_k.TopK,
    tower: HistoryTower,
    query: Query,
    seen: tf.Tensor,
    k: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Search `index` for the `k` best movies that are not in `seen`.

    TFRS's own `query_with_exclusions` needs a fixed number of columns of `seen`, returns seen
    movies after a catalogue's last unseen one, and compares each movie with each seen one.

    Args:
        index: Returns scores and raw ids.
        tower: Knows the raw ids.
        query: [n, m] raw ids, their times, and whether the ratings are low.
        seen: [n, s] raw ids.
        k: A scalar.

    Returns:
        `movie_ids` and `scores`, both [n, the lower one of `k` and the number of movies].
    """
    users, num_movies = tf.shape(seen)[0], tower.w["movie"].shape[0]
    rows = tower.movie_rows(seen)
    rows = tf.where(rows < 0, num_movies, rows)  # a column more, for ids that are no movie
    pairs = tf.stack([tf.broadcast_to(tf.range(users)[:, None], tf.shape(rows)), rows], axis=2)
    counts = tf.scatter_nd(pairs, tf.ones_like(rows), [users, num_movies + 1])
    k = tf.minimum(k, num_movies)
    scores, ids = index(query, k=tf.minimum(k + tf.shape(seen)[1], num_movies))
    is_seen = tf.gather(counts, tower.movie_rows(ids), batch_dims=1) > 0
    scores, order = tf.math.top_k(tf.where(is_seen, -np.inf, scores), k)
    ids = tf.gather(ids, order, batch_dims=1)
    return {"movie_ids": tf.where(scores > -np.inf, ids, tower.padding), "scores": scores}


class HistoryIndex(tf.Module):
    """The module of the SavedModel; `save` describes its two functions."""

    def __init__(self, arrays: towers.Weights, raw_ids: np.ndarray) -> None:
        super().__init__(name="history_index")
        is_text = raw_ids.dtype.kind in "OU"
        kind, no_movie = (tf.string, NO_TEXT) if is_text else (tf.int64, NO_NUMBER)
        identifiers = tf.constant(raw_ids, kind)
        self.tower = HistoryTower(arrays, identifiers, tf.constant(no_movie, kind))
        ids, vectors = towers.movie_embeddings(arrays)
        vectors = vectors[np.searchsorted(ids, arrays["movie_ids"])]
        index = tfrs.layers.factorized_top_k.BruteForce(query_model=self.tower)
        index.index(tf.constant(vectors), identifiers)
        # Its weights alone are saved, without what Keras would save of a layer.
        self.index_weights = index.weights

        query = [
            tf.TensorSpec([None, None], kind, "history"),
            tf.TensorSpec([None, None], tf.int64, "timestamps"),
            tf.TensorSpec([None, None], tf.bool, "is_low"),
        ]
        rest = [tf.TensorSpec([None, None], kind, "seen"), tf.TensorSpec([], tf.int32, "k")]

        @tf.function(input_signature=query, autograph=False)
        def user_vectors(
            history: tf.Tensor, timestamps: tf.Tensor, is_low: tf.Tensor
        ) -> dict[str, tf.Tensor]:
            return {"vectors": self.tower((history, timestamps, is_low))}

        @tf.function(input_signature=[*query, *rest], autograph=False)
        def recommend(
            history: tf.Tensor,
            timestamps: tf.Tensor,
            is_low: tf.Tensor,
            seen: tf.Tensor,
            k: tf.Tensor,
        ) -> dict[str, tf.Tensor]:
            seen = tf.concat([history, seen], axis=1)
            return recommend_unseen(index, self.tower, (history, timestamps, is_low), seen, k)

        self.user_vectors, self.recommend = user_vectors, recommend


def save(arrays: towers.Weights, raw_ids: np.ndarray, folder: Path) -> None:
    """Write the SavedModel; equal arguments give equal bytes in every new process.

    It has two functions, which are its signatures as well, `recommend` as `serving_default`:

        recommend(history, timestamps, is_low, seen, k) -> movie_ids, scores
        user_vectors(history, timestamps, is_low) -> vectors

    `history` and `seen` are [n, m] and [n, s] raw ids, `timestamps` are [n, m] int64 seconds,
    `is_low` is [n, m] bool, whether a rating is below the positives, and `k` is an int32 scalar.
    Rows of `history` have the oldest movie first; -1, or "" for text,
    fills up shorter rows. A row of `movie_ids` and `scores` has the best `k` movies of the
    retriever that are neither in `history` nor in `seen`; after the last one, it has -1 or "", and
    the score -inf. `vectors` are float32 [n, d + 1], to search an index with.

    Args:
        arrays: A history retriever.
        raw_ids: [movies] raw ids of its `movie_ids`, whole numbers or text.
        folder: A new folder.
    """
    tf.get_logger().setLevel("ERROR")  # otherwise it logs every file
    module = HistoryIndex(arrays, raw_ids)
    signatures = {"serving_default": module.recommend, "user_vectors": module.user_vectors}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    # Not needed for loading: the fingerprint differs from run to run, and DVC drops empty folders.
    (folder / "fingerprint.pb").unlink()
    (folder / "assets").rmdir()
