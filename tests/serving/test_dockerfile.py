"""The Dockerfile fits the repository; `python -m benchmarks.dockerfile` runs its steps."""

import json
import re

from benchmarks.dockerfile import DOCKERFILE, read_steps
from stages.serving.__main__ import COMMANDS
from tests.conftest import ROOT

STEPS = read_steps((ROOT / DOCKERFILE).read_text())


def names(path: str) -> set[str]:
    """Return the distributions with their versions that a requirements file locks."""
    return set(re.findall(r"(?m)^([a-z0-9-]+==\S+)", (ROOT / path).read_text()))


def test_what_is_copied_is_there_and_not_ignored() -> None:
    sources = {argument.split()[0] for name, argument in STEPS if name == "COPY"}
    ignore = (ROOT / ".dockerignore").read_text().split()
    assert {f"!{source}" for source in sources} == {line for line in ignore if line[0] == "!"}
    assert ignore[0] == "*"
    assert sources == {"requirements-serving.txt", "stages", "data/bundle"}
    assert (ROOT / "stages").is_dir()


def test_the_image_has_the_versions_of_the_repository_without_tensorflow() -> None:
    serving = names("requirements-serving.txt")
    assert serving <= names("requirements.txt")
    assert not [name for name in serving if name.startswith(("tensorflow", "dvc", "pytest"))]
    installs = [argument for name, argument in STEPS if "pip install" in argument]
    assert len(installs) == 1
    assert "--require-hashes -r requirements-serving.txt" in installs[0]


def test_the_user_is_not_root_and_the_service_is_asked_where_it_listens() -> None:
    last = dict(STEPS)
    command = json.loads(last["CMD"])
    assert command[:3] == ["python", "-m", "stages.serving"]
    assert command[3] in COMMANDS
    port = command[command.index("--port") + 1]
    assert command[command.index("--host") + 1] == "0.0.0.0"
    assert last["EXPOSE"] == port
    assert f"'http://127.0.0.1:{port}/health'" in last["HEALTHCHECK"]
    assert f"useradd --system --no-create-home {last['USER']}" in " ".join(a for _, a in STEPS)
    order = [name for name, _ in STEPS]
    assert order[0] == "FROM"
    assert order.index("USER") > max(i for i, name in enumerate(order) if name in ("RUN", "COPY"))
