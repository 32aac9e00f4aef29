import re
from pathlib import Path

import pytest

from stages.common.stage import StageError
from stages.data.raw_columns import MOVIE_FIELDS, NAMES, RATING_FIELDS, find_columns, refuse_names
from tests.raw_folder import DEFAULT_COLUMNS

PATH = Path("r.csv")


@pytest.mark.parametrize(
    ("field", "name"), [(f, n) for f, (_, names) in NAMES.items() for n in names]
)
def test_every_usual_name_is_found(field: str, name: str) -> None:
    for column in (name, f"{name}:token_seq", f" {name} "):
        header = ["other", column]
        names = find_columns(header, DEFAULT_COLUMNS, (*MOVIE_FIELDS, "user"), set(), PATH)
        assert names == ({NAMES[field][0]: column} if field in (*MOVIE_FIELDS, "user") else {})


def test_the_first_usual_name_counts_and_a_name_of_the_params_before_it() -> None:
    header = ["item_id", "movieId", "timestamp:float", "timestamp", "user_id", "rating", "stars:x"]
    required = set(RATING_FIELDS)
    names = find_columns(header, DEFAULT_COLUMNS, RATING_FIELDS, required, PATH)
    usual = {"user_id": "user_id", "movie_id": "movieId", "rating": "rating"}
    assert list(names.items()) == [*usual.items(), ("timestamp", "timestamp")]
    for name in ("stars", "stars:x"):
        columns = DEFAULT_COLUMNS.model_copy(update={"rating": name})
        named = find_columns(header, columns, RATING_FIELDS, required, PATH)
        assert named == names | {"rating": "stars:x"}


@pytest.mark.parametrize(
    ("name", "required", "missing"),
    [(None, {"item"}, "movieId"), ("isbn", set(), "isbn"), ("isbn", {"item"}, "isbn")],
)
def test_a_required_or_named_column_must_exist(
    name: str | None, required: set[str], missing: str
) -> None:
    columns = DEFAULT_COLUMNS.model_copy(update={"item": name})
    message = f"r.csv: has no column '{missing}' among userId, a b; "
    message += "set data.columns.item to one of them"
    with pytest.raises(StageError, match=f"^{re.escape(message)}$"):
        find_columns(["userId", "a \n b"], columns, ("user", "item"), required, PATH)
    assert find_columns(["userId"], columns, ("user",), {"item"}, PATH) == {"user_id": "userId"}


def test_a_file_without_a_header_takes_no_name() -> None:
    refuse_names(PATH, DEFAULT_COLUMNS)
    columns = DEFAULT_COLUMNS.model_copy(update={"year": "x"})
    with pytest.raises(StageError, match=r"^data\.columns\.year: r\.csv has no header; set it"):
        refuse_names(PATH, columns)
