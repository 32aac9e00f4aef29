"""The history retriever's user tower as a TensorFlow SavedModel."""

from pathlib import Path

import tensorflow as tf

from stages import towers
from stages.retrieval.ops import TensorFlowOps

NOT_FOR_USERS = ("bias", "catalogue_ids", "catalogue_genres", "heads", "blocks")


class UserTower(tf.Module):
    """From numbers of liked movies to users' vectors, as `stages.towers.serve_users` makes them.

    `movie_ids`, sorted, tells the number of each movie.
    """

    def __init__(self, arrays: towers.Weights) -> None:
        super().__init__(name="user_tower")
        kept = {name: value for name, value in arrays.items() if name not in NOT_FOR_USERS}
        self.movie_ids = tf.Variable(kept.pop("movie_ids"), trainable=False, name="movie_ids")
        self.w = {
            name: tf.Variable(value, trainable=False, name=name) for name, value in kept.items()
        }
        heads, blocks = int(arrays["heads"]), int(arrays["blocks"])
        ops = TensorFlowOps(0.0, 0)
        shape = [None, len(arrays["position"])]
        spec = [tf.TensorSpec(shape, tf.int32, name) for name in ("movies", "gaps")]

        def users(movies: tf.Tensor, gaps: tf.Tensor) -> tf.Tensor:
            states = towers.encode(self.w, movies, gaps, heads, blocks, ops, last=True)
            return towers.with_one(states[:, 0], ops)

        self.users = tf.function(users, input_signature=spec)


def save(arrays: towers.Weights, folder: Path) -> None:
    """Write the SavedModel; equal weights give equal bytes in every new process.

    `users` takes int32 [n, length] movie numbers, newest last and -1 as padding, and the
    [n, length] time gaps that `stages.towers.history_matrices` gives; it returns float32
    [n, d + 1] vectors to search the index with.
    """
    tf.get_logger().setLevel("ERROR")  # it tells of every file
    tower = UserTower(arrays)
    signature = tower.users.get_concrete_function()
    tf.saved_model.save(tower, str(folder), signatures={"serving_default": signature})
    # Loading needs neither: the first names this one run, the second is empty, which DVC drops.
    (folder / "fingerprint.pb").unlink()
    (folder / "assets").rmdir()
