"""Headless Chromium, driven through the DevTools protocol over a pair of pipes."""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-pipe", "about:blank"),
)
SECONDS = 60  # to wait for an answer


class Page:
    """One tab; `requests` are the addresses that it asked for, `errors` what went wrong in it."""

    def __init__(self, to_chromium: int, from_chromium: int) -> None:
        self.to_chromium, self.from_chromium = to_chromium, from_chromium
        self.buffer, self.calls, self.session = b"", 0, None
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Network", "Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")

    def message(self) -> dict[str, Any]:
        """The next message, whose event is noted."""
        end = time.monotonic() + SECONDS
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.from_chromium], [], [], end - time.monotonic())
            part = os.read(self.from_chromium, 1 << 16) if ready else b""
            assert part, "Chromium does not answer"
            self.buffer += part
        text, _, self.buffer = self.buffer.partition(b"\0")
        message = json.loads(text)
        values, kind = message.get("params", {}), message.get("method")
        if kind == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif kind == "Runtime.exceptionThrown":
            self.errors.append(values["exceptionDetails"]["text"])
        elif kind == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning"):
            self.errors.append(str(values["args"]))
        elif kind == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.errors.append(values["entry"]["text"])
        elif kind == "Page.loadEventFired":
            self.loaded = True
        return message

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        self.calls += 1
        command = {"id": self.calls, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.to_chromium, json.dumps(command).encode() + b"\0")
        while (answer := self.message()).get("id") != self.calls:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, file: Path) -> None:
        """Load a file and wait until it is shown."""
        self.requests, self.errors, self.loaded = [], [], False
        self.call("Page.navigate", url=file.as_uri())
        while not self.loaded:
            self.message()

    def width(self, pixels: int) -> None:
        """Make the window `pixels` wide."""
        size = {"width": pixels, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def value(self, script: str) -> Any:
        """What a JavaScript expression gives, after waiting for its promise."""
        options = {"returnByValue": True, "awaitPromise": True}
        result = self.call("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def outside(self) -> list[str]:
        """Requests that are neither for a local file nor inside the page."""
        return [url for url in self.requests if not url.startswith(("file:", "data:"))]


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A browser with a new profile; skips the test where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    read_by_it, to_it = os.pipe()
    from_it, written_by_it = os.pipe()
    # The protocol is spoken over the descriptors 3 and 4 of the browser.
    script = f'exec "$@" 3<&{read_by_it} 4>&{written_by_it}'
    command = ["bash", "-c", script, "bash", program, f"--user-data-dir={profile}", *FLAGS]
    process = subprocess.Popen(
        command,
        pass_fds=(read_by_it, written_by_it),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_by_it)
    os.close(written_by_it)
    try:
        yield Page(to_it, from_it)
    finally:
        os.close(to_it)  # the browser ends when nobody talks to it
        os.close(from_it)
        try:
            process.wait(SECONDS)
        finally:
            process.kill()
            process.wait()
