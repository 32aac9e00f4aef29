import polars as pl
import pytest

from stages.data.raw_genres import split_genres


@pytest.mark.parametrize(
    "texts",
    [
        ["Drama|War", "Sci-Fi"],
        ["Drama, War", "Sci-Fi "],
        ["Drama;War", "Sci-Fi"],
        ["['Drama', 'War']", "['Sci-Fi']"],
        ["['Drama' 'War']", "[ 'Sci-Fi']"],
        ['["Drama", "War"]', '["Sci-Fi"]'],
        ["[Drama, War]", "[Sci-Fi]"],
        ['[{"id": 1, "name": "Drama"}, {"id": 2, "name": "War"}]', '[{"name": "Sci-Fi"}]'],
        ["[{'id': 1, 'name': 'Drama'}, {'id': 2, 'name': 'War'}]", "{'name': 'Sci-Fi'}"],
        ['{"Drama": 3, "War": 1}', '{"Sci-Fi": 2}'],
        ["{Drama,War}", '{"Sci-Fi"}'],
    ],
)
def test_genres_are_split_in_any_notation(texts: list[str]) -> None:
    assert split_genres(pl.Series(texts)).to_list() == [["Drama", "War"], ["Sci-Fi"]]


def test_a_name_may_have_an_apostrophe() -> None:
    texts = pl.Series(["""["Children's", 'Drama']""", '["Com\\u00e9die"]'])
    assert split_genres(texts).to_list() == [["Children's", "Drama"], ["Comédie"]]


def test_the_separator_of_most_values_counts() -> None:
    texts = pl.Series(["Drama|War", "Arts, Crafts|War", "War|Crime, True"])
    assert split_genres(texts)[1].to_list() == ["Arts, Crafts", "War"]


def test_blanks_separate_only_if_nothing_else_does() -> None:
    blanks = split_genres(pl.Series(["Drama War", "Drama"]), "|;, ")
    assert blanks.to_list() == [["Drama", "War"], ["Drama"]]
    commas = split_genres(pl.Series(["Drama, War", "Martial Arts"]), "|;, ")
    assert commas.to_list() == [["Drama", "War"], ["Martial Arts"]]


@pytest.mark.parametrize("text", ["\\N", "NULL", "nan", "(no genres listed)", "", "[]", "||", None])
def test_markers_of_no_genres_are_none(text: str | None) -> None:
    assert split_genres(pl.Series([text, "A|B"], dtype=pl.String)).to_list() == [[], ["A", "B"]]
    lists = pl.Series([[text, " A "], None], dtype=pl.List(pl.String))
    if text not in ("[]", "||"):
        assert split_genres(lists).to_list() == [["A"], []]
