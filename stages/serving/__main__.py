"""The commands for people: `python -m stages.serving recommend`, `... demo`, `... serve`."""

import stages.serving.one_thread  # noqa: F401

# isort: split
import importlib
import sys

from stages.common.console import standard_output

COMMANDS = ("recommend", "demo", "serve")
USAGE = f"usage: python -m stages.serving {{{','.join(COMMANDS)}}} [options], or --help after one\n"


@standard_output()
def main() -> None:
    """Run the command that the first argument names, with the other arguments."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in ("-h", "--help"):
        sys.stdout.write(USAGE)
    elif command in COMMANDS:
        del sys.argv[1]
        importlib.import_module(f"stages.serving.{command}").main()
    else:
        sys.stderr.write(USAGE)
        sys.exit(2)


if __name__ == "__main__":
    main()
