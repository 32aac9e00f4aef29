"""The line that a stage prints at its end is for people: `name value, name value`."""

import ast

import pytest

from stages.common.params import YAML
from tests.conftest import ROOT

STAGES = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
CONTAINERS = ast.List | ast.Dict | ast.Set | ast.Tuple | ast.ListComp | ast.DictComp | ast.SetComp


def is_container(value: ast.expr) -> bool:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id in ("dict", "list", "set", "tuple", "sorted")
    return isinstance(value, CONTAINERS)


def containers_in_text(source: str) -> list[str]:
    """The containers that an f-string of `main` pastes as Python writes them."""
    tree = ast.parse(source)
    (main,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main")
    names = set()
    for node in ast.walk(main):
        if isinstance(node, ast.Assign):
            (target,) = node.targets
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts))
            names |= {ast.unparse(name) for name, value in pairs if is_container(value)}
    texts = [n.value for n in ast.walk(main) if isinstance(n, ast.FormattedValue)]
    return [ast.unparse(t) for t in texts if is_container(t) or ast.unparse(t) in names]


@pytest.mark.parametrize("stage", STAGES)
def test_a_summary_shows_no_python_container(stage: str) -> None:
    assert containers_in_text((ROOT / "stages" / f"{stage}.py").read_text()) == []


def test_a_container_in_a_summary_is_noticed() -> None:
    source = (
        'def main():\n    a, b = 1, []\n    c = {x: 1 for x in b}\n    return f"{a} {b} {c} {(a,)}"'
    )
    assert containers_in_text(source) == ["b", "c", "(a,)"]
