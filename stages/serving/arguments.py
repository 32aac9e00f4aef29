"""The command lines of the programs for people."""

import argparse
import re
from pathlib import Path
from typing import Any, NoReturn

from stages.serving.output import MACHINE_FORMATS

BUNDLE, BUNDLE_AS_EVALUATED = Path("data/bundle"), Path("data/bundle_as_evaluated")
FEEDBACK = ("liked", "disliked", "seen")  # options that name one movie each


def utf8(argument: str) -> str:
    """Return an argument as the UTF-8 text that it is, whatever the locale says.

    Bytes that are not UTF-8 become U+FFFD, which no title has.
    """
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def utf8_path(argument: str) -> Path:
    """Return an argument as a path that every library here can open."""
    if utf8(argument) != argument:
        raise argparse.ArgumentTypeError("is not UTF-8 here; rename it, or set PYTHONUTF8=1")
    return Path(argument)


class Once(argparse.Action):
    """Store the value of an option that may be given once."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the value, or refuse the second one."""
        given = vars(namespace).setdefault("given", set())
        if self.dest in given:
            parser.error(f"{option_string}: is given twice; give it once")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and whose options may be given once, unless appended."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"python -m stages.serving {command}", description=description)
        self.register("action", None, Once)
        self.add_argument(
            "--bundle", type=utf8_path, default=BUNDLE, help=f"the bundle's folder ({BUNDLE})"
        )

    def error(self, message: str) -> NoReturn:
        """End the program with code 2 and one line."""
        text = re.sub(r"^argument (\S+?)(/\S+)?: ", r"\1: ", message)
        self.exit(2, f"error: {text}; see `{self.prog} --help`\n")


def parse_recommend() -> argparse.Namespace:
    """Parse and check the command line of `recommend`."""
    parser = Parser("recommend", "Recommend movies from a bundle.")
    text = {"action": "append", "type": utf8, "default": []}
    movie = "; a title or an id, and id:ID is never a title; may be repeated"
    parser.add_argument("--user", **text, help="a user's id in the data set; may be repeated")
    parser.add_argument("--liked", **text, metavar="MOVIE", help="a movie that you like" + movie)
    parser.add_argument("--disliked", **text, metavar="MOVIE", help="one that you rate low")
    parser.add_argument("--seen", **text, metavar="MOVIE", help="one that is not to be listed")
    parser.add_argument(
        "--ratings", type=utf8_path, help="your ratings: a csv, also of Letterboxd or IMDb"
    )
    parser.add_argument("--users", help="many users: a csv with user_id, a txt of ids, or `all`")
    parser.add_argument(
        "--as-evaluated",
        action="store_true",
        help=f"the lists that were measured: without the test targets ({BUNDLE_AS_EVALUATED})",
    )
    parser.add_argument("--top", type=int, default=10, help="movies per user (10)")
    parser.add_argument("--explain", action="store_true", help="add reasons to the table")
    parser.add_argument(
        "--format", choices=("table", *MACHINE_FORMATS), help="of the output (table)"
    )
    parser.add_argument("--out", type=utf8_path, help="the file to write, if not the terminal")
    arguments = parser.parse_args()
    _check_people(parser, arguments)
    _check_format(parser, arguments)
    if arguments.as_evaluated:
        if arguments.bundle != BUNDLE:
            parser.error("--as-evaluated: is another bundle; leave out --bundle")
        arguments.bundle = BUNDLE_AS_EVALUATED
    if arguments.top < 1:
        parser.error("--top: give 1 or more")
    return arguments


def _check_people(parser: Parser, arguments: argparse.Namespace) -> None:
    """Refuse a command line that names nobody, or different kinds of people."""
    has_feedback = bool(arguments.ratings) or any(getattr(arguments, k) for k in FEEDBACK)
    if arguments.users and (arguments.user or has_feedback):
        parser.error("--users: takes no other users and no movies; leave out the others")
    if not (arguments.users or arguments.user or has_feedback):
        parser.error("give --user, or --liked, --disliked, --seen or --ratings, or --users")
    if len(arguments.user) > 1 and has_feedback:
        parser.error("--user: give one user, if you also give movies or ratings")


def _check_format(parser: Parser, arguments: argparse.Namespace) -> None:
    """Set the format, and refuse one that does not fit the file."""
    out, suffix = arguments.out, arguments.out.suffix.lower()[1:] if arguments.out else ""
    if arguments.format is None:
        if out and suffix not in MACHINE_FORMATS:
            parser.error("--out: name a .json, .csv or .parquet file, or give --format")
        arguments.format = suffix if out else "table"
    if arguments.format == "table" and out:
        parser.error("--format table: goes to the terminal; leave out --out")
    if arguments.format == "parquet" and not out:
        parser.error("--format parquet: give the file with --out")
    if out and suffix in MACHINE_FORMATS and suffix != arguments.format:
        parser.error(f"--out: ends in .{suffix}, but --format is {arguments.format}")
    if out and out.is_dir():
        parser.error(f"--out: {out} is a folder; name a file")
