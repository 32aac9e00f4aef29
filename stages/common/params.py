"""Read one section of params.yaml into a frozen dataclass, checked key by key."""

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.common.stage import StageError

PARAMS = Path("params.yaml")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Range:
    """Bounds of a number, both included: `epochs: Annotated[int, Range(1, 1000)]`."""

    low: float
    high: float


def read_section(section: str) -> Any:
    """The value at the dotted key `section` of params.yaml, in YAML 1.2 as DVC writes it."""
    try:
        value = YAML(typ="safe", pure=True).load(PARAMS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(f"{PARAMS}: not found; run from the repository's root") from None
    except YAMLError as error:
        line = " ".join(str(error).split())
        raise StageError(f"{PARAMS}: is not valid YAML ({line}); correct it") from None
    for key in section.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise StageError(f"{section}: missing in {PARAMS}; add it")
        value = value[key]
    return value


def read_value(key: str, kind: Any) -> Any:
    """The single value at the dotted `key`, checked like a field of a dataclass."""
    return check(read_section(key), kind, key)


def read_seed() -> int:
    """The seed of all randomness."""
    return read_value("seed", typing.Annotated[int, Range(0, 2**31 - 1)])


def load_params(cls: type[T], section: str) -> T:
    """Read `section` into the dataclass `cls`.

    Raises:
        StageError: A key is unknown, missing, of another type or out of its `Range`.
    """
    values = read_section(section)
    if not isinstance(values, Mapping):
        raise StageError(f"{section}: must be a block of keys; see the default {PARAMS}")
    fields = typing.get_type_hints(cls, include_extras=True)
    for key in values.keys() - fields.keys():
        raise StageError(f"{section}.{key}: unknown key; use one of {', '.join(fields)}")
    for key in fields.keys() - values.keys():
        raise StageError(f"{section}.{key}: missing in {PARAMS}; add it")
    checked = {key: check(values[key], kind, f"{section}.{key}") for key, kind in fields.items()}
    return cls(**checked)


def check(value: Any, kind: Any, key: str) -> Any:
    """`value` as `kind`, or a StageError that names `key`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        value = check(value, arguments[0], key)
        bounds = arguments[1]
        if not bounds.low <= value <= bounds.high:
            raise StageError(f"{key}: is {value}; use {bounds.low:g} to {bounds.high:g}")
        return value
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise StageError(f"{key}: is {value!r}; use one of {', '.join(map(str, arguments))}")
    if origin is list:
        if not isinstance(value, list):
            raise StageError(f"{key}: is {value!r}; write a list")
        return [check(item, arguments[0], f"{key}.{i}") for i, item in enumerate(value)]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise StageError(f"{key}: is {value!r}; write {_WORDS[kind]}")
    return value


_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
