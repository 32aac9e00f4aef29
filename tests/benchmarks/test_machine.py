"""The comparison of a run with the committed dvc.lock."""

import shutil
from pathlib import Path

from benchmarks.machine import different_stages, processor, read_hashes
from benchmarks.shorten import shorten
from stages.common.params import YAML
from tests.conftest import ROOT

LOCK = """schema: '2.0'
stages:
  clean:
    outs:
    - path: data/ratings.parquet
      md5: a1
    - path: data/movies
      md5: b1.dir
  report:
    deps:
    - path: metrics
      md5: c1
"""


def test_a_stage_differs_if_one_of_its_outputs_does(tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text(LOCK)
    committed = read_hashes(path)
    assert committed["clean"] == {"data/ratings.parquet": "a1", "data/movies": "b1.dir"}
    order = ["clean", "report"]
    assert different_stages(order, committed, committed) == []
    path.write_text(LOCK.replace("b1.dir", "b2.dir"))
    assert different_stages(order, read_hashes(path), committed) == ["clean"]
    assert different_stages(order, {"clean": committed["clean"]}, committed) == ["report"]


def test_the_processor_is_named() -> None:
    assert "cores" in processor()


def test_a_short_run_has_one_epoch_and_few_trees(tmp_path: Path) -> None:
    path = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
    yaml = YAML(typ="safe", pure=True)
    expected = yaml.load(path)
    shorten(path)
    for retriever in expected["retrievers"].values():
        retriever["epochs"] = 1
    expected["lightgbm"]["num_boost_round"] = 20
    assert yaml.load(path) == expected
