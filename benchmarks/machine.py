"""Compare what this machine computes with the committed dvc.lock, stage by stage.

    python -m benchmarks.machine --work /tmp/machine
    python -m benchmarks.machine --work /tmp/machine --machines all
    python -m benchmarks.machine --work /tmp/machine --machines emulated   # an hour or two

For each machine the repository is cloned below `--work`, and `dvc repro` runs there. `this` is the
machine as it is; the others are this one with other kernels, threads and processors, as far as the
environment can change them. Prints the processor, the pins of `stages.common.instructions`, and for
each machine the first stage in the order of the pipeline whose outputs differ from dvc.lock.

`emulated` is an Intel processor, emulated by QEMU 10 or newer (qemu-user; QEMU 7 computes some AVX2
instructions wrongly). It has the instructions, the caches and the name of a processor of another
maker, so libraries choose its kernels, and its approximations of 1 / x and 1 / sqrt(x) are those of
no processor. It is up to some hundred times slower, so models have one epoch or 20 trees, and its
outputs are compared with those of the same run without emulation.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import networkx as nx
from dvc.repo import Repo

from benchmarks.shorten import shorten
from stages.common import instructions
from stages.common.params import YAML

MACHINES = {
    "this": {},
    "one processor, one thread": {"POLARS_MAX_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"},
    "oneDNN's kernels for AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "Eigen's kernels, 16 threads": {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_NUM_INTRAOP_THREADS": "16"},
    "an image that sets OpenBLAS's kernels": {"OPENBLAS_CORETYPE": "SkylakeX"},
}
COMMANDS = Path(sys.executable).parent  # of this environment
REPRO = [sys.executable, "-m", "dvc", "repro"]
EMULATED = "emulated"
# Without what QEMU cannot emulate, and would warn of.
EMULATOR = "qemu-x86_64 -cpu Haswell-v4,-pcid,-x2apic,-tsc-deadline,-invpcid,-spec-ctrl"


def processor() -> str:
    """Return the processor's model, and the instruction sets that matter here."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    flags = facts.get("flags", "").split()
    sets = [name for name in ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile") if name in flags]
    family = f"family {facts.get('cpu family')}, model {facts.get('model')}"
    return f"{facts.get('model name')} ({family}), {os.cpu_count()} cores, {' '.join(sets)}"


def read_hashes(lock: Path) -> dict[str, dict[str, str]]:
    """Return the md5 of every output of a dvc.lock, by stage and path."""
    stages = YAML(typ="safe", pure=True).load(lock)["stages"]
    return {
        name: {out["path"]: out["md5"] for out in stage.get("outs", [])}
        for name, stage in stages.items()
    }


def different_stages(order: list[str], ours: dict, committed: dict) -> list[str]:
    """Return the stages, in `order`, one of whose outputs has another md5, or is missing.

    Args:
        order: Names of stages.
        ours: From `read_hashes`.
        committed: From `read_hashes`.
    """
    return [name for name in order if ours.get(name) != committed.get(name)]


def clone(folder: Path) -> None:
    """Clone the repository."""
    subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)


def order_of_stages(folder: Path) -> list[str]:
    """Return the names of the pipeline's stages, each after those that it depends on."""
    return [stage.name for stage in nx.dfs_postorder_nodes(Repo(folder).index.graph)]


def repro(
    folder: Path, command: list[str], environment: dict[str, str], commands: Path = COMMANDS
) -> dict[str, dict[str, str]]:
    """Run the pipeline in a clone, and return the hashes of its outputs.

    Args:
        folder: The clone.
        command: Runs the pipeline.
        environment: Variables besides those of this process.
        commands: The folder of the `python` that runs the stages.
    """
    environment = {**os.environ, **environment, "PATH": f"{commands}:{os.environ['PATH']}"}
    with (folder.parent / f"{folder.name}.log").open("w") as log:
        subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=True)
    return read_hashes(folder / "dvc.lock")


def run_machine(name: str, folder: Path) -> list[str]:
    """Run the pipeline in a new clone; return the stages that differ from dvc.lock."""
    clone(folder)
    committed, order = read_hashes(folder / "dvc.lock"), order_of_stages(folder)
    prefix = ["taskset", "--cpu-list", "0"] if name.startswith("one processor") else []
    return different_stages(order, repro(folder, [*prefix, *REPRO], MACHINES[name]), committed)


def run_emulated(folder: Path) -> list[str]:
    """Run a short pipeline with and without emulation; return the stages that differ."""
    commands = (folder / "commands").resolve()  # for PATH, while the stages run elsewhere
    commands.mkdir(parents=True)
    python = commands / "python"
    python.write_text(f'#!/bin/sh\nexec {EMULATOR} {sys.executable} "$@"\n')
    python.chmod(0o755)
    hashes = {}
    for name, first in (("native", COMMANDS), ("emulated", commands)):
        clone(folder / name)
        shorten(folder / name / "params.yaml")
        # Also the stages whose outputs DVC has.
        hashes[name] = repro(folder / name, [*REPRO, "--force", "--no-run-cache"], {}, first)
    order = order_of_stages(folder / "native")
    return different_stages(order, hashes["emulated"], hashes["native"])


def main() -> None:
    """Run the machines and print what differs; exit with 1 if anything does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="a folder for the clones")
    choices = f"all, or one of: {', '.join([*MACHINES, EMULATED])}"
    parser.add_argument("--machines", default="this", help=choices)
    options = parser.parse_args()
    names = list(MACHINES) if options.machines == "all" else [options.machines]
    if not set(names) <= {*MACHINES, EMULATED}:
        parser.error(f"--machines: use {choices}")
    if EMULATED in names and not shutil.which(EMULATOR.split()[0]):
        parser.error(f"--machines {EMULATED}: needs QEMU 10; install qemu-user")
    options.work.mkdir(parents=True, exist_ok=True)
    print(processor())
    for name, value in [*instructions.PINS.items(), ("XLA_FLAGS", instructions.XLA_FLAGS)]:
        print(f"{name}={value}")
    is_equal = True
    for number, name in enumerate(names):
        folder = options.work / f"machine{number}"
        stages = run_emulated(folder) if name == EMULATED else run_machine(name, folder)
        is_equal &= not stages
        print(f"{name}: {f'{len(stages)} stages differ, first {stages[0]}' if stages else 'equal'}")

    sys.exit(0 if is_equal else 1)


if __name__ == "__main__":
    main()
