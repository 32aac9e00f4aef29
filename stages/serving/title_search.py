"""Find the movie that a person means by a title or an id, however the title is typed.

One search serves the commands and the demo. A movie is taken if the text is its id, its title, or
one of its names up to case, accents, punctuation, spaces, the place of an article and the year.
Otherwise the text has to be like one movie and far from all others; see `similar_movie`.
"""

from bisect import bisect_right

import numpy as np
import polars as pl
from rapidfuzz import fuzz, process
from rapidfuzz.distance import OSA

from stages.common.stage import StageError
from stages.serving.raw_ids import ID_PREFIX, MAX_CHOICES, abbreviate, quote
from stages.serving.titles import (
    drop_article,
    join_words,
    make_keys,
    make_words,
    movie_names,
    split_years,
)

YEARS_APART = 1  # catalogues differ: the first showing, or the release
# Letters of a name from which one, two and three typing errors can be told from another name.
TYPO_LENGTHS = (7, 12, 18)
TYPO_GAP = 3  # so many more errors must turn the text into any other movie's name
MIN_PART = 0.7  # share of a name's letters that a part of it must have
MIN_SIMILARITY = 70.0  # of 100, of a name that is proposed
PART_SIMILARITY = 0.8  # factor for a name of which only a part is similar
MIN_START = 5  # letters of a name that is proposed because the text begins with it
MIN_JOINED = 6  # letters of a text that may lack its spaces
MAX_TEXT = 200  # characters of a text that are compared


def split_year(text: str) -> tuple[str, int | None]:
    """Return the title and the year of one text, as `split_years` does."""
    title, year = split_years(pl.Series([text]))
    return title[0], year[0]


class TitleSearch:
    """The names of all movies; several threads may search at once."""

    def __init__(
        self, catalogue: pl.DataFrame, movie_ids: pl.DataFrame, popularity: pl.DataFrame
    ) -> None:
        """Collect the names.

        Args:
            catalogue: CATALOGUE.
            movie_ids: movie_id and raw_id.
            popularity: POPULARITY.
        """
        on = {"on": "movie_id", "how": "left", "maintain_order": "left"}
        movies = catalogue.join(movie_ids.select("movie_id", "raw_id"), **on)
        movies = movies.join(popularity.select("movie_id", "positives"), **on)
        # Popular movies come first in the results of a search.
        order = {"descending": [True, False], "nulls_last": True}
        movies = movies.sort("positives", "movie_id", **order).with_row_index()
        words, keys = make_words(movies["title"]), make_keys(movies["title"])
        self.movies = movies.with_columns(
            words=pl.format(" {}  {} ", words, keys),
            joined=pl.format("{} {}", join_words(words), join_words(keys)),
        )
        names = movie_names(movies["title"])
        self.names = names.with_columns(year=movies["year"].gather(names["index"]))
        self.newest_year: int | None = catalogue["year"].max()

    def exact_movies(self, text: str) -> pl.DataFrame:
        """Return the movies whose raw id or title is `text`; case counts in an id only.

        `id:` before a raw id excludes titles.
        """
        raw_id, title = pl.col("raw_id"), pl.col("title").str.to_lowercase()
        if text.startswith(ID_PREFIX):
            matches = self.movies.filter(raw_id == text.removeprefix(ID_PREFIX))
            if matches.height:
                return matches
        return self.movies.filter((raw_id == text) | (title == text.lower()))

    def equal_names(self, titles: pl.Series, years: pl.Series) -> pl.DataFrame:
        """Find the movies that are called as the titles say, of the given years.

        The article may be missing in a title, but not in the movie's name: "The Heat" is not
        "Heat". A year may differ by `YEARS_APART` if no movie of the name is of that year.

        Args:
            titles: [n] texts.
            years: [n] Int32; null fits any year.

        Returns:
            `row` of a title, and `index` of a movie in `movies`, sorted.
        """
        keys = make_keys(titles)
        columns = {"key": keys, "joined": join_words(keys), "year": years}
        queries = pl.DataFrame(columns).with_row_index("row")
        pairs = []
        for typed, name in (("key", "key"), ("joined", "joined"), ("joined", "core")):
            names = self.names.select("index", pl.col(name).alias(typed), movie_year="year")
            apart = (pl.col("movie_year").cast(pl.Int32) - pl.col("year")).abs()
            matches = queries.join(names, on=typed).with_columns(apart=apart.fill_null(YEARS_APART))
            is_nearest = pl.col("apart") == pl.col("apart").min().over("row")
            pairs.append(matches.filter(is_nearest, pl.col("apart") <= YEARS_APART))
            queries = queries.join(pairs[-1], on="row", how="anti")
        table = pl.concat([pair.select("row", "index") for pair in pairs])
        return table.unique().sort("row", "index")

    def equal_movies(self, title: str, year: int | None) -> pl.DataFrame:
        """Return the movies that `equal_names` finds for one title."""
        columns = {"title": [title], "year": [year]}
        query = pl.DataFrame(columns, schema={"title": pl.String, "year": pl.Int32})
        return self.movies[self.equal_names(query["title"], query["year"])["index"]]

    def similar_movie(self, name: str, year: int | None) -> pl.DataFrame:
        """Return the one movie that a person must mean by `name`, or none.

        Either `name` is whole words of this movie's name alone, and most of its letters. Or it is
        this movie's name but for typing errors, few for its length, and `TYPO_GAP` more are needed
        for any other movie. Another number, another first letter, and letters that are added or
        missing at the end are no typing errors: "Alien 2", "Beat" and "Aliens" are other movies.
        """
        keys = make_keys(pl.Series([name[:MAX_TEXT]]))
        key, core = keys[0], join_words(drop_article(keys))
        names, letters = self.names, core.str.len_chars()[0]
        if year is not None:
            names = names.filter(pl.col("year").fill_null(year) == year)
        typos = bisect_right(TYPO_LENGTHS, letters)
        limit = typos + TYPO_GAP
        (distances,) = process.cdist(
            core.to_list(), names["core"].to_list(), scorer=OSA.distance, score_cutoff=limit
        )
        other, numbers = pl.col("core"), core.str.extract_all(r"\d+")
        has_numbers = other.str.extract_all(r"\d+") == pl.lit(numbers)
        names = names.with_columns(
            distance=pl.Series(distances),
            has_part=pl.format(" {} ", "key").str.contains(f" {key} ", literal=True),
        )
        rivals = names.filter("has_part")
        best = rivals.filter(has_numbers, other.str.len_chars() * MIN_PART <= letters)
        if rivals.is_empty():
            nearest = distances.min(initial=limit)
            rivals = names.filter(pl.col("distance") < nearest + TYPO_GAP)
            best = rivals.filter(
                pl.col("distance") <= typos,
                has_numbers,
                other.str.head(1) == core[0][:1],
                ~(other.str.starts_with(core[0]) | pl.lit(core[0]).str.starts_with(other)),
            )
        if rivals["index"].n_unique() != 1 or best.is_empty():
            return self.movies.clear()
        return self.movies[best["index"].unique()]

    def search(self, text: str, limit: int) -> pl.DataFrame:
        """Return up to `limit` movies like `text`, by popularity; all movies if it is empty.

        They are those with all its words, or parts of words, in the title. The movies called so
        come first, then those with the words side by side. If there are none, the movies with
        similar names are returned, the most similar first.
        """
        name, _ = split_year(text[:MAX_TEXT])
        for query in dict.fromkeys([text[:MAX_TEXT], name]):
            words = drop_article(make_words(pl.Series([query])))[0]
            called_so = pl.col("index").is_in(self.equal_movies(query, None)["index"].implode())
            contains = pl.col("words").str.contains
            # The digits of a year are no numbers.
            starts = [" " * word[0].isdigit() + word for word in words.split()]
            has_all = [contains(start, literal=True) for start in starts]
            condition = pl.all_horizontal(True, *has_all) | called_so
            joined = words.replace(" ", "")
            if len(joined) >= MIN_JOINED:
                condition |= pl.col("joined").str.contains(joined, literal=True)
            matches = self.movies.filter(condition)
            if matches.height:
                side_by_side = contains(f" {words}", literal=True)
                return matches.sort(~called_so, ~side_by_side, "index")[:limit]
        return self.movies[self._similar_names(name)[:limit]]

    def _similar_names(self, name: str) -> np.ndarray:
        """Return the index of the movies whose names are similar, the most similar first."""
        keys = drop_article(make_keys(pl.Series([name])))
        core = join_words(keys).to_list()
        other, letters = pl.col("core"), pl.col("core").str.len_chars()
        (whole,) = process.cdist(core, self.names["core"].to_list(), scorer=fuzz.ratio)
        (part,) = process.cdist(keys, self.names["key"].to_list(), scorer=fuzz.partial_ratio)
        # A short name is a part of most texts, which says nothing, unless the text begins with it.
        is_longer, is_start = self.names.select(
            longer=letters > len(core[0]),
            start=(letters >= MIN_START) & pl.lit(core[0]).str.starts_with(other),
        )
        similarity = np.maximum.reduce(
            [whole, PART_SIMILARITY * part * is_longer.to_numpy(), MIN_SIMILARITY * is_start]
        )
        order = np.argsort(-similarity, kind="stable")
        indices = self.names["index"].to_numpy()[order[similarity[order] >= MIN_SIMILARITY]]
        return indices[np.sort(np.unique(indices, return_index=True)[1])]

    def find(self, text: str, option: str) -> int:
        """Return the movie_id that the `text` of an option stands for.

        Raises:
            StageError: No movie matches well enough, or several do; it names up to five.
        """
        typed = text.strip()
        name, year = split_year(typed)
        where = f"{option} {quote(text[:MAX_TEXT])}"
        rules = (
            lambda: self.exact_movies(typed),
            lambda: self.equal_movies(typed, None),
            lambda: self.equal_movies(name, year),
            lambda: self.similar_movie(name, year),
        )
        for rule in rules:  # each takes longer than those before it
            matches = rule()
            if matches.height == 1:
                return int(matches["movie_id"][0])
            if matches.height:
                raise StageError(
                    f"{where}: {matches.height} movies are called that; "
                    f"give one of {self.labels(matches)}"
                )
        what = "no movie is called that"
        if year is not None and self.newest_year is not None and year > self.newest_year:
            what += f", and the catalogue ends in {self.newest_year}"
        proposals = self.search(typed, MAX_CHOICES)
        if typed and proposals.height:
            raise StageError(f"{where}: {what}; did you mean {self.labels(proposals)}?")
        raise StageError(f"{where}: {what}; give a title or an id of the data")

    def labels(self, movies: pl.DataFrame) -> str:
        """Return titles with ids that every option takes, at most `MAX_CHOICES`."""
        rows = movies.select("title", "raw_id").iter_rows()
        return abbreviate([f"{title} [{ID_PREFIX}{raw_id}]" for title, raw_id in rows])
