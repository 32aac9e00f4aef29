import polars as pl
import pytest

from stages.serving.titles import make_keys, movie_names, split_years


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Godfather, The", "the godfather"),
        ("  the   GODFATHER ", "the godfather"),
        ("Enfer, L'", "l enfer"),
        ("Léon: AMÉLIE", "leon amelie"),
        ("Łódź, Straße & Ærø", "lodz strasse and aero"),
        ("Ocean\u2019s 11", "oceans 11"),
        ("Spider-Man", "spider man"),
        ("Part II of Seven", "part 2 of 7"),
        ("Malcolm X", "malcolm x"),
        ("8½", "8 1 2"),
        ("七人の侍", "七人の侍"),
        ("$", "$"),
        ("", ""),
    ],
)
def test_ways_of_writing_a_name_have_one_key(name: str, key: str) -> None:
    assert make_keys(pl.Series([name])).to_list() == [key]


def test_a_title_has_the_names_before_and_in_its_brackets() -> None:
    titles = [
        "Seven (a.k.a. Se7en) (1995)",
        "(500) Days of Summer (2009)",
        "Killer, The (Die xue) (Bloodshed) (1989)",
        "Heat",
        "Xtro (Xtro X) (1982)",
        "Alien ( ) (1979)",
    ]
    names = movie_names(pl.Series(titles))
    keys = names.group_by("index", maintain_order=True).agg("key")["key"].to_list()
    assert keys == [
        ["7 a k a se7en", "7", "se7en"],
        ["500 days of summer"],
        ["killer the die xue bloodshed", "the killer", "die xue", "bloodshed"],
        ["heat"],
        ["xtro xtro x", "xtro", "xtro x"],
        ["alien"],
    ]
    killer = names.filter(key="the killer")
    assert killer["joined"].to_list() == ["thekiller"]
    assert killer["core"].to_list() == ["killer"]


@pytest.mark.parametrize(
    ("text", "title", "year"),
    [
        ("Heat (1995)", "Heat", 1995),
        ("heat 1995", "heat", 1995),
        ("Malcolm X (1992)", "Malcolm X", 1992),
        ("Heat, 1995", "Heat", 1995),
        ("godfather, the (1972) ", "godfather, the", 1972),
        ("1984", "1984", None),
        ("2001: A Space Odyssey", "2001: A Space Odyssey", None),
        ("Room 1408", "Room 1408", None),
        ("", "", None),
    ],
)
def test_a_year_at_the_end_is_split_off(text: str, title: str, year: int | None) -> None:
    titles, years = split_years(pl.Series([text]))
    assert (titles.to_list(), years.to_list()) == ([title], [year])
