"""The params of a search with their ranges, and the figure that it maximizes."""

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.common.params import PARAMS
from stages.common.stage import StageError
from stages.common.systems import block_names, system_names
from stages.evaluation.accuracy import MAIN_METRICS

RANGE = re.compile(r"([^.:,]+(?:\.[^.:,]+)?)\.\.([^:,]+?)(:log)?")
TRAINING = "train_retrieval@"
FORM = "write KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=VALUE,VALUE"


class Range(NamedTuple):
    """Numbers from `low` to `high`, both included; whole numbers if both are int."""

    key: str
    low: float
    high: float
    is_log: bool

    def suggest(self, trial: Any) -> float:
        """Return a value that Optuna draws."""
        suggest = trial.suggest_int if isinstance(self.low, int) else trial.suggest_float
        return suggest(self.key, self.low, self.high, log=self.is_log)


class Choice(NamedTuple):
    """One of several values."""

    key: str
    values: Sequence[Any]

    def suggest(self, trial: Any) -> Any:
        """Return a value that Optuna draws."""
        return trial.suggest_categorical(self.key, self.values)


class Objective(NamedTuple):
    """A figure of the validation, and the stage that writes it."""

    target: str
    """The stage that DVC brings up to date."""

    path: str
    system: str
    metric: str

    @property
    def has_curve(self) -> bool:
        """Whether the figure is known after every epoch of the one training of a trial."""
        return self.target.startswith(TRAINING)

    def read(self, text: str) -> float:
        """Return the figure from the text of the file at `path`.

        Of a learning curve it is that of the epoch with the best ndcg@10, which the training keeps.
        """
        if self.has_curve:
            rows = list(csv.DictReader(io.StringIO(text)))
            return float(max(rows, key=lambda row: float(row["ndcg@10"]))[self.metric])
        return float(json.loads(text)[self.system][self.metric])


def parse_objective(text: str) -> Objective:
    """Parse `SYSTEM:METRIC`, or `train_retrieval@RETRIEVER:METRIC` for its inner_val targets.

    Raises:
        StageError: There is no such system, retriever or metric.
    """
    system, _, metric = text.partition(":")
    if metric not in MAIN_METRICS:
        raise StageError(
            f"--objective {text}: ends with no metric; use :{', :'.join(MAIN_METRICS)}"
        )
    is_training = system.startswith(TRAINING)
    names = block_names("retrievers") if is_training else system_names()
    name = system.removeprefix(TRAINING)
    if name not in names:
        raise StageError(f"--objective {text}: {name!r} does not exist; use {', '.join(names)}")
    if is_training:
        return Objective(system, f"metrics/curves/{name}.csv", name, metric)
    return Objective("validate", "metrics/validation.json", name, metric)


def parse_param(text: str, params: Mapping[str, Any]) -> Range | Choice:
    """Parse a param of a search: `KEY=LOW..HIGH`, `KEY=LOW..HIGH:log` or `KEY=VALUE,VALUE`.

    Args:
        text: One value of `--params`.
        params: All of params.yaml.

    Raises:
        StageError: The key is not in params.yaml, or the values do not fit it.
    """
    key, separator, values = text.partition("=")
    if not separator or not values:
        raise StageError(f"--params {text}: has no values; {FORM}")
    current = _leaf(params, key)
    if match := RANGE.fullmatch(values):
        return _parse_range(text, key, current, match)
    choices = [_convert(text, current, _yaml(text, value)) for value in values.split(",")]
    if len({json.dumps(choice) for choice in choices}) < 2 or len(set(choices)) < len(choices):
        raise StageError(f"--params {text}: needs two different values or more; {FORM}")
    return Choice(key, tuple(choices))


def _leaf(params: Mapping[str, Any], key: str) -> Any:
    value: Any = params
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise StageError(f"--params {key}: is not in {PARAMS}; use one of its keys")
        value = value[part]
    if isinstance(value, Mapping | list):
        raise StageError(f"--params {key}: is no single value; use a key of one")
    return value


def _parse_range(text: str, key: str, current: Any, match: re.Match) -> Range:
    """Return the range of a match of `RANGE`."""
    if isinstance(current, bool) or not isinstance(current, int | float):
        raise StageError(f"--params {text}: {key} is no number; write KEY=VALUE,VALUE")
    low, high = (_convert(text, current, _yaml(text, bound)) for bound in match.group(1, 2))
    if not low < high:
        raise StageError(f"--params {text}: is empty; write the lower bound first")
    if match[3] and low <= 0:
        raise StageError(f"--params {text}: has no logarithm at {low}; start above 0")
    return Range(key, low, high, bool(match[3]))


def _yaml(text: str, value: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(value)
    except YAMLError:
        raise StageError(f"--params {text}: {value} is no value of YAML; {FORM}") from None


def _convert(text: str, current: Any, value: Any) -> Any:
    """Return `value` with the type of `current`, the param's value in params.yaml."""
    if isinstance(current, float) and type(value) is int:
        value = float(value)
    is_scalar = value is None or isinstance(value, bool | int | float | str)
    fits = is_scalar if current is None else type(value) is type(current)
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        what = f"{value!r} is of another type than {current!r} in {PARAMS}"
        raise StageError(f"--params {text}: {what}; write values of that type")
    return value


def setting(key: str, value: Any) -> str:
    """Return `KEY=VALUE` in the grammar of `dvc exp run -S`."""
    return f"{key}={json.dumps(value)}"
