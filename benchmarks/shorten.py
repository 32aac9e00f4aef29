"""Shorten all training to one epoch, and to 20 trees at most.

python -m benchmarks.shorten params.yaml
"""

import argparse
import re
from pathlib import Path


def shorten(params: Path) -> None:
    """Write the numbers of epochs and trees into the file."""
    text = re.sub(r"(?m)^(    epochs:) .*", r"\1 1", params.read_text(encoding="utf-8"))
    text = re.sub(r"(?m)^(  num_boost_round:) .*", r"\1 20", text)
    params.write_text(text, encoding="utf-8")


def main() -> None:
    """Parse the command line, and change the file."""
    parser = argparse.ArgumentParser(description="One epoch, and 20 trees at most.")
    parser.add_argument("params", type=Path, help="a params.yaml")
    shorten(parser.parse_args().params)


if __name__ == "__main__":
    main()
