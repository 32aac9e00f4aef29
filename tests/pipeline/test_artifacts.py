"""The models that dvc.yaml names can be fetched by their names."""

from dvc.repo import Repo

from stages.common.params import YAML
from tests.conftest import ROOT


def test_artifacts_are_outputs_of_stages_and_described() -> None:
    with Repo(str(ROOT)) as repo:
        outs = {str(out) for stage in repo.index.stages for out in stage.outs}
        artifacts = repo.artifacts.read()["dvc.yaml"]
    assert {artifact.path for artifact in artifacts.values()} <= outs
    for name, artifact in artifacts.items():
        assert artifact.desc.endswith("."), name
        assert artifact.type == "model", name
        assert artifact.labels, name
    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    rankers = {f"data/models/rankers/{name}" for name in params["rankers"]}
    exported = {"data/bundle", "data/savedmodel", "data/models/retrievers/history", *rankers}
    assert {artifact.path for artifact in artifacts.values()} == exported


def test_the_exported_ranker_is_a_param_that_rewires_the_stage() -> None:
    with Repo(str(ROOT)) as repo:
        (stage,) = repo.stage.collect("export")
    ranker = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["export"]["ranker"]
    assert f"data/models/rankers/{ranker}" in {str(dep) for dep in stage.deps}
