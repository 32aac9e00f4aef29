"""Run the commands for people."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.conftest import ROOT


def run_command(
    folder: Path,
    *arguments: str,
    module: str = "stages.serving",
    variables: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess:
    """Run `python -m stages.serving` in a folder that has neither params.yaml nor data/.

    `variables` are more variables of its environment.
    """
    command = [sys.executable, "-m", module, *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin", **variables}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
