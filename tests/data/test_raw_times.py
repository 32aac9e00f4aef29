import polars as pl
import pytest

from stages.common.stage import StageError
from stages.data import raw_times
from stages.data.raw_times import to_seconds

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


def test_row_numbers_are_not_dates() -> None:
    times = pl.Series(range(19_900_000, 20_100_000))
    assert to_seconds(times, "r").equals(times)
