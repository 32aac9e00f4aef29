import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ml-99k", "data.source: 'ml-99k' is not known; use one of ml-100k, "),
        ("stages", "data.source: 'stages' is not known; write its absolute path, /"),
        ("''", "data.source: '' is not known; use one of ml-100k, "),
        ("7", "data.source: is 7; write a text"),
        ("../../params.yaml", "data.source: '../../params.yaml' is not known; use one of"),
        ("x" * 300, f"data.source: '{'x' * 300}' is not known; use one of"),
        ('"a\\0\\n"', r"data.source: 'a\x00\n' is not known; use one of"),
    ],
)
def test_an_unknown_source_is_one_line_and_exit_code_1(
    workspace: Path, source: str, message: str
) -> None:
    params = workspace / "params.yaml"
    params.write_text(params.read_text().replace("source: ml-100k", f"source: {source}"))
    paths = ["--sources", "data/sources", "--description", "data/source.json"]
    command = [sys.executable, "-m", "stages.source", *paths]
    process = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert process.stderr.startswith(f"error: {message}")
    assert process.stderr.count("\n") == 1
    assert not (workspace / "data" / "source.json").exists()
