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
        ['["Drama", {"id": 2, "name": "War"}]', '{"id": 1, "name": "Sci-Fi"}'],
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


def test_slashes_separate_only_if_nothing_else_does() -> None:
    slashes = split_genres(pl.Series(["Drama / War", "Drama"]))
    assert slashes.to_list() == [["Drama", "War"], ["Drama"]]
    bars = split_genres(pl.Series(["Sci-Fi/Fantasy|War", "Sci-Fi/Fantasy"]))
    assert bars.to_list() == [["Sci-Fi/Fantasy", "War"], ["Sci-Fi/Fantasy"]]


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


@pytest.mark.parametrize(
    ("text", "genres"),
    [
        ("[1, 2.5]", ["1", "2.5"]),
        ('["War", null, "", {"id": 3}, {"name": "Crime"}]', ["War", "{'id': 3}", "Crime"]),
        ("{'name': 'War'", ["{'name': 'War'"]),  # not in brackets
        ("[]", []),
        ("{}", []),
        ("[" * 100_000 + "]", ["[" * 99_999]),
        ('"War"', ['"War"']),
        ("['id': 'x', 'name' : 'War', 'name':'Crime']", ["War", "Crime"]),
        ("[ War , unknown, N/A]", ["War"]),
        (" [War] ", ["War"]),
        ('["War|Crime"]', ["War|Crime"]),
    ],
)
def test_a_list_in_brackets_has_its_own_separators(text: str, genres: list[str]) -> None:
    assert split_genres(pl.Series([text])).to_list() == [genres]


def test_of_separators_in_equally_many_values_the_first_one_counts() -> None:
    texts = pl.Series(["A|B, C", "D;E, F", None, "G"])
    assert split_genres(texts).to_list() == [["A|B", "C"], ["D;E", "F"], [], ["G"]]
    assert split_genres(texts[:1]).to_list() == [["A", "B, C"]]
    assert split_genres(texts[1:2]).to_list() == [["D", "E, F"]]
    # Blanks are in four values and count for two, as many as commas are in.
    blanks = pl.Series(["A B", "C D", "E, F", "G, H"])
    assert split_genres(blanks, ", ").to_list() == [["A B"], ["C D"], ["E", "F"], ["G", "H"]]
    assert split_genres(blanks, " ,")[0].to_list() == ["A", "B"]
    assert split_genres(pl.Series(["A B", "C D", "E F", "G,H"]), ", ")[0].to_list() == ["A", "B"]


def test_rows_keep_their_order_and_numbers_are_genres() -> None:
    texts = pl.Series(["B|A", None, "C", "B|A", " D "] * 20)
    assert split_genres(texts).to_list() == [["B", "A"], [], ["C"], ["B", "A"], ["D"]] * 20
    assert split_genres(pl.Series([7, None])).to_list() == [["7"], []]
    assert split_genres(pl.Series(["A"])).dtype == pl.List(pl.String)
