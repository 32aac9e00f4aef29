"""Compare what this machine computes with the committed dvc.lock, stage by stage.

    python -m benchmarks.machine --work /tmp/machine
    python -m benchmarks.machine --work /tmp/machine --machines all

For each machine the repository is cloned below `--work`, and `dvc repro` runs there. `this` is the
machine as it is; the others are this one with other kernels, threads and processors, as far as the
environment can change them. Prints the processor, the pins of `stages.common.instructions`, and for
each machine the first stage in the order of the pipeline whose outputs differ from dvc.lock.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import networkx as nx
from dvc.repo import Repo

from stages.common import instructions
from stages.common.params import YAML

MACHINES = {
    "this": {},
    "one processor, one thread": {"POLARS_MAX_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"},
    "oneDNN's kernels for AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "Eigen's kernels, 16 threads": {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_NUM_INTRAOP_THREADS": "16"},
    "an image that sets OpenBLAS's kernels": {"OPENBLAS_CORETYPE": "SkylakeX"},
}


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


def run_machine(name: str, folder: Path) -> list[str]:
    """Run the pipeline in a new clone; return the stages that differ from dvc.lock."""
    subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
    committed = read_hashes(folder / "dvc.lock")
    order = [stage.name for stage in nx.dfs_postorder_nodes(Repo(folder).index.graph)]
    prefix = ["taskset", "--cpu-list", "0"] if name.startswith("one processor") else []
    environment = {**os.environ, **MACHINES[name]}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    with (folder.parent / f"{folder.name}.log").open("w") as log:
        command = [*prefix, "dvc", "repro", "--quiet"]
        subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=True)
    return different_stages(order, read_hashes(folder / "dvc.lock"), committed)


def main() -> None:
    """Run the machines and print what differs; exit with 1 if anything does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="a folder for the clones")
    parser.add_argument("--machines", default="this", help=f"all, or one of: {', '.join(MACHINES)}")
    options = parser.parse_args()
    names = list(MACHINES) if options.machines == "all" else [options.machines]
    if not set(names) <= set(MACHINES):
        parser.error(f"--machines: use all, or one of: {', '.join(MACHINES)}")
    options.work.mkdir(parents=True, exist_ok=True)
    print(processor())
    for name, value in [*instructions.PINS.items(), ("XLA_FLAGS", instructions.XLA_FLAGS)]:
        print(f"{name}={value}")
    is_equal = True
    for number, name in enumerate(names):
        stages = run_machine(name, options.work / f"machine{number}")
        is_equal &= not stages
        print(f"{name}: {f'{len(stages)} stages differ, first {stages[0]}' if stages else 'equal'}")

    sys.exit(0 if is_equal else 1)


if __name__ == "__main__":
    main()
