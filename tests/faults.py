"""Bad input, and what becomes of it: data for tests/test_faults.py and docs/faults.md.

python -m tests.faults > docs/faults.md
"""

import dataclasses
import gzip
import io
import zipfile
import zlib
from typing import Any

HEAD = "userId,movieId,rating,timestamp\n"
# Three users, each with five likings and a dislike of seven movies.
ROWS = [
    (u, m, 2.0 if m == 10 * u else 4.5, 1000 * u + m) for u in (1, 2, 3) for m in range(10, 70, 10)
]
RATINGS = HEAD + "".join(f"{u},{m},{r},{t}\n" for u, m, r, t in ROWS)
MOVIES = "movieId,title,genres\n" + "".join(
    f"{m},Film {m} (1999),Drama\n" for m in range(10, 80, 10)
)
ORDER = ["clean", "positives", "time_split", "histories", "popularity"]


@dataclasses.dataclass(frozen=True)
class Case:
    """One fault.

    `files` of the source, `params` by dotted key; `stage`: the last one that runs, or the one that
    refuses; `error`: what it says, or `figures` of metrics/data.json or metrics/split.json.
    """

    fault: str
    files: dict[str, str | bytes]
    stage: str = "clean"
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    error: str = ""
    figures: dict[str, float] = dataclasses.field(default_factory=dict)


def rated(text: str | bytes, fault: str, error: str = "", **figures: float) -> Case:
    """A fault of the ratings file."""
    return Case(fault, {"ratings.csv": text, "movies.csv": MOVIES}, error=error, figures=figures)


def named(text: str | bytes, fault: str, error: str = "", **figures: float) -> Case:
    """A fault of the movies file."""
    return Case(fault, {"ratings.csv": RATINGS, "movies.csv": text}, error=error, figures=figures)


def late(text: str, fault: str, stage: str, error: str = "", **figures: float) -> Case:
    """A fault that only a later stage can see."""
    files = {"ratings.csv": text, "movies.csv": MOVIES}
    return Case(fault, files, stage, error=error, figures=figures)


def tuned(fault: str, stage: str, error: str, **params: Any) -> Case:
    """A fault of params.yaml; `__` in a name is a dot."""
    dotted = {name.replace("__", "."): value for name, value in params.items()}
    return Case(fault, {"ratings.csv": RATINGS, "movies.csv": MOVIES}, stage, dotted, error)


def changed(old: str, new: str, count: int = 1) -> str:
    """RATINGS with something replaced."""
    assert old in RATINGS
    return RATINGS.replace(old, new, count)


RAW, COUNT = "data/raw/ratings.csv: ", len(ROWS)
# One fault a line.
# fmt: off
SHARED = [
    rated("userId,movieId,timestamp\n1,10,5\n", "a column is missing", f"{RAW}column 'rating' is missing among userId, movieId, timestamp; "),
    rated(changed("userId", "UserID"), "a column has another name", f"{RAW}column 'userId' is missing among UserID, "),
    rated(changed("movieId", "userId"), "a column is there twice", f"{RAW}column 'movieId' is missing among userId, "),
    rated(RATINGS.replace("\n", ",x\n"), "an extra column", ratings=COUNT),
    rated(RATINGS.split("\n", 1)[1], "no header", f"{RAW}column 'userId' is missing among 1, 10, "),
    rated("", "an empty file", f"{RAW}is empty; put the data in"),
    rated(HEAD, "a header and nothing else", f"{RAW}holds no ratings; put the data in"),
    rated("\ufeff" + RATINGS, "a byte order mark", ratings=COUNT, dropped_incomplete=0),
    rated(RATINGS.replace("\n", "\r\n"), "line ends of Windows", ratings=COUNT, dropped_incomplete=0),
    rated(RATINGS.encode("utf-16"), "UTF-16", f"{RAW}is in UTF-16; save it as UTF-8"),
    rated(RATINGS.replace(",", ";"), "semicolons instead of commas", ratings=COUNT),
    rated(RATINGS.replace(",", "\t"), "tabs instead of commas", ratings=COUNT),
    rated(RATINGS[:-6], "a last line that is cut off", ratings=COUNT - 1, dropped_incomplete=1),
    rated(RATINGS + "3,70\n", "a line with too few fields", ratings=COUNT, dropped_incomplete=1),
    rated(RATINGS + "3,70,4.5,5,6\n", "a line with too many fields", f"{RAW}found more fields than defined"),
    rated(RATINGS.replace("\n2", "\n\n2", 1), "an empty line", ratings=COUNT, dropped_incomplete=1),
    rated(changed("2,30,4.5", '2,30,"4.5'), "a quote that is not closed", f"{RAW}has {COUNT} lines but 9 rows; correct its quotes"),
    rated(changed("1,30,4.5", '1,30,"4.5').replace("3,20,4.5", '3,20,4.5"'), "two stray quotes far apart", f"{RAW}has {COUNT} lines but "),
    rated(RATINGS + RATINGS, "the file twice in one", ratings=COUNT, dropped_repeated=COUNT, dropped_incomplete=1),
    rated("<!doctype html><html>404, not found", "a web page", f"{RAW}is a web page; download the file again"),
    rated(bytes(range(256)) * 9, "binary data", f"{RAW}is not in UTF-8; save it so"),
    rated(changed("4.5", "4.5\0"), "a zero byte in a number", ratings=COUNT - 1, dropped_incomplete=1),
    rated(gzip.compress(b"0" * 10_000_000), "a gzip bomb", f"{RAW}is compressed; unpack it"),
    rated(zlib.compress(RATINGS.encode()), "zlib", f"{RAW}is compressed; unpack it"),
    rated(changed("2,30,4.5", "2,30,NaN"), "a rating that is no number", ratings=COUNT - 1, dropped_incomplete=1),
    rated(changed("2,30,4.5", "2,30,five"), "a rating in words", ratings=COUNT - 1, dropped_incomplete=1),
    rated(changed("2,30,4.5", '2,30,"4,5"'), "a decimal comma", ratings=COUNT - 1, dropped_incomplete=1),
    rated(changed("2,30,4.5", "2,30,-4.5"), "a negative rating", f"{RAW}data row 9 has a rating outside 0.5 to 5; correct it or set clean."),
    rated(changed("2,30,4.5", "2,30,1e300"), "a huge rating", f"{RAW}data row 9 has a rating outside 0.5 to 5; "),
    rated(changed("2,30,4.5", "2,30,inf"), "an infinite rating", f"{RAW}data row 9 has a rating outside 0.5 to 5; "),
    rated(changed(",2030", ",-2030"), "a negative time", f"{RAW}data row 9 has a time before 1970 or after 2100; give seconds"),
    rated(changed(",2030", ",1112486027000"), "a time in milliseconds", f"{RAW}data row 9 has a time before 1970 or after 2100; "),
    rated(changed(",2030", ",yesterday"), "a time in words", ratings=COUNT - 1, dropped_incomplete=1),
    rated(HEAD + "1,10,4,2005-04-02T23:53:47Z\n1,20,4,2005-04-02 23:53:48\n", "times as text", ratings=2, dropped_incomplete=0),
    rated(changed("1,10,2.0", "1,1.0e1,2.0"), "a movie id as 1.0e1", ratings=COUNT, movies=8),
    rated(changed("2,30,", "2,,"), "an id that is missing", ratings=COUNT - 1, dropped_incomplete=1),
    rated(changed("2,30,", "-2,30,"), "a negative id", ratings=COUNT, users=4),
    rated(changed("2,30,", "99999999999,30,"), "an id over 32 bits", ratings=COUNT, users=4),
    rated(changed("2,30,", f"{10**30},30,"), "an id over 64 bits", ratings=COUNT, users=4),
    rated(changed("2,30,", "007,30,"), "an id with zeros in front", ratings=COUNT, users=4),
    rated(changed("2,30,", "ünï,30,"), "an id in letters", ratings=COUNT, users=4),
    rated(RATINGS + "2,999,4.5,9\n", "a rating of an unknown movie", ratings=COUNT + 1, movies=8, movies_without_genres=1),
    rated(RATINGS + RATINGS.splitlines()[-1], "a row that is there twice", ratings=COUNT, dropped_repeated=1),
    named(MOVIES.replace("Film 20", "Été").encode("latin-1"), "movies in latin-1", "data/raw/movies.csv: is not in UTF-8; save it so"),
    named(MOVIES.replace("Film 20 (1999)", '"Film, the 20th (1999)"'), "commas in a quoted title", movies=7),
    named(MOVIES.replace("Film 20", "Film, 20"), "a comma in a title without quotes", "data/raw/movies.csv: found more fields than defined"),
    named(MOVIES.replace("Film 20", '"Film 20').replace("(1999),Drama\n50", '(1999)",Drama\n50'), "a title over several lines", "data/raw/movies.csv: movie 20 goes over several lines; correct its quotes"),
    named(MOVIES.replace("Film 20", '"Film 20'), "a title's quote is not closed", "data/raw/movies.csv: "),
    named("", "an empty movies file", "data/raw/movies.csv: is empty; put the data in"),
    named(MOVIES.replace(",Drama", ","), "movies without genres", movies_without_genres=7),
    named(MOVIES.replace("Drama", "||"), "genres that are only bars", movies_without_genres=7),
    named(MOVIES + "20,Again,Horror\n", "a movie that is there twice", movies=7),
    named(MOVIES + "x9,Other,Horror\n", "a movie id in letters", movies=7),
    named(MOVIES.replace("0,Film", "1,Film"), "movies of another data set", "data/raw/movies.csv: has no rated movie; correct its ids"),
    named(MOVIES.replace("Film 20", "é" * 100_000), "a title of 100,000 letters", movies=7),
    Case("a broken parquet file", {"ratings.parquet": b"PAR1xxxxPAR1"}, error="data/raw/ratings.parquet: "),
    Case("`ratings.dat` with three fields", {"ratings.dat": "1::10::4\n", "movies.dat": "10::A::B\n"}, error="data/raw/ratings.dat: a row has less than 4 fields; take the file again"),
    Case("`movies.dat` with one field", {"ratings.dat": "1::10::4::5\n", "movies.dat": "10\n"}, error="data/raw/movies.dat: a line has less than 3 fields; take the file again"),
    Case("`u.item` with two fields", {"u.data": "1\t10\t4\t5\n", "u.item": "10|A\n"}, error="data/raw/u.item: a line has less than 24 fields; take the file again"),
    late(RATINGS.replace("4.5", "3.5"), "no rating is a liking", "positives", "positives.min_rating: no rating reaches 4; set it lower"),
    late(RATINGS + "1,20,1.0,9999\n", "a liking that is taken back later", "time_split", train_likings=8),
    late(HEAD + "".join(f"{u},10,4.5,{u}\n" for u in range(1, 9)), "one movie", "time_split", "time_split: leaves no early target; bring more likings per user"),
    late(HEAD + "1,10,4.5,1\n1,20,4.5,2\n2,10,4.5,3\n", "users with one or two likings", "time_split", "time_split: leaves no early target; "),
    late(RATINGS + "4,10,4.5,1\n", "one user among others has one liking", "time_split", test_targets=3, users=4),
    late(HEAD + "".join(f"1,{m},4.5,{m}\n" for m in range(10, 70, 10)), "one user", "popularity", test_targets=1),
    late("".join(line.rsplit(",", 1)[0] + ",5\n" if n else line + "\n" for n, line in enumerate(RATINGS.splitlines())), "all ratings in one second", "popularity", tied_share=1.0),
    tuned("a number in words", "positives", "positives.min_rating: is 'high'; write a number", positives__min_rating="high"),
    tuned("a number out of range", "positives", "positives.sample_users: is 2.0; use 0.0001 to 1", positives__sample_users=2.0),
    tuned("not a number", "clean", "clean.rating_max: is nan; use -1000 to 1000", clean__rating_max=float("nan")),
    tuned("half a movie", "histories", "histories.max_length: is 2.5; write a whole number", histories__max_length=2.5),
    tuned("yes for a number", "histories", "histories.max_length: is True; write a whole number", histories__max_length=True),
    tuned("a choice that there is not", "time_split", "time_split.method: is 'random'; use one of leave_one_out, global", time_split__method="random"),
    tuned("an unknown key", "time_split", "time_split.tie: unknown key; use one of ", time_split__tie="file"),
    tuned("a seed below zero", "positives", "seed: is -1; use 0 to ", seed=-1),
    tuned("a section that is no mapping", "clean", "clean: must be a block of keys; see the default params.yaml", clean=5),
    tuned("a null", "popularity", "candidates.count: is None; write a whole number", candidates__count=None),
    tuned("a column's name that is a number", "clean", "data.columns.user: is 7; write a text", data__columns__user=7),
]
# fmt: on


def archive(members: dict[str, str], cut: int | None = None) -> bytes:
    """A zip file, or its first `cut` bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, text in members.items():
            zipped.writestr(name, text)
    return buffer.getvalue()[:cut]


def of_size(claimed: int) -> bytes:
    """A zip file that claims another size of its ratings file."""
    content = bytearray(archive({"ml-tiny/ratings.csv": RATINGS, "ml-tiny/movies.csv": MOVIES}))
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = claimed.to_bytes(4, "little")
    return bytes(content)


GOOD = {"ml-tiny/ratings.csv": RATINGS, "ml-tiny/movies.csv": MOVIES}
# fault: (bytes of the file, whether its checksum is the expected one, error or "")
# fmt: off
ZIPS = {
    "a zip with paths that lead out of its folder": (archive({**GOOD, "ml-tiny/../../out.csv": "x"}), True, "ml-tiny.zip: ml-tiny/../../out.csv leads elsewhere; do not use this file"),
    "a zip with absolute paths": (archive({**GOOD, "/tmp/out.csv": "x"}), True, "ml-tiny.zip: /tmp/out.csv leads elsewhere; do not use this file"),
    "a zip with other files": (archive({**GOOD, "ml-tiny/README.txt": "x", "other/ratings.csv": "x"}), True, ""),
    "a zip bomb": (of_size(2**32 - 2), True, "ml-tiny.zip: ratings.csv is too large; do not use this file"),
    "a zip that unpacks to more than it says": (of_size(10), True, "ml-tiny.zip: is not a whole zip file; download it again"),
    "a zip that is cut off": (archive(GOOD, 300), True, "ml-tiny.zip: is not a whole zip file; download it again"),
    "a web page instead of a zip": (b"<html>not found</html>", True, "ml-tiny.zip: is not a whole zip file; download it again"),
    "a zip without ratings": (archive({"ml-tiny/movies.csv": MOVIES}), True, "ml-tiny.zip: holds no ratings file of a known name; "),
    "a zip with another checksum": (archive(GOOD), False, "ml-tiny: its sha256 is "),
}
# fmt: on


def page() -> str:
    """docs/faults.md."""
    lines = [
        "# Bad input, and what becomes of it",
        "",
        "Every row is a test (`tests/test_faults.py`) through the commands of `dvc.yaml`. What is",
        "refused ends with this line on standard error, exit code 1 and no output; what is handled is",
        "counted in `metrics/data.json` or `metrics/split.json`. `python -m tests.faults` makes the",
        "table.",
        "",
        "| fault | stage | what happens |",
        "| --- | --- | --- |",
    ]
    for case in SHARED:
        counted = ", ".join(f"{name} {value:g}" for name, value in case.figures.items())
        outcome = f"`{case.error.strip()} …`" if case.error else f"handled: {counted}"
        lines.append(f"| {case.fault} | {case.stage} | {outcome} |")
    for fault, (_, _, error) in ZIPS.items():
        outcome = f"`{error.strip()} …`" if error else "handled: only the raw files are taken out"
        lines.append(f"| {fault} | download | {outcome} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
