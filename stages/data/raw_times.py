"""Turn the times of a raw file into seconds since 1970."""

import polars as pl

from stages.common.stage import StageError

FORMS = (
    "all times as seconds since 1970, or all with the year first as in 2005-04-02, "
    "2005-04-02 23:53:47 or 2005-04-02T23:53:47.5+02:00"
)
# The groups: date, hour and minute, second, offset from UTC.
ISO = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}:[0-9]{2})(?:(:[0-9]{2})(?:[.,][0-9]+)?)?"
    r" ?(Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?)?$"
)
PLAIN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$"  # common, and fast to read
PLAIN_FORMAT = "%Y-%m-%d %H:%M:%S"
# What a number is divided by to get YYYYMMDD: it may have hours and minutes, or seconds as well.
DATE_DIVISORS = (1, 10**4, 10**6)
# Numbers that are neither seconds nor positions, if all of a file's are in a range. Days are
# counted from 1900, as spreadsheets do, or from 1970; the latter begin with 1990.
YEARS, DAYS = (1900, 2100), (7_305, 73_050)
LATEST_TIME = 4_102_444_800  # the year 2100; larger values are most likely milliseconds
SLICE = 1 << 20  # rows; bounds the memory for dates


def to_seconds(times: pl.Series, where: str) -> pl.Series:
    """Return whole seconds since 1970 (i64), null where a time cannot be read.

    All values decide whether the column holds numbers or dates: the form of most of them counts,
    and a value of the other form cannot be read. A date without an offset is in UTC.

    Args:
        times: Text, or numbers.
        where: Path of the raw file, for messages.

    Raises:
        StageError: Most of the numbers are dates without separators, as 20050906, or all of them
            are years or numbers of days.
    """
    if times.dtype == pl.String:
        text = times.str.strip_chars()
        numbers = text.cast(pl.Float64, strict=False).fill_nan(None)
        if numbers.null_count() > times.null_count():
            slices = text.to_frame("text").iter_slices(SLICE)
            dates = pl.concat(_iso_seconds(part["text"]) for part in slices)
            if dates.count() > numbers.count():
                return dates
    else:
        numbers = times.cast(pl.Float64).fill_nan(None)
    _refuse_dates(numbers, where)
    _refuse_years_and_days(numbers, where)
    return numbers.cast(pl.Int64, strict=False)


def _iso_seconds(text: pl.Series) -> pl.Series:
    """Return seconds since 1970 for text of the form `ISO`, null for any other."""
    if text.str.contains(PLAIN).all():
        return text.str.to_datetime(PLAIN_FORMAT, strict=False).dt.epoch("s")
    group = pl.col("groups").struct.field
    offset = group("4").str.replace("Z", "+00", literal=True).str.replace(":", "", literal=True)
    hours, minutes = (offset.str.slice(n, 2).cast(pl.Int64, strict=False) for n in (1, 3))
    seconds = (hours * 3600 + minutes.fill_null(0) * 60).fill_null(0)
    seconds = pl.when(offset.str.starts_with("-")).then(-seconds).otherwise(seconds)
    clock = group("2").fill_null("00:00") + group("3").fill_null(":00")
    local = (group("1") + " " + clock).str.to_datetime(PLAIN_FORMAT, strict=False)
    table = pl.DataFrame({"groups": text.str.extract_groups(ISO)})
    return table.select(times=local.dt.epoch("s") - seconds)["times"]


def _refuse_dates(numbers: pl.Series, where: str) -> None:
    """Raise a StageError if most of the numbers are dates that are written without separators."""
    for dates in (numbers * 100 + 1, *(numbers // divisor for divisor in DATE_DIVISORS)):
        is_date = dates.is_between(19_000_101, 21_001_231)
        if is_date.sum() <= numbers.count() / 2:
            continue
        month, day = dates // 100 % 100, dates % 100
        is_date &= month.is_between(1, 12) & day.is_between(1, 31)
        if is_date.sum() > numbers.count() / 2:
            row = is_date.fill_null(False).arg_max()
            raise StageError(
                f"{where}: data row {row + 1} has the time {numbers[row]:.0f}, which looks like a "
                f"date; write {FORMS}"
            )


def _refuse_years_and_days(numbers: pl.Series, where: str) -> None:
    """Raise a StageError if all of the numbers are years, or numbers of days."""
    first, last = numbers.min(), numbers.max()
    for name, (low, high) in {"a year": YEARS, "a number of days": DAYS}.items():
        if first is not None and low <= first and last <= high:
            row = numbers.is_not_null().arg_max()
            raise StageError(
                f"{where}: data row {row + 1} has the time {numbers[row]:g}, which looks like "
                f"{name}, as all others do; write {FORMS}"
            )


def check_times(ratings: pl.DataFrame, where: str) -> None:
    """Raise a StageError that names the first row whose time is out of range.

    Args:
        ratings: row (index in the raw file) and timestamp.
        where: Path of the raw file, for messages.
    """
    invalid = ratings.filter(~pl.col("timestamp").is_between(0, LATEST_TIME))
    if invalid.height:
        raise StageError(
            f"{where}: data row {invalid['row'][0] + 1} has a time before 1970 or after 2100; "
            "give seconds since 1970 (divide milliseconds by 1,000), or a date in this range"
        )
