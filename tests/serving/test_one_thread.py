import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

CODE = """
import os
import stages.serving.one_thread
import polars
print(polars.thread_pool_size(), os.environ.get("POLARS_MAX_THREADS"))
"""


@pytest.mark.parametrize(("variable", "output"), [(None, "1 None"), ("3", "3 3")])
def test_one_thread_unless_the_environment_says_otherwise(
    variable: str | None, output: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "POLARS_MAX_THREADS"}
    environment |= {} if variable is None else {"POLARS_MAX_THREADS": variable}
    command = [sys.executable, "-c", CODE]
    text = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert text.stdout.strip() == output
