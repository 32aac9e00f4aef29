"""Measure the HTTP service under load: responses per second, and their latency.

    python -m benchmarks.load
    python -m benchmarks.load --bundle /elsewhere/bundle --requests 400 --connections 1 4 16

It starts `python -m stages.serving serve` on a free port. On each connection, a request follows
the response to the one before. One half of the requests is for users of the data, the other half
for new people with twenty liked movies.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stages.serving.arguments import BUNDLE
from stages.serving.bundle import read_bundle

TOP, LIKED = 10, 20


def request_bodies(bundle: Path, count: int) -> list[bytes]:
    """Return bodies of `POST /recommendations`, the same for the same bundle.

    Args:
        bundle: The bundle's folder.
        count: Number of bodies.
    """
    tables = read_bundle(bundle).tables
    users, movies = tables["user_ids"], tables["movie_ids"]["raw_id"].to_list()
    users = users.join(tables["histories"].select("user_id"), on="user_id")["raw_id"].to_list()
    rng = np.random.default_rng(0)
    bodies = []
    for number in range(count):
        liked = rng.choice(movies, min(LIKED, len(movies)), replace=False).tolist()
        person = {"liked": liked} if number % 2 else {"user": str(rng.choice(users))}
        bodies.append(json.dumps({**person, "k": TOP}).encode())
    return bodies


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> int:
    """Send one request, read the whole response, and return its status."""
    head = "POST /recommendations HTTP/1.1\r\nHost: load\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    lines = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"(?i)^content-length: (\d+)", lines, re.MULTILINE)
    await reader.readexactly(int(length[1]) if length else 0)
    return int(lines.split()[1])


async def measure(port: int, bodies: list[bytes], connections: int) -> tuple[float, np.ndarray]:
    """Send all bodies over some connections.

    Returns:
        Seconds for all, and [n] milliseconds of single requests.

    Raises:
        SystemExit: A response is an error.
    """
    queue, times = iter(bodies), []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in queue:
            start = time.perf_counter()
            if (status := await ask(reader, writer, body)) != 200:
                sys.exit(f"error: {body.decode()}: has status {status}; see docs/serving.md")
            times.append(time.perf_counter() - start)
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(connections)))
    return time.perf_counter() - start, np.array(times) * 1000


@contextlib.contextmanager
def service(bundle: Path) -> Iterator[tuple[int, int]]:
    """Run the service; yield its port and its process id.

    Raises:
        SystemExit: The service does not start.
    """
    command = [sys.executable, "-m", "stages.serving", "serve", "--port", "0", "--bundle", bundle]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        address = re.search(r":(\d+);", process.stdout.readline())
        if not address:
            sys.exit(1)  # it has said why
        try:
            yield int(address[1]), process.pid
        finally:
            process.send_signal(signal.SIGTERM)


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process until now."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print a table with a row for each number of connections."""
    parser = argparse.ArgumentParser(description="Measure the HTTP service under load.")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help=f"its folder ({BUNDLE})")
    parser.add_argument("--requests", type=int, default=400, help="for each row (400)")
    counts, text = [1, 4, 16], "at the same time, one row each (1 4 16)"
    parser.add_argument("--connections", type=int, nargs="+", default=counts, help=text)
    arguments = parser.parse_args()
    bodies = request_bodies(arguments.bundle, arguments.requests)
    with service(arguments.bundle) as (port, process):
        asyncio.run(measure(port, bodies[:20], 1))  # not measured
        print("| connections | responses/s | p50 ms | p99 ms | CPU ms a response | load |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: |")
        for connections in arguments.connections:
            before = cpu_seconds(process)
            seconds, times = asyncio.run(measure(port, bodies, connections))
            cpu = 1000 * (cpu_seconds(process) - before) / len(bodies)
            p50, p99 = np.percentile(times, [50, 99])
            rate = len(bodies) / seconds
            row = f"| {connections} | {rate:.0f} | {p50:.0f} | {p99:.0f} | {cpu:.1f} |"
            print(f"{row} {os.getloadavg()[0]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
