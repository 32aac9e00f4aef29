"""A folder of raw files, cleaned by the functions of the stage `clean` or by the whole stage."""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from stages import clean
from stages.data.raw_columns import Columns
from stages.data.raw_formats import find_files
from stages.data.raw_readers import read_movies, read_ratings
from tests.conftest import ROOT, edit_params

DEFAULT_COLUMNS = Columns(**dict.fromkeys(Columns.model_fields))
SCALE = clean.Params(rating_min=0.5, rating_max=5.0, no_rating=[], max_dropped=1.0)


def clean_folder(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, int]]:
    """RATINGS, CATALOGUE and the numbers of dropped rows of the raw files in `folder`."""
    files = find_files([path.name for path in folder.iterdir()], str(folder))
    raw_ratings = read_ratings(folder, files, DEFAULT_COLUMNS)
    ratings, dropped = clean.clean_ratings(raw_ratings, SCALE, "ratings")
    raw_movies = read_movies(folder, files, DEFAULT_COLUMNS)
    ratings, raw_movies, id_maps = clean.map_ids(ratings, raw_movies)
    ratings, dropped["repeated"] = clean.drop_repeated(ratings)
    catalogue, _ = clean.clean_catalogue(raw_movies, ratings["movie_id"], id_maps["movie_id"])
    return ratings, catalogue, dropped


class Outputs(NamedTuple):
    """The outputs of the stage `clean`."""

    ratings: pl.DataFrame
    catalogue: pl.DataFrame
    users: pl.DataFrame
    movies: pl.DataFrame
    figures: dict[str, float]

    def raw_rows(self) -> list[tuple[str, str, float]]:
        """The raw user id, the raw movie id and the rating of every row."""
        table = self.ratings.join(self.users, on="user_id", maintain_order="left").join(
            self.movies, on="movie_id", suffix="_movie", maintain_order="left"
        )
        return table.select("raw_id", "raw_id_movie", "rating").rows()


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for raw files, in a folder with the default params.yaml."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def run_clean(raw: Path, **changes: Any) -> Outputs:
    """Run the stage `clean` on the files in `raw`; `changes` are those of `edit_params`."""
    edit_params(raw.parent, **changes)
    out = raw.parent / "out"
    paths = [out / "ratings.parquet", out / "catalogue.parquet", out / "ids", out / "data.json"]
    clean.main(raw, *paths)
    tables = [*paths[:2], out / "ids" / "users.parquet", out / "ids" / "movies.parquet"]
    return Outputs(*map(pl.read_parquet, tables), json.loads(paths[3].read_text()))
