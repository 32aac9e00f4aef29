import polars as pl
import pytest

from stages.common.stage import StageError
from stages.serving.title_search import TitleSearch
from tests.serving.catalogue import TITLES, search_of


@pytest.fixture(scope="module")
def search() -> TitleSearch:
    return search_of(TITLES)


@pytest.mark.parametrize(
    ("text", "movie"),
    [
        ("Toy Story (1995)", 1),
        ("toy story", 1),
        (" TOY-STORY 1995 ", 1),
        ("toy stroy", 1),
        ("starwars", 50),
        ("The Godfather", 127),
        ("godfather, the", 127),
        ("godfather", 127),
        ("the godfahter", 127),
        ("The Godfather Part 2", 187),
        ("alien", 183),
        ("Aliens", 176),
        ("alien iii", 665),
        ("heat", 273),
        ("Heat 1996", 273),  # catalogues differ by a year
        ("M", 656),
        ("seven", 11),
        ("se7en", 11),
        ("empire strikes", 172),
        ("terminater", 195),
        ("12 monkeys", 7),
        ("apolo 13", 28),
        ("leon", 181),
        ("sabrina 1995", 274),
        ("id:246", 246),
        ("176", 176),
        ("id:300", 300),
        ("id:9", 75),
    ],
)
def test_a_title_is_found_as_people_type_it(search: TitleSearch, text: str, movie: int) -> None:
    assert search.find(text, "--liked") == movie


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "The Heat",
            "no movie is called that; did you mean Heat (1995) [id:273], Dead Heat (1988)",
        ),
        ("Alien 2", "no movie is called that; did you mean Alien (1979) [id:183], Aliens (1986)"),
        ("Alien 3 (1979)", "no movie is called that; did you mean Alien 3 (1992) [id:665]?"),
        ("toy story 2", "no movie is called that; did you mean Toy Story (1995) [id:1]?"),
        ("boy story", "no movie is called that; did you mean Toy Story (1995) [id:1]?"),
        ("Terminators", "no movie is called that; did you mean Terminator, The (1984) [id:195]"),
        ("full metal hacket", "no movie is called that; did you mean Full Metal Jacket (1987)"),
        ("full metal jackt", "no movie is called that; did you mean Full Metal Jacket (1987)"),
        ("haet", "no movie is called that; did you mean Heat (1995) [id:273]"),
        ("apollo 14", "no movie is called that; did you mean Apollo 13 (1995) [id:28]"),
        ("apollo", "no movie is called that; did you mean Apollo 13 (1995) [id:28]?"),
        ("alien resurrection", "no movie is called that; did you mean Alien (1979) [id:183]?"),
        ("funerall", "no movie is called that; did you mean Four Weddings and a Funeral (1994)"),
        (
            "empire",
            "no movie is called that; did you mean Empire Strikes Back, The (1980) [id:172]?",
        ),
        ("weddings", "no movie is called that; did you mean Four Weddings and a Funeral (1994)"),
        ("Heat (2013)", "no movie is called that, and the catalogue ends in 1997; did you mean He"),
        ("Oppenheimer 2023", "no movie is called that, and the catalogue ends in 1997; give a t"),
        ("zzzz 1997", "no movie is called that; give a title or an id of the data"),
        ("(", "no movie is called that; give a title or an id of the data"),
        ("zzzz", "no movie is called that; give a title or an id of the data"),
        ("", "no movie is called that; give a title or an id of the data"),
        ("id:12", "no movie is called that; give a title or an id of the data"),
        (
            "sabrina",
            "2 movies are called that; give one of Sabrina (1954) [id:705], Sabrina (1995)",
        ),
        (
            "Chasing Amy (1997)",
            "2 movies are called that; give one of Chasing Amy (1997) [id:268],",
        ),
        ("300", "2 movies are called that; give one of 300 [id:74], Twins (1988) [id:300]"),
    ],
)
def test_a_text_that_may_mean_another_movie_is_asked_back(
    search: TitleSearch, text: str, message: str
) -> None:
    with pytest.raises(StageError) as error:
        search.find(text, "--liked")
    assert str(error.value).startswith(f'--liked "{text}": {message}')


@pytest.mark.parametrize(
    ("titles", "text", "movie"),
    [
        (["Wild! (2000)", "Wild (2000)"], "WILD! (2000)", 0),  # the title itself
        (["Wild! (2000)", "Wild (2000)"], "wild (2000)", 1),
        (["Blade Runner (1982)", "Blade Runner 2049 (2017)"], "blade runner 2049", 1),
        (["Heat (1995)", "Heat (1996)"], "heat 1996", 1),  # not the one of another year
        (["Chicken Run (2000)"], "chicken", 0),  # 7 of 10 letters
        (["Casa Blue (1990)", "Casablanca (1942)"], "casablanka", 1),  # 4 errors, and 1
        (["[[", "Heat (1995)"], "[[", 0),
    ],
)
def test_a_title_is_found_among_others_that_are_like_it(
    titles: list[str], text: str, movie: int
) -> None:
    search = search_of(dict(enumerate(titles)))
    assert search.find(text, "--liked") == movie
    assert movie in search.search(text, 2)["movie_id"]


def test_a_year_without_a_movie_is_no_error() -> None:
    with pytest.raises(StageError, match=r"no movie is called that; did you mean Heat \(1995\) \["):
        search_of({2: "Heat (1995)"}).find("Haet (1950)", "--liked")


def test_up_to_five_movies_are_proposed_in_one_line() -> None:
    many = search_of({movie: f"Film {movie} (1999)" for movie in range(10, 30)})
    with pytest.raises(StageError) as error:
        many.find("fil\nm", "--seen")
    assert str(error.value).startswith("--seen 'fil\\nm': no movie is called that; did you mean ")
    assert str(error.value).count("[id:") == 5
    assert str(error.value).endswith("]?")
    with pytest.raises(StageError, match=r"^--liked \"x+\": no movie is called that; give a title"):
        many.find("x" * 10_000, "--liked")


@pytest.mark.parametrize(
    ("text", "movies"),
    [
        ("alien", [183, 176, 665]),  # the one called so first, then by popularity
        ("heat", [273, 73, 77]),  # then those in which it begins a word
        ("terminator", [195, 96]),
        ("wars 1977", [50]),
        ("fou", [70]),
        ("godfather ii", [187]),
        ("starw", [50]),
        ("starwa", [50]),
        ("toy stro", [1]),
        ("full metalj", [71]),
        ("metalj", [71]),
        ("((((((", []),
        ("zebra", []),
        ("zebra 1995", []),
        ("?", []),
        ("chasing", [268, 246]),
        ("", [50, 1, 127]),
    ],
)
def test_a_search_lists_the_movies_that_the_text_may_mean(
    search: TitleSearch, text: str, movies: list[int]
) -> None:
    limit = max(len(movies), 1) if not text else 12
    assert search.search(text, limit)["movie_id"].to_list() == movies


def test_movies_of_one_title_are_named_by_their_popularity() -> None:
    twins = search_of(dict.fromkeys(range(9, 0, -1), "Twins (1988)"))
    with pytest.raises(StageError) as error:
        twins.find("twins", "--liked")
    names = ", ".join(f"Twins (1988) [id:{number}]" for number in (9, 8, 7, 6, 5))
    assert str(error.value).endswith(f": 9 movies are called that; give one of {names} and 4 more")


def test_movies_are_listed_by_their_popularity_then_by_their_ids() -> None:
    catalogue = pl.DataFrame({"movie_id": [3, 1, 2, 4], "title": ["Heat"] * 4, "year": [1995] * 4})
    movie_ids = pl.DataFrame({"movie_id": [1, 2, 3, 4], "raw_id": ["1", "2", "3", "4"]})
    popularity = pl.DataFrame({"movie_id": [2, 3, 4], "positives": [5, 5, 9]})
    search = TitleSearch(catalogue, movie_ids, popularity)
    assert search.search("", 9)["movie_id"].to_list() == [4, 2, 3, 1]


def test_names_are_found_together_as_one_by_one(search: TitleSearch) -> None:
    titles = pl.Series(["Heat", "alien", "The Heat", "Sabrina", "Sabrina", "godfather", "300"])
    years = pl.Series([1996, None, None, None, 1954, 1999, 2006], dtype=pl.Int32)
    matches = search.equal_names(titles, years)
    movies = matches.select("row", movie_id=search.movies["movie_id"].gather(matches["index"]))
    # A movie without a year may be of any year.
    assert movies.rows() == [(0, 273), (1, 183), (3, 705), (3, 274), (4, 705), (6, 74)]


def test_ids_are_those_of_the_raw_data() -> None:
    search = search_of({2: "Heat (1995)", 7: "Alien (1979)"}, prefix="tt")
    assert search.find("tt2", "--liked") == 2
    assert search.find("id:tt7", "--liked") == 7
    with pytest.raises(StageError, match=r"^--liked \"7\": no movie is called that; give a title"):
        search.find("7", "--liked")
