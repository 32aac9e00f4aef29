"""Fit peers, measure them and print the tables; see `benchmarks.peers`."""

import argparse
import sys
import warnings
from pathlib import Path

from benchmarks.peers import replicate
from benchmarks.peers.report import read_results, read_systems, report
from benchmarks.peers.runs import COMBINATIONS, LISTS, Benchmark
from stages.common.stage import StageError


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Other libraries on this pipeline's split.")
    every = ",".join([*LISTS, *COMBINATIONS])
    parser.add_argument("--models", default=every, help=f"with commas ({every})")
    parser.add_argument("--seeds", default="42", help="with commas")
    parser.add_argument("--max-minutes", type=float, default=60, help="of one training")
    parser.add_argument(
        "--published", action="store_true", help="transformers with the published dropout only"
    )
    parser.add_argument("--refit", action="store_true", help="forget the results of --models")
    parser.add_argument("--replicate", action="store_true", help="published figures instead")
    parser.add_argument("--sequences", type=Path, help="ratings.csv of ML-1M, for --replicate")
    parser.add_argument("--data", type=Path, default=Path("data"), help="of a run (data)")
    parser.add_argument("--ranks", type=Path, nargs="+", help="data/ranks of runs of all seeds")
    out = Path("benchmarks") / "out" / "peers"
    parser.add_argument("--out", type=Path, default=out, help=f"a folder for the lists ({out})")
    return parser.parse_args()


def fit_and_report(options: argparse.Namespace) -> str:
    """Fit the peers of the options; return the tables of all results in the folder.

    Raises:
        StageError: The run, or the folder, lacks a file or has other test targets.
    """
    benchmark = Benchmark(options.data, options.out, options)
    systems = read_systems(options.ranks or [options.data / "ranks"], benchmark.checksum)
    for seed in map(int, options.seeds.split(",")):
        for name in filter(None, options.models.split(",")):
            benchmark.run(name, seed)
    benchmark.write_ranks()
    return report(read_results(options.out), systems)


def main() -> None:
    """Run the peers, then print the tables of all results and keep them beside the lists."""
    options = parse_options()
    warnings.filterwarnings("ignore")
    if options.replicate:
        lines = []
        for line in replicate.rows(options.data, options.sequences):
            print(line, flush=True)
            lines.append(line)
        (options.out / "replication.md").write_text("\n".join(lines) + "\n")
        return
    try:
        text = fit_and_report(options)
    except StageError as error:
        sys.exit(f"error: {error}")
    (options.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
