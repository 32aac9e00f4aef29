"""Compare a finished run with the peers, without fitting them again and without their libraries.

    python -m benchmarks.peers.compare
    python -m benchmarks.peers.compare --ranks /tmp/seeds/*/data/ranks

`benchmarks/peers/ml-100k` has the ranks that the peers gave to the test targets of MovieLens 100K.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.peers.report import read_results, read_systems, report
from stages.common.stage import StageError

KEPT = Path(__file__).parent / "ml-100k"


def main() -> None:
    """Parse the command line and print the tables."""
    parser = argparse.ArgumentParser(description="A finished run beside the peers' kept ranks.")
    ranks = [Path("data") / "ranks"]
    parser.add_argument(
        "--ranks", type=Path, nargs="+", default=ranks, help="of runs of all seeds (data/ranks)"
    )
    parser.add_argument("--peers", type=Path, default=KEPT, help=f"results of peers ({KEPT})")
    options = parser.parse_args()
    try:
        results = read_results(options.peers)
        print(report(results, read_systems(options.ranks, results.targets)))
    except StageError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
