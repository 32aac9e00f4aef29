"""Run the commands for people."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def run_command(
    folder: Path, *arguments: str, module: str = "stages.serving"
) -> subprocess.CompletedProcess:
    """Run `python -m stages.serving` in a folder that has neither params.yaml nor data/."""
    command = [sys.executable, "-m", module, *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
