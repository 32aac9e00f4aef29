"""A Ray cluster of processes on this machine, whose nodes can be killed.

The head has no processors; every worker node is a `ray start` process. With `apart`, which requires
root, each node has its own network: a namespace with an address on a bridge.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

START_SECONDS = 180.0  # for a node to join; machines with few processors are slow
BUSY_TITLES = ("ray::_call", "ray::RayTrainWorker")  # command lines of processes that run a task
NETWORK = "10.77.0"  # of the bridge


def kill_tree(process: subprocess.Popen) -> None:
    """Kill a process and all its descendants at once, as if its machine lost power."""
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        for member in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                member.kill()
    process.wait()


class Cluster:
    """A head, and worker nodes that are started one by one; `address` is for `ray.address`."""

    def __init__(self, folder: Path, apart: bool) -> None:
        """Start the head, and connect this process to it.

        Args:
            folder: Gets the token and the nodes' logs.
            apart: Whether each node has its own network.
        """
        self.folder, self.apart, self.worker_count = folder, apart, 0
        self.workers: list[subprocess.Popen] = []
        # Ray creates sockets below this folder, and the length of their paths is limited.
        self.temp_dir = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        (folder / "token").write_text(secrets.token_hex(32))
        (folder / "token").chmod(0o600)
        os.environ |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "120",
        }
        if apart:
            _ip(f"link add rayb type bridge; addr add {NETWORK}.254/24 dev rayb; link set rayb up")
        host = f"{NETWORK}.254" if apart else "127.0.0.1"
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
        self.address = f"{host}:{port}"
        options = f"--head --port={port} --num-cpus=0 --include-dashboard=false"
        options += f" --temp-dir={self.temp_dir} --node-ip-address={host}"
        self.head = self._start(options, [])
        _wait_until(self._head_answers, "the head")
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
        with (self.folder / f"node{self.worker_count}.log").open("w") as log:
            # Outside the repository: the nodes must get its code from the driver.
            return subprocess.Popen(
                command, cwd="/", stdout=log, stderr=log, start_new_session=True
            )

    def add_worker(self) -> None:
        """Start a worker node with one processor, and wait until it has joined."""
        self.worker_count += 1
        number = self.worker_count
        options, prefix = f"--address={self.address} --num-cpus=1", []
        if self.apart:
            name, address = f"rayn{number}", f"{NETWORK}.{number}"
            _ip(f"netns add {name}; link add {name} type veth peer name eth0 netns {name}")
            _ip(f"link set {name} master rayb; link set {name} up")
            _ip(f"-n {name} addr add {address}/24 dev eth0; -n {name} link set eth0 up")
            _ip(f"-n {name} link set lo up; -n {name} route add default via {NETWORK}.254")
            prefix = ["ip", "netns", "exec", name]
            options += f" --node-ip-address={address}"
        processors = self.processors() + 1
        self.workers.append(self._start(options, prefix))
        _wait_until(lambda: self.processors() >= processors, f"worker node {number}")

    def processors(self) -> int:
        """Return the number of processors of all live nodes."""
        import ray

        nodes = [node for node in ray.nodes() if node["Alive"]]
        return int(sum(node["Resources"].get("CPU", 0) for node in nodes))

    def busy_worker(self) -> subprocess.Popen | None:
        """Return a worker node that runs a task at this moment, if there is one."""
        for node in self.workers:
            for process in psutil.Process(node.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if " ".join(process.cmdline()).startswith(BUSY_TITLES):
                        return node
        return None

    def kill_worker(self, node: subprocess.Popen) -> None:
        """Kill a worker node with all its processes."""
        self.workers.remove(node)
        kill_tree(node)

    def stop(self) -> None:
        """Kill all nodes, and remove their networks and temporary files."""
        import ray

        ray.shutdown()
        for process in [*self.workers, self.head]:
            kill_tree(process)
        if self.apart:
            for number in range(1, self.worker_count + 1):
                _ip(f"netns del rayn{number}")
            _ip("link del rayb")
        shutil.rmtree(self.temp_dir, ignore_errors=True)


@contextmanager
def cluster(folder: Path, workers: int, apart: bool) -> Iterator[Cluster]:
    """Start a cluster of a head and `workers` worker nodes; its logs and token are in `folder`."""
    nodes = Cluster(folder, apart)
    try:
        for _ in range(workers):
            nodes.add_worker()
        yield nodes
    finally:
        nodes.stop()


def _ip(commands: str) -> None:
    for command in commands.split(";"):
        subprocess.run(["ip", *command.split()], check=True)


def _wait_until(condition: Callable[[], bool], name: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{name}: has not started after {START_SECONDS:.0f} s")
        time.sleep(0.5)
