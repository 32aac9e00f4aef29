import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from stages.common.params import Section, load_params, read_seed, read_value
from stages.common.renamed_keys import RENAMED
from stages.common.stage import StageError


class Params(Section):
    epochs: int = Field(ge=1, le=100)
    rate: float = Field(ge=0, le=1)
    kind: Literal["flat", "ivf"]
    names: list[str]
    cutoffs: list[Annotated[int, Field(ge=1, le=10)]]
    column: str | None
    refit: bool


GOOD = """a:
  epochs: 3
  rate: 1e-05
  kind: flat
  names:
  - x
  cutoffs: [1, 10]
  column: null
  refit: true
"""


def load(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return load_params(Params, "a")


def test_params_are_read_as_dvc_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `dvc exp run -S a.rate=1e-5` writes 1e-05, which YAML 1.1 reads as a text.
    values = load(GOOD, tmp_path, monkeypatch).model_dump()
    assert values == {
        "epochs": 3,
        "rate": 1e-5,
        "kind": "flat",
        "names": ["x"],
        "cutoffs": [1, 10],
        "column": None,
        "refit": True,
    }


def test_a_whole_number_is_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = load(GOOD.replace("1e-05", "1"), tmp_path, monkeypatch)
    assert isinstance(params.rate, float)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs: 3", "epochs: many", "a.epochs: is 'many'; write a whole number"),
        ("epochs: 3", "epochs: true", "a.epochs: is True; write a whole number"),
        ("epochs: 3", "epochs: 2.5", "a.epochs: is 2.5; write a whole number"),
        ("epochs: 3", "epochs: 0", "a.epochs: is 0; use 1 to 100"),
        ("epochs: 3", "epochs: null", "a.epochs: is None; write a whole number"),
        ("rate: 1e-05", "rate: 1.5", "a.rate: is 1.5; use 0 to 1"),
        ("rate: 1e-05", "rate: .nan", "a.rate: is nan; write a number"),
        ("rate: 1e-05", "rate: .inf", "a.rate: is inf; write a number"),
        ("kind: flat", "kind: tree", "a.kind: is 'tree'; use one of flat, ivf"),
        ("- x", "- 5", "a.names.0: is 5; write a text"),
        ("names:\n  - x", "names: x", "a.names: is 'x'; write a list"),
        ("[1, 10]", "[1, 11]", "a.cutoffs.1: is 11; use 1 to 10"),
        ("[1, 10]", "[1, x]", "a.cutoffs.1: is 'x'; write a whole number"),
        ("column: null", "column: 5", "a.column: is 5; write a text"),
        ("refit: true", "refit: 1", "a.refit: is 1; write true or false"),
        ("  refit: true\n", "", "a.refit: missing in params.yaml; add it"),
        ("refit: true", "refit: true\n  refits: 1", "a.refits: unknown key; use one of epochs"),
        ("a:", "b:", "a: missing in params.yaml; add it"),
        ("a:", "a: [", "params.yaml: is not valid YAML"),
        (GOOD, "a: 5", "a: must be a block of keys; see the default params.yaml"),
        (GOOD, "- a", "params.yaml: must be a block of sections; restore it"),
    ],
)
def test_a_wrong_param_is_named(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert old in GOOD
    with pytest.raises(StageError) as error:
        load(GOOD.replace(old, new), tmp_path, monkeypatch)
    assert str(error.value).startswith(message)


def test_single_values_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text("seed: -1\na: {b: [x]}\n")
    monkeypatch.chdir(tmp_path)
    assert read_value("a.b", list[str]) == ["x"]
    with pytest.raises(StageError, match=r"^seed: is -1; use 0 to "):
        read_seed()
    with pytest.raises(StageError, match=r"^a.b.0: is 'x'; write a whole number$"):
        read_value("a.b", list[int])


@pytest.mark.parametrize("old", RENAMED)
def test_a_key_of_an_earlier_version_names_the_new_one(
    old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = old.replace("*", "mine")
    section, _, name = key.rpartition(".")
    text = f"{key}: 1\na: {{}}\n"
    if section:
        *outer, last = section.split(".")
        inner = f"{{{last}: {{{name}: 1}}}}"
        for part in reversed(outer):
            inner = f"{{{part}: {inner}}}"
        text = inner[1:-1] + "\n"
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    message = f"{key}: is a key of an earlier version; replace it by {RENAMED[old]}"
    with pytest.raises(StageError, match=f"^{re.escape(message)}$"):
        load_params(Params, section or "a")
