"""The API for programs gives what the commands give."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from stages import serving
from stages.common.stage import StageError
from stages.serving import Recommender
from stages.serving.feedback import Feedback
from stages.serving.pipeline import NEW_USER, ServingPipeline
from tests.conftest import ROOT

TITLES = {"Toy Story": 3, "Fargo": 7, "Star Wars": 9, "Contact": 11}  # of docs/serving.md


@pytest.fixture(scope="module")
def api(recommender: ServingPipeline) -> Recommender:
    return Recommender(recommender)


def title_of(recommender: ServingPipeline, movie: int) -> str:
    return recommender.catalogue.filter(movie_id=movie)["title"][0]


def test_stars_from_four_on_are_liked_and_the_newest_of_a_movie_count(
    api: Recommender, recommender: ServingPipeline
) -> None:
    title = title_of(recommender, 3)
    ratings = {"3": 2, 7: 4.0, "8": 3.5, "9": 5, title: 5}
    expected = recommender.for_person(NEW_USER, [7, 9, 3], 6, disliked=[8])
    table = api.recommend(ratings=ratings, k=6)
    assert table["movie_id"].to_list() == expected["movie_id"].to_list()
    assert table["user_id"].to_list() == [None] * 6
    assert table.columns == expected.columns
    assert api._feedback(ratings) == Feedback([7, 9, 3], [8])


def test_movies_add_to_the_ratings_of_a_user(
    api: Recommender, recommender: ServingPipeline
) -> None:
    best = recommender.for_person(42, [], 3)["movie_id"].to_list()
    liked, disliked, seen = ([str(movie)] for movie in best)
    expected = recommender.for_person(42, best[:1], 5, disliked=best[1:2], seen=best[2:])
    table = api.recommend(user="42", liked=liked, disliked=disliked, seen=seen, k=5)
    assert table.equals(expected)
    assert api.recommend(user=42, k=3)["movie_id"].to_list() == best


def test_an_option_counts_more_than_a_rating(api: Recommender) -> None:
    table = api.recommend(ratings={"3": 1}, liked=["3"])
    assert table["movie_id"].equals(api.recommend(liked=["3"])["movie_id"])


def test_many_users_get_the_lists_of_each(api: Recommender, recommender: ServingPipeline) -> None:
    table = pl.concat(api.recommend_users(k=4))
    assert set(table["user_id"]) == set(recommender.users.tolist())
    assert list(api.recommend_users([])) == []
    some = pl.concat(api.recommend_users([42, "7"], k=4))
    assert some.equals(table.filter(pl.col("user_id").is_in([7, 42])))
    assert some.filter(user_id=42)["movie_id"].equals(api.recommend(user=42, k=4)["movie_id"])


def test_who_has_seen_all_movies_gets_no_rows(api: Recommender) -> None:
    movies = range(1, api.num_movies + 1)
    table = api.recommend(liked=[3], seen=movies)
    assert (table.height, table.schema) == (0, api.recommend(liked=[3]).schema)


def test_a_search_gives_the_ids_of_the_raw_data(api: Recommender) -> None:
    movies = api.search("film no 7", k=3)
    assert movies.row(0) == (7, "Film, No. 7 (1986)", ["Drama"])
    assert movies.columns == ["movie_id", "title", "genres"]
    assert api.search("", k=4).height == 4


def test_lists_have_ten_movies_unless_asked_otherwise(api: Recommender) -> None:
    assert api.recommend(liked=[3]).height == api.search("film").height == 10
    table = next(api.recommend_users([7, 42]))
    assert table["user_id"].to_list() == [7] * 10 + [42] * 10
    assert api.recommend(liked=[3], k=1).height == 1


def test_a_bundle_is_loaded_from_its_folder_and_its_trees_are_compiled_when_asked(
    tiny_run: Path, recommender: ServingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_run)
    by_default, by_path = Recommender.load(), Recommender.load("data/bundle_as_evaluated")
    assert by_default.ranker == recommender.settings.ranker
    assert by_default.num_movies == recommender.catalogue.height
    assert by_default.recommend(user=42).equals(Recommender(recommender).recommend(user=42))
    assert by_path._pipeline.seen.height < by_default._pipeline.seen.height
    pytest.importorskip("numba")
    assert by_default._pipeline.scorer.trees is None
    by_default.compile_trees()
    assert by_default._pipeline.scorer.trees is not None


def test_the_package_has_the_recommender_only() -> None:
    assert serving.Recommender is Recommender
    message = r"^module 'stages.serving' has no attribute 'recommender'$"
    with pytest.raises(AttributeError, match=message):
        getattr(serving, "recommender")  # noqa: B009


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k: is 0; give 1 or more"),
        ({"user": "nobody"}, "user nobody: not in the data"),
        ({"k": -1}, "k: is -1; give 1 or more"),
        ({"ratings": {"3": 0}}, "ratings: 3 has 0; give above 0 and up to 5 stars"),
        ({"ratings": {"3": 6}}, "ratings: 3 has 6; give above 0 and up to 5 stars"),
        ({"ratings": {"3": float("nan")}}, "ratings: 3 has nan; give above 0"),
        ({"ratings": {"no such film at all": 5}}, 'ratings "no such film at all": no movie'),
        ({"liked": ["no such film at all"]}, 'liked "no such film at all": no movie'),
        ({"disliked": ["no such film at all"]}, 'disliked "no such film at all": no movie'),
        ({"seen": ["no such film at all"]}, 'seen "no such film at all": no movie'),
        ({"liked": ["3"], "disliked": [3]}, r"disliked: Film, No. 3 \(1982\) is also liked"),
    ],
)
def test_what_is_not_in_the_data_is_one_line(
    api: Recommender, arguments: dict, message: str
) -> None:
    with pytest.raises(StageError, match=f"^{message}") as error:
        api.recommend(**arguments)
    assert "\n" not in str(error.value)


def test_the_code_of_the_page_runs(
    tiny_run: Path, tmp_path: Path, recommender: ServingPipeline
) -> None:
    page = (ROOT / "docs" / "serving.md").read_text()
    (code,) = (
        c for c in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "Recommender.load" in c
    )
    for title, movie in TITLES.items():
        code, count = re.subn(rf"{title} \(\d{{4}}\)", title_of(recommender, movie), code)
        assert count
    shutil.copytree(tiny_run / "data" / "bundle", tmp_path / "data" / "bundle")
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "explanation" in done.stdout


def test_the_package_alone_imports_no_library() -> None:
    code = "import sys, stages.serving; print('polars' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "False False\n"
