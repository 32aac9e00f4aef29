"""The command `serve`, as a process."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common.stage import StageError
from stages.serving.http_connections import Connection
from stages.serving.serve import address, listen, make_server
from tests.conftest import ROOT
from tests.serving.commands import run_command
from tests.serving.http_client import JSON, Address, send

# Runs the code after it as if no other distributions than those of requirements-serving.txt were
# installed.
ONLY_SERVING = """
import re, sys
from importlib.metadata import packages_distributions
locked = open(sys.argv[1]).read()
names = {n.replace("-", "_") for n in re.findall(r"(?m)^([a-z0-9-]+)==", locked)}
owners = packages_distributions()

def is_absent(module):
    found_in = owners.get(module, [])
    return found_in and not any(re.sub("[-.]", "_", o.lower()) in names for o in found_in)

class Absent:
    def find_spec(self, name, path=None, target=None):
        if is_absent(name.partition(".")[0]):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_requests_that_are_under_way(
    tiny_run: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "stages.serving", "serve", "--port", "0"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tiny_run, env=environment, **pipes) as process:
        line = process.stdout.readline()
        port = int(re.fullmatch(r"Serving http://127\.0\.0\.1:(\d+); .*\n", line)[1])
        silent = socket.create_connection(("127.0.0.1", port), timeout=10)
        slow = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        body = b'{"user": 42}'
        slow.putrequest("POST", "/recommendations")
        for header in (*JSON.items(), ("Content-Length", len(body))):
            slow.putheader(*header)
        slow.endheaders(body[:1])
        assert send(Address(port), "GET", "/health")[0].status == 200  # so `slow` is accepted
        process.send_signal(number)
        assert silent.recv(1) == b""  # the end has begun
        slow.send(body[1:])
        response = slow.getresponse()
        assert (response.status, len(json.load(response)["recommendations"])) == (200, 10)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "stopped\n", "")
        silent.close()
        slow.close()


def test_what_cannot_be_served_is_one_line(tiny_run: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        result = run_command(tiny_run, "serve", "--port", port)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(
        rf"error: --host 127.0.0.1 --port {port}: cannot be used \(.*\); give another\n",
        result.stderr,
    )
    result = run_command(tmp_path, "serve")
    assert result.returncode == 1
    assert re.fullmatch(r"error: data/bundle.*\n", result.stderr)
    for arguments in (["--port", "x"], ["--host", ""], ["--workers", "2"]):
        result = run_command(tmp_path, "serve", *arguments)
        assert (result.returncode, result.stderr.count("\n")) == (2, 1)


def test_the_server_logs_errors_only_and_waits_for_requests_at_its_end() -> None:
    app = object()
    config = make_server(app).config
    assert config.app is app
    assert config.http is Connection
    assert (config.ws, config.loop, config.lifespan) == ("none", "asyncio", "on")
    assert (config.log_level, config.access_log) == ("error", False)
    assert (config.proxy_headers, config.server_header) == (False, False)
    assert (config.timeout_keep_alive, config.timeout_graceful_shutdown) == (75, 15)
    assert config.backlog == 128


def test_it_listens_at_the_port_that_is_asked_for() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert address(listener) == f"http://127.0.0.1:{port}"
        with socket.create_connection(("127.0.0.1", port), timeout=10):
            pass
        message = rf"^--host 127.0.0.1 --port {port}: cannot be used \(.+\); give another$"
        with pytest.raises(StageError, match=message):
            listen("127.0.0.1", port)
    listen("127.0.0.1", port).close()


@pytest.mark.parametrize("host", ["a..b", "192.0.2.1", "::2"])
def test_an_address_that_cannot_be_used_is_refused(host: str) -> None:
    with pytest.raises(StageError, match=f"^--host {host} --port 0: cannot be used"):
        listen(host, 0)
    for port in (-1, 65536):
        with pytest.raises(StageError, match=f"^--port {port}: is no port"):
            listen(host, port)


def test_an_address_of_ip_version_6_has_brackets() -> None:
    try:
        listener = listen("::1", 0)
    except StageError as error:
        pytest.skip(f"this computer has no IPv6: {error}")
    with listener:
        assert address(listener) == f"http://[::1]:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("host", "family"), [("::1", socket.AF_INET6), ("127.0.0.1", socket.AF_INET)]
)
def test_every_address_has_its_family_and_a_queue(
    host: str, family: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "create_server", lambda *args, **options: (args, options))
    expected = ((host, 65535),), {"family": family, "backlog": 128}
    assert listen(host, 65535) == expected


def test_the_requirements_of_serving_are_enough(tiny_run: Path) -> None:
    code = ONLY_SERVING + (
        "import stages.serving.serve\n"
        "recommender = stages.serving.Recommender.load('data/bundle')\n"
        "recommender.compile_trees()\n"
        "rows = recommender.recommend(liked=['3'], k=2)\n"
        "print(rows.height, recommender._pipeline.scorer.trees)\n"
        "print('tensorflow' in sys.modules, 'dvc' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, ROOT / "requirements-serving.txt"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"}
    done = subprocess.run(command, cwd=tiny_run, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 Trees(")
    assert done.stdout.endswith("False False\n")
