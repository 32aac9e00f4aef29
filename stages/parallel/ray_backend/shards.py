"""Tables in shards by user: files of a storage that all machines of a cluster reach.

All rows of a user are in one shard, in their order. A task reads the shards of its inputs and
writes those of its outputs, each file whole or not at all, so that a task whose machine was lost
can be repeated. Imported only where `backend` is `ray`.
"""

import io
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import polars as pl
from pyarrow import fs

from stages.common.stage import StageError
from stages.data.hashing import split_by_user
from stages.parallel.ray_backend.cluster import ray_map, ray_params

IO_THREADS = 8
Tables = tuple[pl.DataFrame, ...]


class Storage(NamedTuple):
    """A folder of tables that every machine reaches; it can be sent to workers."""

    root: str  # an absolute path, or s3://bucket/prefix

    def file_system(self) -> tuple[fs.FileSystem, str]:
        """Return a new file system, and the path of `root` in it.

        Every process needs its own: file systems cannot be sent.
        """
        if not self.root.startswith("s3://"):
            return fs.LocalFileSystem(), self.root
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        options = {"endpoint_override": os.environ.get("AWS_ENDPOINT_URL"), "region": region}
        options = {key: value for key, value in options.items() if value}
        return fs.S3FileSystem(**options), self.root.removeprefix("s3://").rstrip("/")

    def write(self, table: pl.DataFrame, name: str) -> None:
        """Write `table` to the file `name`, whole or not at all."""
        content = io.BytesIO()
        table.write_parquet(content, compression="lz4")
        with _storage_errors():
            system, root = self.file_system()
            path = f"{root}/{name}"
            if system.type_name != "local":  # a bucket shows a file only when it is complete
                with system.open_output_stream(path) as stream:
                    stream.write(content.getbuffer())
                return
            system.create_dir(path.rpartition("/")[0])
            temporary = f"{path}.{uuid.uuid4().hex}.tmp"
            with system.open_output_stream(temporary) as stream:
                stream.write(content.getbuffer())
            system.move(temporary, path)

    def read(self, name: str) -> pl.DataFrame:
        """Read the table that `write` wrote to the file `name`."""
        with _storage_errors():
            system, root = self.file_system()
            with system.open_input_stream(f"{root}/{name}") as stream:
                return pl.read_parquet(io.BytesIO(stream.read()))

    def remove(self) -> None:
        """Delete the folder, if it exists."""
        with _storage_errors():
            system, root = self.file_system()
            if system.get_file_info(root).type != fs.FileType.NotFound:
                system.delete_dir(root)


@contextmanager
def _storage_errors() -> Iterator[None]:
    """Turn an OSError into a StageError that names `ray.storage`."""
    try:
        yield
    except OSError as error:
        cause = str(error).splitlines()[0]
        raise StageError(f"ray.storage: {cause}; use one that all machines reach") from None


def write_shards(table: pl.DataFrame, storage: Storage, name: str, shards: int) -> None:
    """Split `table` by user, and write the shards as `name`/shard=K/part.parquet."""
    parts = split_by_user(table, shards)
    with ThreadPoolExecutor(IO_THREADS) as pool:
        list(pool.map(lambda k: storage.write(parts[k], _file(name, k)), range(shards)))


def read_shards(storage: Storage, name: str, shards: int) -> list[pl.DataFrame]:
    """Read all shards of the table `name`."""
    with ThreadPoolExecutor(IO_THREADS) as pool:
        return list(pool.map(lambda k: storage.read(_file(name, k)), range(shards)))


def _file(name: str, shard: int) -> str:
    return f"{name}/shard={shard}/part.parquet"


def ray_map_user_shards(
    name: str, function: Callable[..., Tables], tables: Sequence[pl.DataFrame]
) -> list[Tables]:
    """`stages.parallel.executor.map_user_shards` on a cluster, with one task for each shard.

    The shards are in a folder of `ray.storage` that no other run uses, and that is removed at
    the end.
    """
    params = ray_params()
    storage = Storage(f"{params.storage_root}/{name}-{uuid.uuid4().hex}")
    inputs = [f"in{n}" for n in range(len(tables))]

    def map_shard(shard: int) -> int:
        outputs = function(*(storage.read(_file(table_name, shard)) for table_name in inputs))
        for n, table in enumerate(outputs):
            storage.write(table, _file(f"out{n}", shard))
        return len(outputs)

    try:
        for table_name, table in zip(inputs, tables):
            write_shards(table, storage, table_name, params.shards)
        counts = list(ray_map(map_shard, range(params.shards)))
        columns = [read_shards(storage, f"out{n}", params.shards) for n in range(counts[0])]
        return list(zip(*columns))
    finally:
        storage.remove()
