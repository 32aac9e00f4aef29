"""The requests of the HTTP service, checked, as arguments of `Recommender`."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.serving.raw_ids import quote
from stages.serving.title_search import MAX_TEXT

MAX_BODY = 16_384  # bytes
MAX_MOVIES = 50  # of each list; a title with an error takes some milliseconds to find
MAX_RATINGS = 200
MAX_K = 100  # movies of a response
MAX_QUERY = 100  # characters
MAX_MATCHES = 12  # movies that a query finds
ID_LIMIT = 2**63

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Id = Text | Annotated[int, Field(ge=-ID_LIMIT, lt=ID_LIMIT)]
Stars = Annotated[float, Field(gt=0, le=5, allow_inf_nan=False)]
Movies = Annotated[list[Id], Field(max_length=MAX_MOVIES)]

MOVIES = f"give a list of up to {MAX_MOVIES} movies, each a title or an id"
FORMS = {
    "user": "give the id of a user of the data",
    "ratings": f"give stars above 0 and up to 5 by movie, for up to {MAX_RATINGS} movies",
    "liked": MOVIES,
    "disliked": MOVIES,
    "seen": MOVIES,
    "k": f"give a whole number from 1 to {MAX_K}",
}
NOBODY = "user: is missing, and so are movies; give user, ratings, liked, disliked or seen"


class FormError(Exception):
    """A request that is not as it has to be: the status and the message of its response."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RecommendationRequest(BaseModel):
    """The body of `POST /recommendations`: the arguments of `Recommender.recommend`."""

    model_config = ConfigDict(strict=True)

    user: Id | None = None
    ratings: Annotated[dict[Text, Stars], Field(max_length=MAX_RATINGS)] = {}
    liked: Movies = []
    disliked: Movies = []
    seen: Movies = []
    k: Annotated[int, Field(ge=1, le=MAX_K)] = 10


def parse_json(body: bytes) -> Any:
    """Parse a JSON text in UTF-8, in which no object has a key twice.

    Raises:
        FormError: The body is something else (400).
    """
    try:
        return json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise FormError(400, "body: is no JSON in UTF-8; send a JSON object") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON, and refuse a repeated key, of which one value would be lost."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise FormError(400, "body: has an object with a key twice; give each key once")
    return values


def _no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(name)


def parse_recommendation(body: bytes) -> dict[str, Any]:
    """Return the arguments of `Recommender.recommend` from the body of a request.

    Raises:
        FormError: The body is no JSON (400), or it has other fields or values (422).
    """
    value = parse_json(body)
    fields = ", ".join(FORMS)
    if not isinstance(value, dict):
        raise FormError(422, f"body: is no object; give one with some of {fields}")
    for key in value.keys() - FORMS.keys():
        name = quote(ascii(key[:MAX_TEXT])[1:-1])
        raise FormError(422, f"{name}: there is no such field; give some of {fields}")
    try:
        request = RecommendationRequest.model_validate(value)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise FormError(422, f"{key}: has a value that does not fit; {FORMS[key]}") from None
    if request.user is None and not any(getattr(request, key) for key in list(FORMS)[1:-1]):
        raise FormError(422, NOBODY)
    return request.model_dump()


def parse_query(parameters: list[tuple[str, str]]) -> str:
    """Return the text that `GET /movies` searches for, or an empty one if there is none.

    Args:
        parameters: Names and values of the query string.

    Raises:
        FormError: There are other parameters, or the text is too long (422).
    """
    if len(parameters) > 1 or any(name != "q" for name, _ in parameters):
        raise FormError(422, "q: is not the only parameter; give q once and nothing else")
    text = parameters[0][1] if parameters else ""
    if len(text) > MAX_QUERY:
        raise FormError(422, f"q: has {len(text)} characters; give up to {MAX_QUERY}")
    return text
