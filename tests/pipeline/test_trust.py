"""Every row of the table of docs/trust.md names tests that exist and are not always skipped."""

import ast
import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "trust.md").read_text()
ROWS = [line for line in PAGE.split("\n## ")[0].splitlines() if re.match(r"\|.*`", line)]
# A module of tests/, and after a colon a part of the names of its tests.
REFERENCE = re.compile(r"`((?:\w+/)*test_\w+)`(?:: (\w+))?")
REFERENCES = [r for row in ROWS for r in REFERENCE.findall(row)]


def test_the_page_names_tests() -> None:
    assert len(ROWS) > 20
    assert all(REFERENCE.search(row) for row in ROWS)


@pytest.mark.parametrize(("module", "part"), REFERENCES)
def test_a_named_test_exists_and_is_not_always_skipped(module: str, part: str) -> None:
    tree = ast.parse((ROOT / "tests" / f"{module}.py").read_text())
    tests = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and re.match(rf"test_.*{part}", node.name)
    ]
    assert tests
    decorators = [ast.unparse(d) for test in tests for d in test.decorator_list]
    assert not any(re.search(r"mark\.(skip|xfail)\b", text) for text in decorators)
