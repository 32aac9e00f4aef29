"""Bad input and its outcome: the cases of `test_faults`, and the source of docs/faults.md.

python -m tests.pipeline.faults > docs/faults.md
"""

import dataclasses
import datetime
import gzip
import io
import zipfile
import zlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

HEAD = "userId,movieId,rating,timestamp\n"
# Three users, each with five positives and one low rating, out of seven movies.
ROWS = [
    (u, m, 2.0 if m == 10 * u else 4.5, 1000 * u + m) for u in (1, 2, 3) for m in range(10, 70, 10)
]
RATINGS = HEAD + "".join(f"{u},{m},{r},{t}\n" for u, m, r, t in ROWS)
MOVIES = "movieId,title,genres\n" + "".join(
    f"{m},Film {m} (1999),Drama\n" for m in range(10, 80, 10)
)
ORDER = ["clean", "positives", "time_split", "histories", "seen", "fit_generator"]


@dataclasses.dataclass(frozen=True)
class Case:
    """A fault of the input, with the error or the figures that it must lead to."""

    fault: str
    files: dict[str, str | bytes]  # raw files, by name
    stage: str = "clean"  # the last one that runs
    params: dict[str, Any] = dataclasses.field(default_factory=dict)  # by dotted key
    error: str = ""  # the start of the stage's message
    figures: dict[str, float] = dataclasses.field(default_factory=dict)  # of metrics/*.json


def ratings_case(text: str | bytes, fault: str, error: str = "", **figures: float) -> Case:
    """A fault of the ratings file."""
    return Case(fault, {"ratings.csv": text, "movies.csv": MOVIES}, error=error, figures=figures)


def dropped_case(text: str, fault: str, **figures: float) -> Case:
    """A fault of single rows of the ratings file, which are more than the default share."""
    files, params = {"ratings.csv": text, "movies.csv": MOVIES}, {"clean.max_dropped": 0.1}
    return Case(fault, files, params=params, figures=figures)


def movies_case(text: str | bytes, fault: str, error: str = "", **figures: float) -> Case:
    """A fault of the movies file."""
    return Case(fault, {"ratings.csv": RATINGS, "movies.csv": text}, error=error, figures=figures)


def later_case(text: str, fault: str, stage: str, error: str = "", **figures: float) -> Case:
    """A fault of the ratings file that only a later stage can see."""
    files = {"ratings.csv": text, "movies.csv": MOVIES}
    return Case(fault, files, stage, error=error, figures=figures)


def params_case(fault: str, stage: str, error: str, **params: Any) -> Case:
    """A fault of params.yaml; `__` in a key stands for a dot."""
    dotted = {name.replace("__", "."): value for name, value in params.items()}
    return Case(fault, {"ratings.csv": RATINGS, "movies.csv": MOVIES}, stage, dotted, error)


def replaced(old: str, new: str, count: int = 1) -> str:
    """Return RATINGS with `old` replaced by `new`."""
    assert old in RATINGS
    return RATINGS.replace(old, new, count)


def with_column(name: str, value: str) -> str:
    """Return RATINGS with one more column; `{}` in its value stands for the number of the row."""
    lines = RATINGS.splitlines()
    rows = [f"{line},{value.format(n)}" for n, line in enumerate(lines[1:], start=1)]
    return "\n".join([f"{lines[0]},{name}", *rows, ""])


def parquet_of(time: Any) -> bytes:
    """A ratings file with one row, in parquet."""
    buffer = io.BytesIO()
    row = {"userId": [1], "movieId": [10], "rating": [4.0], "timestamp": [time]}
    pq.write_table(pa.table(row), buffer)  # Polars would start its threads
    return buffer.getvalue()


def dated(form: str) -> str:
    """Return RATINGS with dates in `form`, of year, month and day, instead of seconds."""
    lines = [line.rsplit(",", 1)[0] for line in RATINGS.splitlines()[1:]]
    dates = [form.format("2005", "04", f"{day:02}") for day in range(6, 6 + len(lines))]
    return HEAD + "".join(f"{line},{date}\n" for line, date in zip(lines, dates))


RAW, COUNT = "data/raw/ratings.csv: ", len(ROWS)
# One fault a line.
# fmt: off
CASES = [
    ratings_case("userId,movieId,timestamp\n1,10,5\n", "a column is missing", f"{RAW}has no column 'rating' among userId, movieId, timestamp; "),
    ratings_case("userId,stars,timestamp\n1,10,5\n", "two columns are missing", f"{RAW}has no columns 'movieId' and 'rating' among userId, stars, timestamp; set data.columns.item and data.columns.rating to some of them"),
    ratings_case(replaced("userId", "reader"), "a column has another name", f"{RAW}has no column 'userId' among reader, "),
    ratings_case(replaced("userId", "USER-ID"), "a column's name in another case, with a dash", ratings=COUNT),
    ratings_case(replaced("movieId", "userId"), "a column twice", f"{RAW}has 2 columns 'userId'; rename the others"),
    ratings_case(with_column("parent_asin", "{}").replace("movieId", "asin"), "two columns that may be the movie", f"{RAW}has the columns 'asin' and 'parent_asin', and each may be the item; set data.columns.item to one of them"),
    ratings_case("Date,Name,Year,Letterboxd URI,Rating\n2024-01-02,A,1999,https://boxd.it/a,4\n", "the export of one person", f"{RAW}is the Letterboxd export of one person, and the pipeline needs the ratings of many; for one person, run `python -m stages.serving recommend --ratings`"),
    Case("titles in the ratings file, without a movies file", {"ratings.csv": with_column("title", "Film")}, figures={"ratings": COUNT, "movies": 6}),
    Case("a title for each rating", {"ratings.csv": with_column("title", "Review {}")}, error=f"{RAW}movie 10 has the title 'Review 1' and the title 'Review 7', and 100.0% of the movies have several (clean.max_dropped: 0.01); set data.columns.title to '' if this column is not about movies"),
    ratings_case(with_column("genre", "War"), "genres in both files", ratings=COUNT, genres=1),
    Case("a column of movies that only the ratings file has", {"ratings.csv": with_column("genre", "War"), "movies.csv": MOVIES.replace("genres", "studio")}, error=f"{RAW}has the column 'genre', and movies.csv has no genres; move the column there, or set data.columns.genres to ''"),
    ratings_case(RATINGS.replace("\n", ",x\n"), "an extra column", ratings=COUNT),
    ratings_case(RATINGS.split("\n", 1)[1], "no header", f"{RAW}has '1' in its first line, which is no name; add a line of column names"),
    ratings_case("", "an empty file", f"{RAW}is empty; add the data"),
    ratings_case(HEAD, "a header and nothing else", f"{RAW}has no ratings; add the data"),
    ratings_case("\ufeff" + RATINGS, "a byte order mark", ratings=COUNT, dropped_incomplete=0),
    ratings_case(RATINGS.replace("\n", "\r\n"), "Windows line ends", ratings=COUNT, dropped_incomplete=0),
    ratings_case(RATINGS.replace("\n", "\r"), "line ends of old Macs", f"{RAW}has carriage returns as line ends; save it with line feeds"),
    ratings_case(RATINGS.encode("utf-16"), "UTF-16", f"{RAW}is in UTF-16; save it as UTF-8"),
    ratings_case(RATINGS.replace(",", ";"), "semicolons instead of commas", ratings=COUNT),
    ratings_case(RATINGS.replace(",", "\t"), "tabs instead of commas", ratings=COUNT),
    dropped_case(RATINGS[:-6], "a truncated last line", ratings=COUNT - 1, dropped_incomplete=1),
    dropped_case(RATINGS + "3,70\n", "a line with too few fields", ratings=COUNT, dropped_incomplete=1),
    ratings_case(RATINGS + "3,70,4.5,5,6\n", "a line with too many fields", f"{RAW}line {COUNT + 2} has more fields than the first line; correct it, or put a field that contains ',' in quotes"),
    dropped_case(RATINGS.replace("\n2", "\n\n2", 1), "an empty line", ratings=COUNT, dropped_incomplete=1),
    ratings_case(replaced("2,30,4.5", '2,30,"4.5'), "an unclosed quote", f"{RAW}line 10 has an unbalanced quote; "),
    ratings_case(replaced("1,30,4.5", '1,30,"4.5').replace("3,20,4.5", '3,20,4.5"'), "two stray quotes far apart", f"{RAW}line 4 opens a quote that other records follow; "),
    dropped_case(RATINGS + RATINGS, "the file appended to itself", ratings=COUNT, dropped_repeated=COUNT, dropped_incomplete=1),
    ratings_case("<!doctype html><html>404, not found", "a web page", f"{RAW}is a web page; download the file again"),
    ratings_case(bytes(range(256)) * 9, "binary data", f"{RAW}is not in UTF-8; save it as UTF-8"),
    dropped_case(replaced("4.5", "4.5\0"), "a zero byte in a number", ratings=COUNT - 1, dropped_incomplete=1),
    ratings_case(gzip.compress(b"0" * 10_000_000), "a gzip bomb", f"{RAW}is compressed; unpack it"),
    ratings_case(zlib.compress(RATINGS.encode()), "zlib", f"{RAW}is compressed; unpack it"),
    dropped_case(replaced("2,30,4.5", "2,30,NaN"), "a rating that is not a number", ratings=COUNT - 1, dropped_incomplete=1),
    dropped_case(replaced("2,30,4.5", "2,30,five"), "a rating in words", ratings=COUNT - 1, dropped_incomplete=1),
    dropped_case(replaced("2,30,4.5", '2,30,"4,5"'), "a decimal comma", ratings=COUNT - 1, dropped_incomplete=1),
    ratings_case(replaced("2,30,4.5", "2,30,-4.5"), "a negative rating", f"{RAW}data row 9 has a rating outside 0.5 to 5; correct it or set clean."),
    ratings_case(RATINGS.replace("2.0", "0"), "a rating that stands for none", f"{RAW}data row 1 has a rating outside 0.5 to 5, as 3 of {COUNT} rows have, most often 0 (3x); add 0 to clean.no_rating if it means 'no rating', or set clean.rating_min and clean.rating_max"),
    Case("a rating of `clean.no_rating`", {"ratings.csv": RATINGS.replace("2.0", "0")}, params={"clean.no_rating": [0]}, figures={"ratings": COUNT - 3, "dropped_no_rating": 3, "dropped_incomplete": 0}),
    ratings_case(HEAD + "".join(f"{u},{m},{t},{t}\n" for u, m, _, t in ROWS), "counts of plays", f"{RAW}data row 1 has a rating outside 0.5 to 5, as {COUNT} of {COUNT} rows have, most often 1010 (1x), 1020 (1x), 1030 (1x); set clean.rating_min and clean.rating_max, up to 3060 for counts"),
    ratings_case(replaced("2,30,4.5", "2,30,1e300"), "a huge rating", f"{RAW}data row 9 has a rating outside 0.5 to 5; "),
    ratings_case(replaced("2,30,4.5", "2,30,inf"), "an infinite rating", f"{RAW}data row 9 has a rating outside 0.5 to 5; "),
    ratings_case(replaced(",2030", ",-2030"), "a negative time", f"{RAW}data row 9 has a time before 1970 or after 2100; give seconds"),
    ratings_case(replaced(",2030", ",1112486027000"), "a time in milliseconds", f"{RAW}data row 9 has a time before 1970 or after 2100; "),
    dropped_case(replaced(",2030", ",yesterday"), "a time in words", ratings=COUNT - 1, dropped_incomplete=1),
    ratings_case(RATINGS + "3,70,,9\n", "more unreadable rows than `clean.max_dropped`", f"{RAW}data row {COUNT + 1} has no rating, and 5.3% of the rows cannot be read (clean.max_dropped: 0.01); write numbers"),
    ratings_case(RATINGS.replace("4.5", '"4,5"'), "decimal commas", f"{RAW}data row 2 has the rating '4,5', and 83.3% of the rows cannot be read (clean.max_dropped: 0.01); write a decimal point instead of the comma"),
    ratings_case(dated("{2}/{1}/{0}"), "dates with the month or the day first", f"{RAW}data row 1 has the time '06/04/2005', and 100.0% of the rows cannot be read (clean.max_dropped: 0.01); write all times as seconds since 1970, or all with the year first as in 2005-04-02, "),
    ratings_case(dated("{0}{1}{2}"), "dates as whole numbers", f"{RAW}data row 1 has the time 20050406, which looks like a date; "),
    ratings_case(dated("{0}"), "years instead of times", f"{RAW}data row 1 has the time 2005, which looks like a year, as all others do; "),
    ratings_case(dated("384{2}.5"), "a spreadsheet's days", f"{RAW}data row 1 has the time 38406.5, which looks like a number of days, as all others do; "),
    ratings_case(dated("{0}-{1}-{2}T10:00:00.5+02:00").replace("2005-04-06T10:00:00.5+02:00", "2005-04-06 08:00Z", 3), "dates of several forms with the year first", ratings=COUNT, dropped_incomplete=0),
    ratings_case(dated("{0}-{1}-{2}").replace("2005-04-06", "0", 1), "a date that is 0", f"{RAW}data row 1 has the time '0', and 5.6% of the rows cannot be read (clean.max_dropped: 0.01); write all times as "),
    ratings_case(HEAD + "1,10,4,2005-04-02T23:53:47Z\n1,20,4,2005-04-02 23:53:48\n", "times as text", ratings=2, dropped_incomplete=0),
    ratings_case(replaced("1,10,2.0", "1,1.0e1,2.0"), "a movie id as 1.0e1", ratings=COUNT, movies=8),
    dropped_case(replaced("2,30,", "2,,"), "a missing id", ratings=COUNT - 1, dropped_incomplete=1),
    dropped_case(replaced("2,30,", "NULL,30,"), "a marker of a missing id", ratings=COUNT - 1, users=3, dropped_incomplete=1),
    ratings_case(replaced("2,30,", "-2,30,"), "a negative id", ratings=COUNT, users=4),
    ratings_case(replaced("2,30,", "99999999999,30,"), "an id over 32 bits", ratings=COUNT, users=4),
    ratings_case(replaced("2,30,", f"{10**30},30,"), "an id over 64 bits", ratings=COUNT, users=4),
    ratings_case(replaced("2,30,", "007,30,"), "an id with leading zeros", ratings=COUNT, users=4),
    ratings_case(replaced("2,30,", "ünï,30,"), "an id in letters", ratings=COUNT, users=4),
    ratings_case(replaced("2,30,", "2\u200b,30,"), "an id with a character that nobody sees", f"{RAW[:-1]} the user ids '2' and '2\\u200b' look the same; write each id in one way"),
    ratings_case(RATINGS + "2,999,4.5,9\n", "a rating of an unknown movie", ratings=COUNT + 1, movies=8, movies_without_genres=1),
    ratings_case(RATINGS + RATINGS.splitlines()[-1], "a repeated row", ratings=COUNT, dropped_repeated=1),
    movies_case(MOVIES.replace("Film 20", "Été").encode("latin-1"), "movies in latin-1", "data/raw/movies.csv: is not in UTF-8; save it as UTF-8"),
    movies_case(MOVIES.replace("Film 20 (1999)", '"Film, the 20th (1999)"'), "commas in a quoted title", movies=7),
    movies_case(MOVIES.replace("Film 20", "Film, 20"), "a comma in a title without quotes", "data/raw/movies.csv: line 3 has more fields than the first line; "),
    movies_case(MOVIES.replace("Film 20", '"Film 20').replace("(1999),Drama\n50", '(1999)",Drama\n50'), "two stray quotes in titles", "data/raw/movies.csv: line 3 opens a quote that other records follow; "),
    movies_case(MOVIES.replace("Film 20", '"Film 20'), "a title with an unclosed quote", "data/raw/movies.csv: line 3 has an unbalanced quote; "),
    movies_case(MOVIES.replace("genres", "studio,genres").replace(",Drama", ",Acme,Drama").replace("Acme", '"Acme', 1).replace("50,Film 50 (1999),Acme", '50,Film 50 (1999),Acme"'), "two stray quotes in a column that is not read", "data/raw/movies.csv: line 2 opens a quote that other records follow; "),
    movies_case(MOVIES.replace("Film 20", 'The "Film" 20'), "quotes within fields without quotes", movies=7),
    movies_case(MOVIES.replace("Film 20 (1999)", '"Film 20,\nor not (1999)"'), "a title over several lines", movies=7, ratings=COUNT),
    ratings_case(HEAD.replace("timestamp", "text,timestamp") + "".join(f'{u},{m},{r},"Good.\n\nWould see, again",{t}\n' for u, m, r, t in ROWS), "text over several lines", ratings=COUNT, dropped_incomplete=0),
    movies_case("", "an empty movies file", "data/raw/movies.csv: is empty; add the data"),
    movies_case(MOVIES.replace(",Drama", ","), "movies without genres", movies_without_genres=7),
    movies_case(MOVIES.replace("Drama", "||"), "genres that are only bars", movies_without_genres=7),
    movies_case(MOVIES.replace("Drama", '"Drama, Film-Noir"'), "genres with commas", genres=2),
    movies_case(MOVIES.replace("Drama", "Drama; War"), "genres with semicolons", genres=2),
    movies_case(MOVIES.replace("Drama", "Drama / War"), "genres with slashes", genres=2),
    movies_case(MOVIES.replace("Drama", "\"['Drama', 'War']\""), "genres as a list", genres=2),
    movies_case(MOVIES.replace("Drama", '"[{""id"": 1, ""name"": ""Drama""}]"'), "genres as JSON", genres=1),
    movies_case(MOVIES.replace("Drama", "\\N"), "a marker of missing genres", genres=0, movies_without_genres=7),
    movies_case(MOVIES + "20,Again,Horror\n", "a movie twice", movies=7, dropped_movies_repeated=1),
    movies_case(MOVIES + "x9,Other,Horror\n", "a movie id in letters", movies=7, dropped_movies_incomplete=1),
    movies_case(MOVIES + ",Other,Horror\n", "a movie without an id", "data/raw/movies.csv: data row 8 has no movie id, and 12.5% of the rows cannot be read (clean.max_dropped: 0.01); add the ids"),
    movies_case(MOVIES.replace("0,Film", "1,Film"), "the movies of another data set", "data/raw/movies.csv: has no rated movie; correct its ids"),
    movies_case(MOVIES.replace("Film 20", "é" * 100_000), "a title of 100,000 letters", movies=7),
    Case("a broken parquet file", {"ratings.parquet": b"PAR1xxxxPAR1"}, error="data/raw/ratings.parquet: "),
    Case("times of day in a parquet file", {"ratings.parquet": parquet_of(datetime.time(10))}, error="data/raw/ratings.parquet: column 'timestamp' has the type Time; write timestamps"),
    Case("timestamps with a zone in a parquet file", {"ratings.parquet": parquet_of(datetime.datetime(2005, 4, 2, tzinfo=datetime.UTC))}, figures={"ratings": 1}),
    Case("times as text in a parquet file", {"ratings.parquet": parquet_of("1112486027")}, figures={"ratings": 1}),
    Case("two ratings files", {"ratings.csv": RATINGS, "ratings.dat": "1::10::4::5\n"}, error="data/raw: has ratings.csv and ratings.dat; keep one of them"),
    Case("a movies file of another format", {"ratings.csv": RATINGS, "movies.dat": "10::A::B\n"}, error="data/raw: has ratings.csv and movies.dat, which do not belong together; write the movies as movies.csv, or remove movies.dat"),
    Case("ratings in parts", {f"a.{part}.inter": RATINGS for part in ("train", "valid", "test")}, error="data/raw: has a.test.inter, a.train.inter and a.valid.inter; join them with (cat a.train.inter; tail -qn +2 a.valid.inter a.test.inter) > a.inter and keep a.inter instead"),
    Case("`::` in a title of `movies.dat`", {"ratings.dat": "1::10::4::5\n", "movies.dat": "10::A :: B::Drama\n"}, figures={"genres": 1, "movies": 1}),
    Case("`ratings.dat` with three fields", {"ratings.dat": "1::10::4\n", "movies.dat": "10::A::B\n"}, error="data/raw/ratings.dat: has a row with fewer than 4 fields; download it again"),
    Case("`movies.dat` with one field", {"ratings.dat": "1::10::4::5\n", "movies.dat": "10\n"}, error="data/raw/movies.dat: has a line with fewer than 3 fields; download it again"),
    Case("`u.item` with two fields", {"u.data": "1\t10\t4\t5\n", "u.item": "10|A\n"}, error="data/raw/u.item: has a line with fewer than 24 fields; download it again"),
    later_case(RATINGS.replace("4.5", "3.5"), "no positive at all", "positives", "positives.min_rating: no rating reaches 4; set it lower"),
    later_case(RATINGS + "1,20,1.0,9999\n", "a positive with a low rating later", "time_split", train_positives=8),
    later_case(HEAD + "".join(f"{u},10,4.5,{u}\n" for u in range(1, 9)), "one movie", "time_split", "time_split: leaves no inner_val target; use data with more positives per user"),
    later_case(HEAD + "1,10,4.5,1\n1,20,4.5,2\n2,10,4.5,3\n", "users with one or two positives", "time_split", "time_split: leaves no inner_val target; "),
    later_case(RATINGS + "4,10,4.5,1\n", "one user with one positive, among others", "time_split", test_targets=3, users=4),
    later_case(HEAD + "".join(f"1,{m},4.5,{m}\n" for m in range(10, 70, 10)), "one user", "fit_generator", test_targets=1),
    later_case("".join(line.rsplit(",", 1)[0] + ",5\n" if n else line + "\n" for n, line in enumerate(RATINGS.splitlines())), "all ratings in one second", "fit_generator", tied_share=1.0),
    params_case("a word instead of a number", "positives", "positives.min_rating: is 'high'; write a number", positives__min_rating="high"),
    params_case("a number out of bounds", "positives", "positives.sample_users: is 2.0; use 0.0001 to 1", positives__sample_users=2.0),
    params_case("NaN", "clean", "clean.rating_max: is nan; write a number", clean__rating_max=float("nan")),
    params_case("a fraction instead of a whole number", "histories", "histories.max_length: is 2.5; write a whole number", histories__max_length=2.5),
    params_case("true instead of a number", "histories", "histories.max_length: is True; write a whole number", histories__max_length=True),
    params_case("an unknown choice", "time_split", "time_split.method: is 'random'; use one of leave_one_out, global", time_split__method="random"),
    params_case("an unknown key", "time_split", "time_split.tie: unknown key; use one of ", time_split__tie="file"),
    params_case("a negative seed", "positives", "seed: is -1; use 0 to ", seed=-1),
    params_case("a number instead of a section", "clean", "clean: must be a block of keys; see the default params.yaml", clean=5),
    params_case("a null", "fit_generator", "candidates.count: is None; write a whole number", candidates__count=None),
    params_case("an unknown filter", "seen", "candidates.exclude: is 'seen'; use one of rated, positives", candidates__exclude="seen"),
    later_case(RATINGS + "1,60,5.0,5\n1,60,4.5,9000\n", "a target that its user has rated before", "time_split", targets_rated_before=1),
    params_case("a number instead of a column name", "clean", "data.columns.user: is 7; write a text", data__columns__user=7),
]
# fmt: on


GOOD = {"ml-tiny/ratings.csv": RATINGS, "ml-tiny/movies.csv": MOVIES}


def archive(members: dict[str, str], cut: int | None = None) -> bytes:
    """A zip file, or its first `cut` bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, text in members.items():
            zipped.writestr(name, text)
    return buffer.getvalue()[:cut]


def archive_claiming(size: int) -> bytes:
    """A zip file with a wrong `size` of its ratings file in the directory."""
    content = bytearray(archive(GOOD))
    offset = content.index(b"PK\x01\x02") + 24
    content[offset : offset + 4] = size.to_bytes(4, "little")
    return bytes(content)


# By fault: the bytes of the file, whether its checksum is right, and the error or "".
# fmt: off
ZIPS = {
    "a zip with paths that lead out of its folder": (archive({**GOOD, "ml-tiny/../../out.csv": "x"}), True, "ml-tiny.zip: ml-tiny/../../out.csv leads out of the archive; do not use this file"),
    "a zip with absolute paths": (archive({**GOOD, "/tmp/out.csv": "x"}), True, "ml-tiny.zip: /tmp/out.csv leads out of the archive; do not use this file"),
    "a zip with other files": (archive({**GOOD, "ml-tiny/README.txt": "x", "other/ratings.csv": "x"}), True, ""),
    "a zip bomb": (archive_claiming(2**32 - 2), True, "ml-tiny.zip: ratings.csv is too large; do not use this file"),
    "a zip that unpacks to more than it says": (archive_claiming(10), True, "ml-tiny.zip: is not a complete zip file; download it again"),
    "a truncated zip": (archive(GOOD, 300), True, "ml-tiny.zip: is not a complete zip file; download it again"),
    "a web page instead of a zip": (b"<html>not found</html>", True, "ml-tiny.zip: is not a complete zip file; download it again"),
    "a zip without ratings": (archive({"ml-tiny/movies.csv": MOVIES}), True, "ml-tiny.zip: has no ratings file; "),
    "a zip with a wrong checksum": (archive(GOOD), False, "ml-tiny: its sha256 is "),
}
# fmt: on


def page() -> str:
    """Return the text of docs/faults.md."""
    lines = [
        "# Bad input and its outcome",
        "",
        "`tests/pipeline/test_faults.py` tests every row of this table, with the commands of `dvc.yaml`.",
        "A refused input ends the stage with exit code 1, the message on standard error, and no output.",
        "Handled rows are counted in `metrics/data.json` or `metrics/split.json`.",
        "`python -m tests.pipeline.faults` writes this page.",
        "",
        "| fault | stage | outcome |",
        "| --- | --- | --- |",
    ]
    for case in CASES:
        counts = ", ".join(f"{name} {value:g}" for name, value in case.figures.items())
        params = "".join(f" with `{key}: {value}`" for key, value in case.params.items())
        outcome = f"`{case.error.strip()} …`" if case.error else f"handled{params}: {counts}"
        lines.append(f"| {case.fault} | {case.stage} | {outcome} |")
    for fault, (_, _, error) in ZIPS.items():
        outcome = f"`{error.strip()} …`" if error else "handled: only the raw files are extracted"
        lines.append(f"| {fault} | download | {outcome} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
