import polars as pl
import pytest

from stages.common.tables import CATALOGUE, RATINGS
from stages.data.data_figures import DROPPED, MAX_HISTOGRAM, notices, statistics

FIGURES = {"movies": 30, "movies_without_genres": 0, "genres": 5}
FIGURES |= {f"dropped_{reason}": 0 for reason in DROPPED}
ARGUMENTS = {"mapped": [], "is_implicit": False, "has_movies": True, "last": 10**9}


@pytest.mark.parametrize(
    ("figures", "arguments", "sentences"),
    [
        ({}, {}, []),
        ({}, {"mapped": ["users"]}, ["users get new ids, see data/ids/users.parquet"]),
        ({}, {"is_implicit": True}, ["no ratings, so every row is a positive"]),
        ({}, {"has_movies": False}, ["no movies file, so there are no titles and genres"]),
        (
            {},
            {"last": 631_151_999},
            ["all times are before 1990; check that they are seconds since 1970"],
        ),
        ({}, {"last": 631_152_000}, []),
        ({"genres": 10, "movies": 1}, {}, []),
        ({"genres": 11, "movies": 21}, {}, ["11 genres of 21 movies are many; check their sep"]),
        ({"genres": 50, "movies": 900}, {}, []),
        (
            {"genres": 1100, "movies": 1300, "movies_without_genres": 100},
            {},
            ["1,100 genres of 1,200 movies are many; check their separator"],
        ),
        (
            {f"dropped_{reason}": 1000 * n for n, reason in enumerate(DROPPED)},
            {"mapped": ["users", "movies"], "has_movies": False},
            [
                *(f"{n},000 {text}" for n, text in enumerate(DROPPED.values()) if n),
                "users get new ids, see data/ids/users.parquet",
                "movies get new ids, see data/ids/movies.parquet",
                "no movies file, so there are no titles and genres",
            ],
        ),
        ({"genres": 15}, {}, []),
        ({"genres": 16}, {}, ["16 genres of 30 movies are many; check their separator"]),
        ({"genres": 51, "movies": 900}, {}, ["51 genres of 900 movies are many; check their sep"]),
    ],
)
def test_notices_say_what_the_figures_do_not(
    figures: dict, arguments: dict, sentences: list[str]
) -> None:
    texts = notices(FIGURES | figures, **(ARGUMENTS | arguments))
    assert len(texts) == len(sentences)
    assert all(text.startswith(start) for text, start in zip(texts, sentences))


def rated(stars: list[float]) -> pl.DataFrame:
    """RATINGS of the movies 0, 1, 2 and again 0, ... by users of two ratings each."""
    rows = [(n // 2, n % 3, rating, 0, n) for n, rating in enumerate(stars)]
    return pl.DataFrame(rows, schema=RATINGS, orient="row")


def test_statistics_are_those_of_a_hand_count() -> None:
    rows = [(0, "A", 1999, ["War"]), (1, "B", None, []), (2, "C", 2000, ["War", "Crime"])]
    movies = pl.DataFrame([*rows, (3, "D", None, [])], schema=CATALOGUE, orient="row")
    figures = statistics(rated([5, 0.5, 3.5, 0.5]), movies, {"incomplete": 3})
    assert list(figures.items()) == [
        ("users", 2),
        ("movies", 4),
        ("movies_rated", 3),
        ("movies_without_genres", 2),
        ("genres", 2),
        ("ratings", 4),
        ("rating_min", 0.5),
        ("rating_max", 5),
        ("rating_mean", 2.375),
        ("density", 0.666667),
        ("dropped_incomplete", 3),
        ("ratings_of_0.5", 2),
        ("ratings_of_3.5", 1),
        ("ratings_of_5", 1),
    ]
    assert statistics(rated([5, 4, 4.5]), movies, {})["rating_mean"] == 4.5
    assert statistics(rated([1, 1, 2]), movies, {})["rating_mean"] == 1.3333


@pytest.mark.parametrize("distinct", [MAX_HISTOGRAM, MAX_HISTOGRAM + 1])
def test_a_scale_of_few_ratings_has_a_histogram(distinct: int) -> None:
    movies = pl.DataFrame([(0, "A", 1999, [])], schema=CATALOGUE, orient="row")
    figures = statistics(rated([float(n) for n in range(distinct)]), movies, {})
    counts = [name for name in figures if name.startswith("ratings_of_")]
    assert len(counts) == (50 if distinct == 50 else 0)
