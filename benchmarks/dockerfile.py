"""Run the steps of the Dockerfile without Docker: in a new folder, with a virtual environment.

    python -m benchmarks.dockerfile --work /tmp/image

COPY, `RUN pip` and `RUN python` are done in the folder. Then CMD runs on a free port with ENV and
no other variable, HEALTHCHECK asks it, and SIGTERM ends it. This does not check the base image,
apt-get, useradd, USER and the listening on all addresses: it listens on 127.0.0.1.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

DOCKERFILE = Path("Dockerfile")
NOT_RUN = ("apt-get", "useradd")


def read_steps(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile with their arguments, in order, without comments."""
    lines = (line.strip() for line in text.splitlines())
    steps = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return [(name, argument.strip()) for name, _, argument in steps]


def copy(argument: str, root: Path, folder: Path) -> None:
    """Do `COPY SOURCE TARGET`, from `root` into `folder`."""
    source, target = argument.split()
    if (root / source).is_dir():
        shutil.copytree(root / source, folder / target)
    else:
        shutil.copy(root / source, folder / target)


def run_step(argument: str, folder: Path, environment: dict[str, str]) -> None:
    """Do `RUN`, without the commands that need an image."""
    commands = [c.strip() for c in argument.split("&&")]
    for command in commands:
        if not command.startswith((*NOT_RUN, "rm ")):
            subprocess.run(["sh", "-c", command], cwd=folder, env=environment, check=True)


def wait_until_healthy(command: list[str], process: subprocess.Popen, folder: Path) -> float:
    """Return the seconds until HEALTHCHECK succeeds."""
    start = time.perf_counter()
    path = {"PATH": f"{folder / 'venv' / 'bin'}:/usr/bin"}
    while process.poll() is None and time.perf_counter() - start < 120:
        if subprocess.run(command, env=path, stderr=subprocess.DEVNULL).returncode == 0:
            return time.perf_counter() - start
        time.sleep(0.2)
    sys.exit(f"error: {folder}: the service is not healthy; see its output")


def main() -> None:
    """Build and run, then print the packages' size and the service's response."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="a new folder")
    folder = parser.parse_args().work.resolve()
    app = folder / "app"
    app.mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    environment = {"PATH": f"{folder / 'venv' / 'bin'}:/usr/bin"}
    # pip's own settings stay, such as a mirror.
    environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    steps = read_steps(DOCKERFILE.read_text(encoding="utf-8"))
    for name, argument in steps:
        if name == "COPY":
            copy(argument, Path(), app)
        elif name == "RUN":
            run_step(argument, app, environment)
    last = dict(steps)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    variables = dict(pair.split("=", 1) for pair in last["ENV"].split())
    variables["NUMBA_CACHE_DIR"] = str(folder / "numba")
    command = json.loads(last["CMD"].replace("8080", port).replace("0.0.0.0", "127.0.0.1"))
    command[0] = str(folder / "venv" / "bin" / command[0])
    health = json.loads(last["HEALTHCHECK"].partition("CMD ")[2].replace("8080", port))
    with subprocess.Popen(command, cwd=app, env=variables) as process:
        try:
            seconds = wait_until_healthy(health, process, folder)
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/recommendations",
                b'{"liked": [50], "k": 3}',
                {"Content-Type": "application/json"},
            )
            print(urllib.request.urlopen(request, timeout=10).read().decode())
        finally:
            process.send_signal(signal.SIGTERM)
    size = subprocess.run(["du", "-sm", folder / "venv", app], capture_output=True, text=True)
    print(f"healthy after {seconds:.1f} s, ended with {process.returncode}; MiB:\n{size.stdout}")
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
