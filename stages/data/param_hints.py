"""Guess the scale of ratings, and write it as sections of params.yaml."""

import io
from typing import Any, NamedTuple

import polars as pl

from stages.common.params import YAML, read_all

SCALE_ENDS = (1, 5, 10, 100)  # the usual highest ratings; higher ones are counts
LARGEST_COUNT = 1_000_000  # that `clean.rating_max` may be
MIN_FILLED = 0.5  # a scale is a guess only if its ratings reach this share of its end
NO_RATINGS = (-1, 0, 99)  # values that often mean "no rating"
MIN_GAP = 0.5  # between such a value and the lowest rating
MAX_ERRORS = 0.01  # the share of ratings that may be errors rather than another scale
POSITIVE_SHARE = 0.8  # of the scale, from which on a rating is a positive: 4 of 5 stars


class Scale(NamedTuple):
    """Params that fit the ratings."""

    clean: dict[str, Any]
    """Those of the section `clean` that differ from the present ones."""

    positive: float
    """`positives.min_rating`."""

    notes: list[str]
    """What is guessed, one sentence each."""


def guess_scale(
    ratings: pl.Series,
    *,
    rating_min: float,
    rating_max: float,
    no_rating: list[float],
    is_sample: bool,
) -> Scale | None:
    """Return params that fit the ratings, or None if the present ones fit almost all.

    A few ratings outside the present scale are more likely errors.

    Args:
        ratings: Numbers without null.
        rating_min: The present one, as the next two.
        rating_max: As above.
        no_rating: As above.
        is_sample: There may be other ratings.
    """
    ratings = ratings.filter(ratings.is_finite() & ~ratings.is_in(list(map(float, no_rating))))
    outside = ratings.filter(~ratings.is_between(rating_min, rating_max))
    if len(outside) <= MAX_ERRORS * len(ratings):
        return None
    values, none = _split_no_ratings(ratings.unique().sort().to_list())
    low, high = values[0], values[-1]
    end = next((end for end in SCALE_ENDS if high <= end), None)
    notes = [f"{value:g} may mean no rating; if it is a rating, set rating_min" for value in none]
    if end is None or high < MIN_FILLED * end:
        low, end = (0 if is_sample else min(low, 1)), (LARGEST_COUNT if is_sample else high)
        positive = values[0]
        notes.append(f"counts: a count of {positive:g} makes a positive, unless you set min_rating")
    else:
        low = min(low, -end) if low < 0 else min(low, 1)
        first = POSITIVE_SHARE * end if low >= 0 else low + POSITIVE_SHARE * (end - low)
        positive = next((value for value in values if value >= first), high)
        notes.append(f"a rating of {positive:g} makes a positive, unless you set min_rating")
    changes: dict[str, Any] = {"rating_min": float(low), "rating_max": float(end)}
    if none:
        changes["no_rating"] = [*no_rating, *none]
    return Scale(changes, float(positive), notes)


def _split_no_ratings(values: list[float]) -> tuple[list[float], list[float]]:
    """Return the sorted distinct values that are ratings, and those that may mean none."""
    none = []
    while len(values) > 2 and values[0] in NO_RATINGS and values[1] - values[0] >= MIN_GAP:
        none.append(values[0])
        values = values[1:]
    if len(values) > 2 and values[-1] in NO_RATINGS and values[-2] <= MIN_FILLED * values[-1]:
        none.append(values[-1])
        values = values[:-1]
    return values, none


def params_block(changes: dict[str, Any]) -> str:
    """Return the sections of params.yaml that `changes` (by dotted key) touches, with the changes.

    The sections are whole, so that they can replace the present ones.
    """
    params = read_all()
    sections: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        section, name = key.split(".")
        sections.setdefault(section, dict(params[section]))[name] = _plain(value)
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    text = io.StringIO()
    yaml.dump(sections, text)
    return text.getvalue().rstrip()


def _plain(value: Any) -> Any:
    """Return whole numbers as such, also in lists."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
