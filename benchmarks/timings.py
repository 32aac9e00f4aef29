"""Read the seconds of every stage from the output of a full run, for the report.

    dvc repro --force > run.log 2>&1
    python -m benchmarks.timings run.log
    dvc repro

A stage must not write times, because equal inputs must give equal outputs. Git keeps the times of
one run on one machine.
"""

import argparse
import os
import re
from pathlib import Path

import polars as pl

from stages.common.files import write_csv

TABLE = Path("benchmarks") / "timings.csv"
STAGE = re.compile(r"^Running stage '([^']+)'", re.MULTILINE)
SECONDS = re.compile(r"^\w[\w@]*: .*, (\d+\.\d) s$", re.MULTILINE)


def stage_seconds(log: str) -> pl.DataFrame:
    """Return stage and seconds, in the order of the run, without the stages that did not end."""
    _, *parts = STAGE.split(log)
    rows = []
    for name, text in zip(parts[::2], parts[1::2]):
        if seconds := SECONDS.findall(text):
            rows.append((name, float(seconds[-1])))
    return pl.DataFrame(rows, schema={"stage": pl.String, "seconds": pl.Float64}, orient="row")


def main() -> None:
    """Read the log, write the table, and print its longest rows."""
    parser = argparse.ArgumentParser(description="Seconds of every stage of a run.")
    parser.add_argument("log", type=Path, help="the output of `dvc repro --force`")
    log = parser.parse_args().log
    table = stage_seconds(log.read_text(encoding="utf-8"))
    if table.is_empty():
        parser.error(f"{log}: has no stage that ended; give the output of `dvc repro --force`")
    write_csv(table, TABLE)
    for stage, seconds in table.sort("seconds", descending=True).head(10).iter_rows():
        print(f"{seconds:8.1f} s  {stage}")
    print(f"{table['seconds'].sum():8.1f} s  in {table.height} stages, on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
