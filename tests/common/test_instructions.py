"""Pins of vector instructions and of BLAS's threads."""

import os
import runpy
import subprocess
import sys
from types import SimpleNamespace

import pytest

from stages.common import instructions
from stages.common.instructions import NATIVE, PINS, XLA_FLAGS, pin_instructions
from stages.parallel import process
from tests.conftest import ROOT

X86 = "x86_64"
INVERT = """
import os, sys
os.sched_setaffinity(0, [int(cpu) for cpu in sys.argv[1].split(",")])
import stages, hashlib, numpy as np
values = np.random.default_rng(0).normal(size=(1447, 1447))
print(hashlib.md5(np.linalg.inv(values.T @ values + np.eye(1447)).tobytes()).hexdigest())
"""


def test_values_that_the_environment_has_are_replaced() -> None:
    environment = {"OPENBLAS_CORETYPE": "SkylakeX", "OTHER": "kept"}
    pin_instructions(environment, X86)
    assert environment == PINS | {"OTHER": "kept", "XLA_FLAGS": XLA_FLAGS}


def test_other_flags_of_xla_are_kept_and_ours_are_added_once() -> None:
    environment = {"XLA_FLAGS": "--xla_dump_to=folder"}
    for _ in range(2):  # a child process inherits the flags
        pin_instructions(environment, X86)
    assert environment["XLA_FLAGS"] == f"--xla_dump_to=folder {XLA_FLAGS}"


def test_the_user_can_have_all_instructions() -> None:
    environment = {NATIVE: "1"}
    pin_instructions(environment, X86)
    assert environment == {NATIVE: "1"}


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
def test_other_processors_have_no_pins_and_keep_their_variables(
    monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    values = {"XLA_FLAGS": "--xla_dump_to=folder", "OPENBLAS_CORETYPE": "NEOVERSEN1"}
    monkeypatch.setattr(os, "environ", environment := dict(values))
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=machine))
    runpy.run_path(instructions.__file__)
    assert environment == values

    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=X86))
    runpy.run_path(instructions.__file__)
    assert PINS.items() <= environment.items()


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or process.thread_count() < 2, reason="needs two cores"
)
def test_the_number_of_cores_changes_no_byte() -> None:
    cores = [str(core) for core in sorted(os.sched_getaffinity(0))]
    digests = [
        subprocess.run(
            [sys.executable, "-c", INVERT, used],
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": str(len(cores))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for used in (cores[0], ",".join(cores))
    ]
    assert digests[0] == digests[1] != ""
