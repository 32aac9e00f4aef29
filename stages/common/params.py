"""Read sections of params.yaml into pydantic models that check every key."""

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.common.renamed_keys import RENAMED
from stages.common.stage import StageError

PARAMS = Path("params.yaml")
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Model = TypeVar("Model", bound="Section")


class Section(BaseModel):
    """A block of params.yaml. Every field has bounds, where it has any, and a docstring."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


def read_all() -> Mapping[str, Any]:
    """Return the sections of params.yaml, which is YAML 1.2, as DVC writes it.

    Raises:
        StageError: The file cannot be read, or has a key of an earlier version.
    """
    try:
        params = YAML(typ="safe", pure=True).load(PARAMS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(f"{PARAMS}: not found; run from the repository's root") from None
    except YAMLError as error:
        line = " ".join(str(error).split())
        raise StageError(f"{PARAMS}: is not valid YAML ({line}); correct it") from None
    if not isinstance(params, Mapping):
        raise StageError(f"{PARAMS}: must be a block of sections; restore it with `git checkout`")
    _refuse_renamed(params, ())
    return params


def read_section(section: str) -> Any:
    """Return the value at the dotted key `section` of params.yaml."""
    value: Any = read_all()
    for key in section.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise StageError(f"{section}: missing in {PARAMS}; add it")
        value = value[key]
    return value


def _refuse_renamed(block: Mapping[Any, Any], path: tuple[str, ...]) -> None:
    """Raise a StageError for the first key of an earlier version, at any depth of `block`."""
    for key, value in block.items():
        parts = (*path, str(key))
        for old, new in RENAMED.items():
            pattern = old.split(".")
            if len(pattern) == len(parts) and all(p in ("*", k) for p, k in zip(pattern, parts)):
                name = ".".join(parts)
                raise StageError(f"{name}: is a key of an earlier version; replace it by {new}")
        if isinstance(value, Mapping):
            _refuse_renamed(value, parts)


def read_value(key: str, kind: Any) -> Any:
    """Return the single value at the dotted `key`, checked against the type `kind`."""
    return check(read_section(key), kind, key)


def read_seed() -> int:
    """Return the seed of all randomness."""
    return read_value("seed", Seed)


def load_params(model: type[Model], section: str) -> Model:
    """Read `section` into the pydantic `model`.

    Raises:
        StageError: A key is unknown, missing, of another type or out of its bounds.
    """
    values = read_section(section)
    if not isinstance(values, Mapping):
        raise StageError(f"{section}: must be a block of keys; see the default {PARAMS}")
    for key in values:
        if key not in model.model_fields:
            names = ", ".join(model.model_fields)
            raise StageError(f"{section}.{key}: unknown key; use one of {names}")
    return check(dict(values), model, section)


def check(value: Any, kind: Any, key: str) -> Any:
    """Return `value` as `kind`, or raise a StageError that names `key`."""
    model = kind if isinstance(kind, type) and issubclass(kind, Section) else None
    adapter = TypeAdapter(kind, config=None if model else Section.model_config)
    try:
        return adapter.validate_python(value)
    except ValidationError as failure:
        error = failure.errors(include_url=False)[0]
    # Pydantic also puts the types that it tried into the location; keys and indices remain.
    fields = model.model_fields if model else {}
    location = [str(part) for part in error["loc"] if isinstance(part, int) or part in fields]
    where = ".".join([key, *location])
    if error["type"] == "missing":
        raise StageError(f"{where}: missing in {PARAMS}; add it")
    if error["type"] in ("greater_than_equal", "less_than_equal"):
        metadata = fields[error["loc"][0]] if model else kind
        low, high = _bounds(metadata)
        raise StageError(f"{where}: is {error['input']}; use {low:g} to {high:g}")
    raise StageError(f"{where}: is {error['input']!r}; {_cure(error)}")


_CURES = {
    "int": "write a whole number",
    "float": "write a number",
    "finite": "write a number",
    "string": "write a text",
    "bool": "write true or false",
    "list": "write a list",
}


def _cure(error: Mapping[str, Any]) -> str:
    if error["type"] == "literal_error":
        choices = error["ctx"]["expected"].replace(" or ", ", ").replace("'", "")
        return f"use one of {choices}"
    return _CURES.get(error["type"].split("_")[0], error["msg"])


def _bounds(annotated: Any) -> tuple[float, float]:
    """Return the bounds, both included, of a field, a type, or the items of a list."""
    while True:
        constraints = getattr(annotated, "metadata", None) or getattr(annotated, "__metadata__", ())
        constraints = [c for each in constraints for c in getattr(each, "metadata", [each])]
        if constraints:
            low = next(c.ge for c in constraints if hasattr(c, "ge"))
            return low, next(c.le for c in constraints if hasattr(c, "le"))
        annotated = typing.get_args(getattr(annotated, "annotation", annotated))[0]
