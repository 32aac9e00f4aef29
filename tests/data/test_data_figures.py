import pytest

from stages.data.data_figures import DROPPED, notices

FIGURES = {"movies": 30, "movies_without_genres": 0, "genres": 5}
FIGURES |= {f"dropped_{reason}": 0 for reason in DROPPED}
ARGUMENTS = {"mapped": [], "is_implicit": False, "has_movies": True, "last": 10**9}


@pytest.mark.parametrize(
    ("figures", "arguments", "sentences"),
    [
        ({}, {}, []),
        ({}, {"mapped": ["users"]}, ["users get new ids, see data/ids/users.parquet"]),
        ({}, {"is_implicit": True}, ["no ratings, so every row is a positive"]),
        ({}, {"last": 5}, ["all times are before 1990; check that they are seconds since 1970"]),
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
