"""Tables split by users into files of shared storage, for the machines of a cluster.

All rows of a user are in one file, in their order. A function of such files writes others, each
whole or not at all, so that one whose machine was lost is simply called again. Imported only
where `engine` is `ray`.
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

from stages.cluster import ray_params
from stages.common.stage import StageError
from stages.engine import Tables, over
from stages.hashing import split

AT_ONCE = 8  # files that are read or written at the same time


class Storage(NamedTuple):
    """A place that every machine sees: it is sent to workers, who find their way by it."""

    address: str  # an absolute path, or s3://bucket/prefix

    def place(self) -> tuple[fs.FileSystem, str]:
        """The file system, made anew in each process, and the address's path in it."""
        if not self.address.startswith("s3://"):
            return fs.LocalFileSystem(), self.address
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        there = {"endpoint_override": os.environ.get("AWS_ENDPOINT_URL"), "region": region}
        options = {key: value for key, value in there.items() if value}
        return fs.S3FileSystem(**options), self.address.removeprefix("s3://").rstrip("/")

    def write(self, table: pl.DataFrame, name: str) -> None:
        """Make the file `name`, whole or not at all."""
        content = io.BytesIO()
        table.write_parquet(content, compression="lz4")
        with _mendable():
            system, root = self.place()
            path = f"{root}/{name}"
            if system.type_name != "local":  # there a file appears when it is complete
                with system.open_output_stream(path) as stream:
                    stream.write(content.getbuffer())
                return
            system.create_dir(path.rpartition("/")[0])
            temporary = f"{path}.{uuid.uuid4().hex}.tmp"
            with system.open_output_stream(temporary) as stream:
                stream.write(content.getbuffer())
            system.move(temporary, path)

    def read(self, name: str) -> pl.DataFrame:
        """What `write` wrote."""
        with _mendable():
            system, root = self.place()
            with system.open_input_stream(f"{root}/{name}") as stream:
                return pl.read_parquet(io.BytesIO(stream.read()))

    def remove(self) -> None:
        """Delete all files, if any."""
        with _mendable():
            system, root = self.place()
            if system.get_file_info(root).type != fs.FileType.NotFound:
                system.delete_dir(root)


@contextmanager
def _mendable() -> Iterator[None]:
    """Say of an error what a user can do."""
    try:
        yield
    except OSError as error:
        why = str(error).splitlines()[0]
        raise StageError(f"ray.storage: {why}; make it one that all machines reach") from None


def write_shards(table: pl.DataFrame, storage: Storage, name: str, shards: int) -> None:
    """Write the parts of `table` as `name`/shard=K/part.parquet."""
    parts = split(table, shards)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda k: storage.write(parts[k], _file(name, k)), range(shards)))


def read_shards(storage: Storage, name: str, shards: int) -> list[pl.DataFrame]:
    """What `write_shards`, or the workers, wrote."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda k: storage.read(_file(name, k)), range(shards)))


def _file(name: str, shard: int) -> str:
    return f"{name}/shard={shard}/part.parquet"


def on_shards(
    name: str, function: Callable[..., Tables], tables: Sequence[pl.DataFrame]
) -> list[Tables]:
    """`stages.engine.by_users` on a cluster; one task for each shard.

    Files are in a folder of `ray.storage` that no other run uses, until the work has ended.
    """
    params = ray_params()
    storage = Storage(f"{params.root}/{name}-{uuid.uuid4().hex}")
    inputs = [f"in{n}" for n in range(len(tables))]

    def part(shard: int) -> int:
        made = function(*(storage.read(_file(each, shard)) for each in inputs))
        for n, table in enumerate(made):
            storage.write(table, _file(f"out{n}", shard))
        return len(made)

    try:
        for each, table in zip(inputs, tables):
            write_shards(table, storage, each, params.shards)
        made = list(over(part, range(params.shards), "shards"))
        columns = [read_shards(storage, f"out{n}", params.shards) for n in range(made[0])]
        return list(zip(*columns))
    finally:
        storage.remove()
