"""Read the ratings of one person: an export of Letterboxd or IMDb, or a csv of titles and stars."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from stages.common.stage import StageError
from stages.data.param_hints import POSITIVE_SHARE
from stages.serving.feedback import Feedback
from stages.serving.raw_ids import abbreviate, quote, report_unreadable
from stages.serving.title_search import TitleSearch
from stages.serving.titles import split_years

# By field, the columns that hold it, in lower case; the first one that the file has is read.
COLUMNS = {
    "id": ("id", "movie_id", "movieid", "item_id", "itemid", "const"),
    "title": ("title", "name", "movie_title", "movie", "film"),
    "original_title": ("original title",),
    "year": ("year", "release_year"),
    "rating": ("rating", "your rating", "stars", "score"),
    "date": ("date", "date rated", "timestamp"),
}
USER_COLUMNS = {"user", "user_id", "userid"}
# The scale of a file ends at the first of these numbers that no rating is above.
SCALES = (5, 10, 100)
FIXED_SCALES = {"letterboxd uri": 5, "your rating": 10}  # by a column that only this export has
SEPARATORS = ",;\t"
FORM = "give a csv with a column title or id, and a column stars"
EXAMPLES = 3  # rows that the summary names, of each kind


class Ratings(NamedTuple):
    """The rows of a file, the oldest first."""

    rows: pl.DataFrame  # row, from 0; id, title, original_title; year; rating, or null for none
    scale: int  # the best rating


class Matches(NamedTuple):
    """What a file says about the movies of the catalogue."""

    feedback: Feedback
    summary: str  # one line


def read_ratings(path: Path) -> Ratings:
    """Read a file of ratings.

    Rows are sorted by the file's dates, and equal or missing ones stay in the order of the file. A
    row without stars has a null as rating.

    Raises:
        StageError: The file is missing, unreadable or without a row, a column is missing, or a
            value is no number or no date.
    """
    table = _read_csv(path)
    names = {name.strip().lower(): name for name in reversed(table.columns)}
    columns = {
        field: next((names[n] for n in options if n in names), None)
        for field, options in COLUMNS.items()
    }
    if columns["rating"] is None or not (columns["id"] or columns["title"]):
        what = "stars" if columns["rating"] is None else "title or id"
        raise StageError(f"{path}: has no column {what} among {abbreviate(table.columns)}; {FORM}")
    if any(table[names[name]].n_unique() > 1 for name in USER_COLUMNS & names.keys()):
        raise StageError(f"{path}: holds ratings of several users; keep those of one")
    texts = table.select(
        (pl.col(name) if name else pl.lit(None, pl.String)).str.strip_chars().alias(field)
        for field, name in columns.items()
    ).with_columns(pl.when(pl.col("*") != "").then(pl.col("*")))
    texts = texts.filter(pl.any_horizontal(pl.all().is_not_null()))
    if texts.is_empty():
        raise StageError(f"{path}: holds no rating; write ratings into it")
    ratings = _numbers(texts["rating"], path, "the stars")
    best = ratings.max() or 0
    scales = [FIXED_SCALES[name] for name in FIXED_SCALES if name in names]
    (scale, *_) = [*scales, *(number for number in SCALES if best <= number), SCALES[-1]]
    wrong = texts.filter((ratings <= 0) | (ratings > scale) | ratings.is_nan())["rating"]
    if len(wrong):
        raise StageError(f"{path}: has the stars {quote(wrong[0])}; give above 0 and up to {scale}")
    years = _numbers(texts["year"], path, "the year").cast(pl.Int32, strict=False)
    rows = texts.with_columns(rating=ratings, year=years, date=_times(texts["date"], path))
    rows = rows.sort("date", maintain_order=True).drop("date")
    return Ratings(rows.with_row_index("row"), scale)


def _read_csv(path: Path) -> pl.DataFrame:
    """Read a csv of texts, with any of `SEPARATORS`."""
    with report_unreadable(path, "your ratings", FORM):
        content = path.read_bytes()
        if content[:2] == b"PK":
            raise StageError(f"{path}: is packed; unpack it, and give the ratings.csv in it")
        try:
            header = content.decode().partition("\n")[0]
        except UnicodeDecodeError:
            raise StageError(f"{path}: is not in UTF-8; save it as UTF-8") from None
        separator = max(SEPARATORS, key=header.count)
        return pl.read_csv(content, infer_schema=False, separator=separator)


def _numbers(texts: pl.Series, path: Path, what: str) -> pl.Series:
    """Return texts as numbers, or refuse the first one that is none."""
    numbers = texts.cast(pl.Float64, strict=False)
    wrong = texts.filter(numbers.is_null() & texts.is_not_null())
    if len(wrong):
        raise StageError(f"{path}: has {what} {quote(wrong[0])}; write numbers")
    return numbers


def _times(texts: pl.Series, path: Path) -> pl.Series:
    """Return values in the order of the dates, which are numbers or have the year first."""
    numbers = texts.cast(pl.Float64, strict=False)
    if numbers.null_count() == texts.null_count():
        return numbers
    wrong = texts.filter(~texts.str.contains(r"^\d{4}-\d{2}-\d{2}"))
    if len(wrong):
        cure = "write all as 2005-04-02, or delete the column"
        raise StageError(f"{path}: has the date {quote(wrong[0])}; {cure}")
    return texts


def match_ratings(path: Path, search: TitleSearch) -> Matches:
    """Read a file of ratings, and find its movies by their ids, or by their titles and years.

    Only equal names count, as a list of titles has no typing errors. A rating of 4 of 5 stars or
    more is a positive, any other a low rating; the newest rating of a movie counts. A movie is only
    seen where the row has no stars, or where several movies have the name.

    Raises:
        StageError: The file cannot be read, or none of its rows matches.
    """
    rows, scale = read_ratings(path)
    movies = find_rows(rows, search)
    if movies.is_empty():
        what = f"matches no movie ({_examples(rows)})"
        raise StageError(f"{path}: {what}; give titles or ids of the catalogue")
    # A null is a movie of which only is known that it is seen.
    movies = movies.join(rows, on="row").with_columns(is_ambiguous=pl.len().over("row") > 1)
    is_positive = pl.when(~pl.col("is_ambiguous")).then(pl.col("rating") >= POSITIVE_SHARE * scale)
    movies = movies.with_columns(is_positive=is_positive)
    # A row with an opinion counts more than one without, then the newest.
    newest = (
        movies.sort(pl.col("is_positive").is_not_null(), "row")
        .unique("movie_id", keep="last")
        .sort("row", "movie_id")
    )
    kinds = [newest.filter(pl.col("is_positive").eq_missing(k)) for k in (True, False, None)]
    feedback = Feedback(*(kind["movie_id"].to_list() for kind in kinds))
    unmatched = rows.join(movies, on="row", how="anti")
    no_movie = "no movie"
    if newer := unmatched.filter(pl.col("year") > search.newest_year).height:
        no_movie += f", {newer} of them because the catalogue ends in {search.newest_year}"
    without_stars = movies.filter(~pl.col("is_ambiguous"), pl.col("rating").is_null())
    parts = [
        f"{movies['row'].n_unique()} of {rows.height} rows match",
        f"{len(feedback.liked)} liked, with {POSITIVE_SHARE * scale:g} of {scale} or more",
        f"{len(feedback.disliked)} rated low",
        _part(unmatched, no_movie),
        _part(movies.filter("is_ambiguous"), "several movies, which count as seen only"),
        _part(without_stars, "a movie but have no stars, and count as seen only"),
    ]
    return Matches(feedback, f"{path}: {'; '.join(filter(None, parts))}")


def _part(rows: pl.DataFrame, what: str) -> str:
    """Return a part of the summary with the number of rows, and examples; none for no rows."""
    rows = rows.unique("row").sort("row")
    return f"{rows.height} match {what}: {_examples(rows)}" if rows.height else ""


def _examples(rows: pl.DataFrame) -> str:
    """Return the first titles with their years, and the number of the others."""
    name, year = pl.coalesce("title", "id", pl.lit("a row without a title")), pl.col("year")
    names = pl.when(year.is_null()).then(name).otherwise(pl.format("{} ({})", name, year))
    return abbreviate(rows.select(names).to_series().to_list(), EXAMPLES)


def find_rows(rows: pl.DataFrame, search: TitleSearch) -> pl.DataFrame:
    """Return `row` and `movie_id` of the movies that the rows may mean.

    Args:
        rows: `row`, `id`, `title`, `original_title` and `year`.
        search: The catalogue.
    """
    ids = search.movies.select("movie_id", id="raw_id")
    pairs = [rows.join(ids, on="id").select("row", "movie_id")]
    names = rows.select("row", "title", "year")
    split_title, split_year = split_years(rows["title"])
    has_year = rows["year"].is_not_null()
    queries = [
        names,
        names.select("row", title=split_title, year=split_year).filter(~has_year),
        rows.select("row", title="original_title", year="year"),
    ]
    for query in queries:
        rest = query.drop_nulls("title")
        for pair in pairs:
            rest = rest.join(pair, on="row", how="anti")
        matches = search.equal_names(rest["title"], rest["year"])
        pairs.append(
            pl.DataFrame(
                {
                    "row": rest["row"].gather(matches["row"]),
                    "movie_id": search.movies["movie_id"].gather(matches["index"]),
                }
            )
        )
    return pl.concat(pairs)
