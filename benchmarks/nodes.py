"""A Ray cluster of processes on this machine, whose nodes can be killed, for trials.

The head gives no processors; every worker node is a `ray start` of its own. With `apart`, as root,
each node has a network of its own: a namespace with an address on a bridge.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

START_SECONDS = 180.0  # for a node to join; machines with few processors are slow
AT_WORK = ("ray::_call", "ray::RayTrainWorker")  # what processes at work call themselves
NET = "10.77.0"  # of the bridge


def kill_tree(process: subprocess.Popen) -> None:
    """Kill a process and all below it at once, as a machine that loses its power."""
    with suppress(psutil.NoSuchProcess):
        every = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in every:
            with suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()


class Cluster:
    """A head and worker nodes, started one by one; `address` is what `ray.address` should say."""

    def __init__(self, folder: Path, apart: bool) -> None:
        self.folder, self.apart, self.started = folder, apart, 0
        self.workers: list[subprocess.Popen] = []
        # Sockets below it have names that may not be long.
        self.short = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        (folder / "token").write_text(secrets.token_hex(32))
        (folder / "token").chmod(0o600)
        os.environ |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "120",
        }
        if apart:
            _ip(f"link add rayb type bridge; addr add {NET}.254/24 dev rayb; link set rayb up")
        host = f"{NET}.254" if apart else "127.0.0.1"
        with socket.socket() as free:
            free.bind((host, 0))
            port = free.getsockname()[1]
        self.address = f"{host}:{port}"
        head = f"--head --port={port} --num-cpus=0 --include-dashboard=false"
        self.head = self._start(f"{head} --temp-dir={self.short} --node-ip-address={host}", [])
        _until(self._head_answers, "the head")
        import ray

        ray.init(self.address, logging_level="ERROR", log_to_driver=False)

    def _head_answers(self) -> bool:
        host, port = self.address.split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def _start(self, options: str, prefix: list[str]) -> subprocess.Popen:
        ray = str(Path(sys.executable).with_name("ray"))
        store = f"--object-store-memory={1 << 30}"
        command = [*prefix, ray, "start", *options.split(), store, "--block"]
        with (self.folder / f"node{self.started}.log").open("w") as log:
            # Not in the repository's folder: the nodes get its code from the driver.
            return subprocess.Popen(
                command, cwd="/", stdout=log, stderr=log, start_new_session=True
            )

    def add(self) -> None:
        """Start a worker node with one processor, and wait until it has joined."""
        self.started += 1
        name, options, prefix = f"rayn{self.started}", f"--address={self.address} --num-cpus=1", []
        if self.apart:
            ip = f"{NET}.{self.started}"
            _ip(f"netns add {name}; link add {name} type veth peer name eth0 netns {name}")
            _ip(f"link set {name} master rayb; link set {name} up")
            inside = f"-n {name}"
            _ip(f"{inside} addr add {ip}/24 dev eth0; {inside} link set eth0 up")
            _ip(f"{inside} link set lo up; {inside} route add default via {NET}.254")
            prefix, options = ["ip", "netns", "exec", name], f"{options} --node-ip-address={ip}"
        wanted = self.processors() + 1
        self.workers.append(self._start(options, prefix))
        _until(lambda: self.processors() >= wanted, f"worker node {self.started}")

    def processors(self) -> int:
        """How many live nodes bring."""
        import ray

        alive = [node for node in ray.nodes() if node["Alive"]]
        return int(sum(node["Resources"].get("CPU", 0) for node in alive))

    def busy(self) -> subprocess.Popen | None:
        """A worker node one of whose processes is at work on a part at this moment."""
        for node in self.workers:
            for process in psutil.Process(node.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if " ".join(process.cmdline()).startswith(AT_WORK):
                        return node
        return None

    def kill_worker(self, node: subprocess.Popen) -> None:
        """Kill a worker node, with all that runs there."""
        self.workers.remove(node)
        kill_tree(node)

    def stop(self) -> None:
        """Kill all that was started, and remove its traces."""
        import ray

        ray.shutdown()
        for process in [*self.workers, self.head]:
            kill_tree(process)
        if self.apart:
            for number in range(1, self.started + 1):
                _ip(f"netns del rayn{number}")
            _ip("link del rayb")
        shutil.rmtree(self.short, ignore_errors=True)


@contextmanager
def cluster(folder: Path, workers: int, apart: bool) -> Iterator[Cluster]:
    """A cluster with so many worker nodes, whose logs and token are in `folder`."""
    made = Cluster(folder, apart)
    try:
        for _ in range(workers):
            made.add()
        yield made
    finally:
        made.stop()


def _ip(commands: str) -> None:
    for command in commands.split(";"):
        subprocess.run(["ip", *command.split()], check=True)


def _until(reached, what: str) -> None:
    end = time.monotonic() + START_SECONDS
    while not reached():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not there after {START_SECONDS:.0f} s")
        time.sleep(0.5)
