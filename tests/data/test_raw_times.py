import re

import polars as pl
import pytest

from stages.common.stage import StageError
from stages.data import raw_times
from stages.data.raw_times import FORMS, LATEST_TIME, check_times, to_seconds

SECONDS = 1112486027  # 2005-04-02 23:53:47


@pytest.mark.parametrize(
    "text",
    [
        "2005-04-02 23:53:47",
        " 2005-04-02T23:53:47 ",
        "2005-04-02T23:53:47Z",
        "2005-04-02T23:53:47.999Z",
        "2005-04-02 23:53:47,5",
        "2005-04-03T01:53:47+02:00",
        "2005-04-03 05:23:47.5 +0530",
        "2005-04-02T15:53:47-08",
        "2005-04-02T15:23:47-08:30",
        "1112486027",
        "1112486027.9",
        "1.112486027e9",
    ],
)
def test_seconds_and_dates_with_the_year_first_are_read(text: str) -> None:
    assert to_seconds(pl.Series([text]), "r").to_list() == [SECONDS]
    date = "2005-04-02T23:53Z" if "-" in text else "1112486000"
    times = to_seconds(pl.Series([text, None, date]), "r")
    assert times.to_list() == [SECONDS, None, SECONDS - SECONDS % 60 if "-" in text else 1112486000]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "04/02/2005",
            "04-02-2005 10:00",
            "02.04.2005",
            "2005/04/02",
            "2005-4-2",
            "20050402T1010",
        ),
        *("04-02-05 10:00:00", "2005-02-30", "2005-13-01", "2005-04-02 24:00:00", "2005-04-02Z"),
        *("2005-04-02 10:00:00+99:00", "2005-04-02 10:00 PM", "yesterday", "", "NULL", "nan"),
    ],
)
def test_other_forms_are_not_read(text: str) -> None:
    times = to_seconds(pl.Series([text, "2005-04-02 23:53:47", "2005-04-02"]), "r")
    assert times.to_list() == [None, SECONDS, 1112400000]


def test_most_values_decide_between_numbers_and_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_times, "SLICE", 2)
    date = "2005-04-02 23:53:47"
    assert to_seconds(pl.Series(["0", date, date]), "r").to_list() == [None, SECONDS, SECONDS]
    assert to_seconds(pl.Series([date, "5", "6", None]), "r").to_list() == [None, 5, 6, None]


@pytest.mark.parametrize("number", [20050906, 200509, 200509061012, 20050906101259])
def test_numbers_that_are_dates_are_named(number: int) -> None:
    message = rf"^r: data row 2 has the time {number}, which looks like a date; write all times as"
    for kind in (pl.String, pl.Int64, pl.Float64):
        with pytest.raises(StageError, match=message):
            to_seconds(pl.Series([None, number, 5, number]).cast(kind), "r")
    assert to_seconds(pl.Series([1, 2, number]), "r").to_list() == [1, 2, number]


@pytest.mark.parametrize(
    "number",
    [
        *(19000101, 21001231, 20050101, 20051231, 200501, 200512, 190001, 210012),
        *(200512311012, 21001231235959),
    ],
)
def test_the_first_and_last_days_and_months_are_dates(number: int) -> None:
    message = f"r: data row 1 has the time {number}, which looks like a date; write {FORMS}"
    with pytest.raises(StageError, match=f"^{re.escape(message)}$"):
        to_seconds(pl.Series([number, number, 5, None]), "r")


@pytest.mark.parametrize(
    "number", [18991231, 21010101, 20050001, 20051301, 20050900, 20050932, 200500, 200513]
)
def test_numbers_that_are_no_day_are_seconds(number: int) -> None:
    assert to_seconds(pl.Series([number] * 3), "r").to_list() == [number] * 3


def test_as_many_numbers_as_dates_are_numbers_and_half_of_the_values_are_no_majority() -> None:
    assert to_seconds(pl.Series(["2005-04-02", " 5 "]), "r").to_list() == [None, 5]
    assert to_seconds(pl.Series([20050402, 5, None]), "r").to_list() == [20050402, 5, None]
    # Most look like dates, but at most half of them are.
    for numbers in (
        [20051332, 20050402, 5],
        [20051332, 20050402, 20050402, 5],
        [20051332, 20051332, 20050402, 18991231, 18991231],
    ):
        assert to_seconds(pl.Series(numbers), "r").to_list() == numbers


def test_numbers_that_are_no_time_are_not_read() -> None:
    values = [1.5, float("nan"), float("inf"), None, -7.5]
    assert to_seconds(pl.Series(values), "r").to_list() == [1, None, None, None, -7]
    assert to_seconds(pl.Series(map(str, values)), "r").to_list() == [1, None, None, None, -7]
    days = ["2005-02-30 10:00:00", "2005-04-02 23:53:47"]
    assert to_seconds(pl.Series(days), "r").to_list() == [None, SECONDS]


def test_row_numbers_are_not_dates() -> None:
    times = pl.Series(range(19_900_000, 20_100_000))
    assert to_seconds(times, "r").equals(times)


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ([None, 1900, 2100], "a year"),
        (["2005", "2006"], "a year"),
        ([7_305, 73_050], "a number of days"),
        ([38_400.5, 38_401.25], "a number of days"),
    ],
)
def test_years_and_numbers_of_days_are_no_seconds(numbers: list, name: str) -> None:
    first = next(n for n in numbers if n is not None)
    row = numbers.index(first) + 1
    message = f"r: data row {row} has the time {float(first):g}, which looks like {name}, as all"
    with pytest.raises(StageError) as error:
        to_seconds(pl.Series(numbers), "r")
    assert str(error.value) == f"{message} others do; write {FORMS}"


@pytest.mark.parametrize("numbers", [[1899, 2000], [2000, 2101], [7_304, 9_000], [1, 73_051], [0]])
def test_positions_are_times(numbers: list[int]) -> None:
    assert to_seconds(pl.Series(numbers), "r").to_list() == numbers


def test_the_first_time_that_is_out_of_range_is_named() -> None:
    for late in (-1, LATEST_TIME + 1):
        ratings = pl.DataFrame({"row": [2, 5, 6, 8], "timestamp": [0, LATEST_TIME, late, late]})
        check_times(ratings.head(2), "r")
        message = (
            "r: data row 7 has a time before 1970 or after 2100; give seconds since 1970 (divide "
            "milliseconds by 1,000), or a date in this range"
        )
        with pytest.raises(StageError, match=f"^{re.escape(message)}$"):
            check_times(ratings, "r")
