"""The history retriever's user tower as a TensorFlow SavedModel."""

from pathlib import Path

import tensorflow as tf

from stages.models import towers
from stages.retrieval.ops import TensorFlowOps

# Arrays that the user tower does not compute with, or that are fixed in its graph.
OTHER_ARRAYS = ("bias", "catalogue_ids", "catalogue_genres", "num_heads", "num_blocks")


class ServingOps(TensorFlowOps):
    """The operations without dropout and without gradients of their own, which cannot be saved."""

    matmul = staticmethod(tf.matmul)

    def __init__(self) -> None:
        super().__init__(0.0, 0)


class UserTower(tf.Module):
    """Computes users' vectors from their histories, as `stages.models.towers.user_embeddings` does.

    Movies are given by their index in the sorted `movie_ids`.
    """

    def __init__(self, arrays: towers.Weights) -> None:
        super().__init__(name="user_tower")
        weights = {name: value for name, value in arrays.items() if name not in OTHER_ARRAYS}
        self.movie_ids = tf.Variable(weights.pop("movie_ids"), trainable=False, name="movie_ids")
        self.w = {
            name: tf.Variable(value, trainable=False, name=name) for name, value in weights.items()
        }
        heads, blocks = int(arrays["num_heads"]), int(arrays["num_blocks"])
        ops = ServingOps()
        shape = [None, len(arrays["position"])]
        spec = [tf.TensorSpec(shape, tf.int32, name) for name in ("movies", "gaps")]

        def users(movies: tf.Tensor, gaps: tf.Tensor) -> tf.Tensor:
            states = towers.encode(self.w, movies, gaps, heads, blocks, ops, last_only=True)
            return towers.with_one(states[:, 0], ops)

        self.users = tf.function(users, input_signature=spec)


def save(arrays: towers.Weights, folder: Path) -> None:
    """Write the SavedModel; equal weights give equal bytes in every new process.

    `users` takes int32 [n, length] indices of movies, newest last and -1 as padding, and the
    [n, length] time gaps that `stages.models.towers.history_matrices` returns. It returns float32
    [n, d + 1] vectors to search the index with.
    """
    tf.get_logger().setLevel("ERROR")  # otherwise it logs every file
    tower = UserTower(arrays)
    signature = tower.users.get_concrete_function()
    tf.saved_model.save(tower, str(folder), signatures={"serving_default": signature})
    # Not needed for loading: the fingerprint differs from run to run, and DVC drops empty folders.
    (folder / "fingerprint.pb").unlink()
    (folder / "assets").rmdir()
