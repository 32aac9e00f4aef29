import polars as pl
import pytest

from stages.common.params import YAML
from stages.data.param_hints import guess_scale, params_block
from tests.conftest import ROOT

PRESENT = {"rating_min": 0.5, "rating_max": 5.0, "no_rating": [], "is_sample": False}


@pytest.mark.parametrize(
    ("values", "low", "high", "no_rating", "positive"),
    [
        ([1, 2, 7, 10], 1, 10, None, 10),
        ([0, 1, 5, 8, 10], 1, 10, [0], 8),
        ([-1, 1, 8, 10], 1, 10, [-1], 8),
        ([-1, 0, 4, 5], 1, 5, [-1, 0], 4),
        ([0, 1], 0, 1, None, 1),
        ([0, 0.25, 4, 5], 0, 5, None, 4),
        ([20, 60, 85, 100], 1, 100, None, 85),
        ([-9.5, -2, 0, 5.5, 8, 99], -10, 10, [99], 8),
        ([1, 3, 250, 13883], 1, 13883, None, 1),
        ([0.1, 12.5, 37], 0.1, 37, None, 0.1),
        ([0, 0.5, 4, 5], 0.5, 5, [0], 4),
        ([10, 99], 1, 100, None, 99),
        ([8, 10, 99], 1, 10, [99], 8),
        ([1, 49.5, 99], 1, 49.5, [99], 1),
        ([1, 5, 8, 60, 99], 1, 100, None, 99),
        ([-9.5, -2, 0, 5.5, 7, 8], -10, 10, None, 7),
        ([1, 50], 1, 100, None, 50),
        ([3, 250, 13883], 1, 13883, None, 3),
    ],
)
def test_the_usual_scales_and_counts_are_recognised(
    values: list[float], low: float, high: float, no_rating: list | None, positive: float
) -> None:
    scale = guess_scale(pl.Series(values, dtype=pl.Float64), **PRESENT)
    assert (scale.clean["rating_min"], scale.clean["rating_max"]) == (low, high)
    assert scale.clean.get("no_rating") == no_rating
    assert scale.positive == positive
    assert len(scale.notes) == 1 + len(no_rating or [])
    assert f"{positive:g} makes a positive, unless you set min_rating" in scale.notes[-1]


def test_the_present_params_stay_if_they_fit_almost_all_ratings() -> None:
    assert guess_scale(pl.Series([0.5, 5.0]), **PRESENT) is None
    assert guess_scale(pl.Series([0.0, 5.0]), **PRESENT | {"no_rating": [0]}) is None
    assert guess_scale(pl.Series([4.0] * 200 + [55.0]), **PRESENT) is None
    assert guess_scale(pl.Series([float("inf"), 4.0]), **PRESENT) is None
    assert guess_scale(pl.Series([], dtype=pl.Float64), **PRESENT) is None


def test_counts_of_a_sample_may_be_higher_than_those_in_it() -> None:
    scale = guess_scale(pl.Series([3.0, 700.0]), **PRESENT | {"is_sample": True})
    assert (scale.clean["rating_min"], scale.clean["rating_max"]) == (0, 1_000_000)


def test_the_block_has_whole_sections_with_the_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    changes = {"data.source": "/a: b", "clean.no_rating": [0.0, -1.0], "clean.rating_max": 10.0}
    block = params_block(changes)
    sections = YAML(typ="safe", pure=True).load(block)
    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    assert list(sections) == ["data", "clean"]
    assert block.startswith("data:\n")
    assert block == block.rstrip()
    assert sections["data"] == params["data"] | {"source": "/a: b"}
    assert sections["clean"] == params["clean"] | {"no_rating": [0, -1], "rating_max": 10}
    assert "- 0\n" in block
