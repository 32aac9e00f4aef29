import contextlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import fit_generator
from stages.common.files import read_arrays
from stages.common.params import YAML, load_params
from stages.common.tables import RECOMMENDATIONS, read_table
from stages.data.snapshots import (
    SNAPSHOTS,
    TARGET_SNAPSHOTS,
    known_low_ratings,
    read_histories,
    read_low_ratings,
    read_positives,
    read_seen,
)
from stages.generators import ease
from tests.conftest import ROOT

GENERATORS = list(YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["generators"])
DATA = Path("data")


@pytest.mark.parametrize("name", GENERATORS)
def test_every_snapshot_has_a_model_and_lists_of_unseen_movies(
    name: str, tiny_run: Path, tmp_path: Path
) -> None:
    pair = ["user_id", "movie_id"]
    with contextlib.chdir(tiny_run):
        count = YAML(typ="safe", pure=True).load(Path("params.yaml"))["candidates"]["count"]
        folders = DATA / "histories", DATA / "seen", tmp_path / "models", tmp_path / "lists"
        fit_generator.main(name, *folders)
        for snapshot in TARGET_SNAPSHOTS:
            positives = read_positives(DATA / "histories", snapshot)
            users = read_histories(DATA / "histories", snapshot)["user_id"]
            lists = read_table(tmp_path / "lists" / name / f"{snapshot}.parquet", RECOMMENDATIONS)
            assert lists["user_id"].unique().sort().to_list() == users.to_list()
            assert lists.join(positives, on=pair, how="semi").is_empty()
            seen = read_seen(DATA / "seen", snapshot)
            assert 0 < seen["positive"].sum() < seen.height
            assert lists.join(seen, on=pair, how="semi").is_empty()
            assert lists["rank"].max() <= count
            arrays = read_arrays(tmp_path / "models" / name / f"{snapshot}.npz")
            movies = set(arrays["movie_ids"].tolist())
            assert movies <= set(positives["movie_id"].to_list())
            assert set(lists["movie_id"].to_list()) <= movies
            by_user = lists.group_by("user_id", maintain_order=True)
            assert by_user.agg((pl.col("score").diff() <= 0).all())["score"].all()


def test_a_snapshot_learns_from_the_low_ratings_that_it_knows(
    tiny_run: Path, tmp_path: Path
) -> None:
    with contextlib.chdir(tiny_run):
        folders = DATA / "histories", DATA / "seen", tmp_path / "model", tmp_path / "lists"
        fit_generator.main("ease", *folders)
        params = load_params(ease.Params, "generators.ease")
        low_ratings = read_low_ratings(DATA / "seen")
        heights = []
        for snapshot in SNAPSHOTS:
            positives = read_positives(DATA / "histories", snapshot)
            known = known_low_ratings(low_ratings, positives, snapshot)
            weights = ease.fit(positives, known, params)["weights"]
            arrays = read_arrays(tmp_path / "model" / "ease" / f"{snapshot}.npz")
            assert np.array_equal(arrays["weights"], weights)
            heights.append(known.height)
    assert 0 < heights[0] < heights[2] <= heights[3] <= low_ratings.height
