"""How the time and the memory of every stage grow with the number of ratings.

    python -m benchmarks.curves /tmp/run-1m /tmp/run-5m /tmp/run-20m

The folders are those of `benchmarks.run`. The program prints seconds and GiB of every stage by
size, and the exponents of both: the slope of the least-squares line through their logarithms over
that of the ratings. It is 1 if the cost grows with the ratings, and 2 if it grows with their
square. Exponents above `STEEP` are bold. Small sizes belong into the table (`--small`) but not into
the fit, because there the start of Python and the imports are most of a stage.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from benchmarks.tables import header
from stages.common.files import read_json

STEEP = 1.1


class Size(NamedTuple):
    """The costs of all stages at one size."""

    ratings: int
    costs: dict[str, tuple[float, float]]  # seconds and GiB by stage


def read_size(folder: Path) -> Size:
    """Read what `benchmarks.run` has measured."""
    rows = pl.read_csv(folder / "benchmark.csv").iter_rows()
    ratings = read_json(folder / "metrics" / "data.json")["ratings"]
    return Size(ratings, {stage: (seconds, gib) for stage, seconds, gib in rows})


def exponent(ratings: list[int], costs: list[float]) -> float:
    """Return the slope of the line through the logarithms of two or more points.

    Args:
        ratings: The numbers of ratings.
        costs: The cost at each of them, above zero.
    """
    return float(np.polyfit(np.log(ratings), np.log(costs), 1)[0])


def exponent_text(ratings: list[int], costs: list[float]) -> str:
    """Return the exponent, bold if it is steep; nothing for a single point."""
    if len(costs) < 2:
        return ""
    value = exponent(ratings, costs)
    return f"**{value:.2f}**" if value > STEEP else f"{value:.2f}"


def table(small: list[Size], sizes: list[Size]) -> list[str]:
    """Return the lines of the table; a stage need not be in every size.

    Args:
        small: Sizes that are only shown.
        sizes: Sizes that the exponents are fitted to.
    """
    columns = [f"{size.ratings:,}" for size in (*small, *sizes)]
    lines = [header("stage", [*columns, "exponent of s", "of GiB"])]
    for stage in dict.fromkeys(stage for size in (*small, *sizes) for stage in size.costs):
        cells = [
            "{:.1f} s, {:.1f} GiB".format(*size.costs[stage]) if stage in size.costs else ""
            for size in (*small, *sizes)
        ]
        fitted = [size for size in sizes if stage in size.costs]
        ratings = [size.ratings for size in fitted]
        for k in range(2):
            cells.append(exponent_text(ratings, [size.costs[stage][k] for size in fitted]))
        lines.append(f"| `{stage}` | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Parse the command line, and print the table."""
    parser = argparse.ArgumentParser(description="How costs grow with the ratings.")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of benchmarks.run to fit")
    parser.add_argument("--small", type=Path, nargs="*", default=[], help="folders only to show")
    options = parser.parse_args()
    small, sizes = (
        sorted(read_size(path) for path in paths) for paths in (options.small, options.runs)
    )
    print("\n".join(table(small, sizes)))


if __name__ == "__main__":
    main()
