from stages.common.params import YAML
from stages.reporting.glossary import DESCRIPTIONS, glossary
from tests.conftest import ROOT

PARAMS = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")


def test_every_built_in_system_has_a_line_of_its_own() -> None:
    generators = [*PARAMS["generators"], *PARAMS["retrievers"]]
    assert [*generators, "fusion"] == list(DESCRIPTIONS)
    rankers = [f"ranker_{name}" for name in PARAMS["rankers"]]
    rows = glossary([*DESCRIPTIONS, *rankers], PARAMS)
    kinds = [kind for _, kind, _ in rows]
    assert kinds == ["generator"] * 5 + ["retriever"] * 4 + ["fusion"] + ["ranker"] * 3
    lines = {name: text for name, _, text in rows}
    assert lines["ranker_basic"].startswith(
        "LightGBM ranker (binary) of the lists of history, on 2 "
    )
    assert "(lambdarank) of the merged candidates, on 12 groups" in lines["ranker_history"]


def test_systems_of_ones_own_are_described_by_their_block() -> None:
    params = {
        "generators": {"new": {}},
        "retrievers": {"deep": {"tower": "two_tower"}},
        "rankers": {},
    }
    assert glossary(["new", "deep"], params) == [
        ("new", "generator", "generator of stages/generators/new.py"),
        (
            "deep",
            "retriever",
            "retriever of stages/retrieval/deep.py, with a trained tower (two_tower)",
        ),
    ]
