import re
from pathlib import Path

import pytest

from stages.common.stage import StageError
from stages.common.systems import (
    generator_names,
    refuse_leftovers,
    system_list_paths,
    system_names,
    without,
)

PARAMS = """
generators: {popularity: {}, ease: {}}
retrievers: {id: {}}
rankers: {basic: {}}
leaderboard: {exclude: [], resamples: 10}
"""


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    return path


def test_systems_are_the_blocks_of_params_in_their_order(params: Path) -> None:
    assert generator_names() == ["popularity", "ease", "id"]
    assert system_names() == ["popularity", "ease", "id", "fusion", "ranker_basic"]
    params.write_text(PARAMS.replace("exclude: []", "exclude: [ease, fusion]"))
    assert system_names() == ["popularity", "id", "ranker_basic"]


def test_lists_of_generators_and_of_the_rest_are_in_two_folders(params: Path) -> None:
    paths = system_list_paths(system_names(), Path("c"), Path("r"))
    assert paths["id"] == Path("c/id/test.parquet")
    assert paths["fusion"] == Path("r/fusion/test.parquet")
    assert paths["ranker_basic"] == Path("r/ranker_basic/test.parquet")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{id: {}}", "{ease: {}}", "ease: names two systems; rename"),
        ("{id: {}}", "{fusion: {}}", "fusion: names two systems; rename"),
        ("{id: {}}", "{ranker_basic: {}}", "ranker_basic: names two systems; rename"),
        ("{id: {}}", "{'a b': {}}", "retrievers.a b: use letters, digits and _"),
        ("{id: {}}", "{'../x': {}}", "retrievers.../x: use letters, digits and _"),
        ("{id: {}}", "{}", "retrievers: must hold one block per name"),
        ("exclude: []", "exclude: [old]", "leaderboard.exclude: 'old' does not exist; use some of"),
    ],
)
def test_a_wrong_block_is_named(params: Path, old: str, new: str, message: str) -> None:
    assert old in PARAMS
    params.write_text(PARAMS.replace(old, new))
    with pytest.raises(StageError, match=f"^{re.escape(message)}"):
        system_names()


def test_names_without_others_keep_their_order() -> None:
    assert without(["a", "b", "c"], ["b"], "fusion.exclude") == ["a", "c"]
    with pytest.raises(StageError, match=r"^fusion.exclude: 'd' does not exist"):
        without(["a"], ["d"], "fusion.exclude")


def test_a_leftover_of_a_removed_system_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "id").mkdir()
    (tmp_path / "ease.csv").write_text("")
    (tmp_path / ".gitignore").write_text("")
    refuse_leftovers(tmp_path, ["id", "ease"])
    refuse_leftovers(tmp_path / "none", ["id"])
    with pytest.raises(StageError, match=r"ease\.csv: belongs to no block of params\.yaml; delete"):
        refuse_leftovers(tmp_path, ["id"])
