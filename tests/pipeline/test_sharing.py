"""docs/sharing.md: a run goes through a remote to another clone, branches merge, CI computes."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from stages.common.params import YAML
from tests.conftest import ROOT, commit, dvc, edit_params, ran, run

pytestmark = [pytest.mark.slow, pytest.mark.long]


def add_remote(repo: Path, url: str, **options: str) -> None:
    dvc(repo, "remote", "add", "--default", "store", url)
    for name, value in options.items():
        dvc(repo, "remote", "modify", "store", name, value)
    commit(repo, "A remote for data")


def clone_of(repo: Path, folder: Path) -> Path:
    """A clone with nothing of DVC's cache or data."""
    done = run(["git", "clone", "-q", str(repo), str(folder)], folder.parent)
    assert done.returncode == 0, done.stderr
    assert not (folder / ".dvc" / "cache").exists()
    assert not (folder / "data" / "ratings.parquet").exists()
    return folder


@pytest.fixture
def shared(repo: Path, tmp_path: Path) -> Iterator[Path]:
    """The finished run on a branch with a folder as its remote, pushed."""
    run(["git", "checkout", "-q", "-b", "shared"], repo)
    add_remote(repo, str(tmp_path / "store"))
    dvc(repo, "push")
    yield repo
    run(["git", "checkout", "-q", "-f", "main"], repo)
    run(["git", "branch", "-qD", "shared"], repo)


def check_pulled(clone: Path, repo: Path) -> None:
    """A pulled clone is the finished run; nothing is computed."""
    assert json.loads((clone / "metrics" / "leaderboard.json").read_text())
    dvc(clone, "pull")
    assert "up to date" in dvc(clone, "status")
    assert ran(dvc(clone, "repro")) == set()
    model = Path("data", "models", "retrievers", "history", "test.npz")
    assert (clone / model).read_bytes() == (repo / model).read_bytes()
    assert run(["git", "status", "--porcelain"], clone).stdout == ""
    done = run([sys.executable, "-m", "stages.serving", "recommend", "--user", "42"], clone)
    assert done.returncode == 0, done.stderr


def test_a_folder_carries_a_run_to_another_clone(shared: Path, tmp_path: Path) -> None:
    check_pulled(clone_of(shared, tmp_path / "mate"), shared)


def test_a_bucket_carries_a_run_to_another_clone(repo: Path, bucket: str, tmp_path: Path) -> None:
    run(["git", "checkout", "-q", "-b", "bucket"], repo)
    add_remote(repo, "s3://movies/store", endpointurl=bucket)
    assert "pushed" in dvc(repo, "push")
    check_pulled(clone_of(repo, tmp_path / "mate"), repo)


def test_raw_data_come_from_a_bucket(
    repo: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/cluster.md: imported once; an update fetches what has changed there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket)
    source = Path(YAML().load(repo / "params.yaml")["data"]["source"])
    storage = fs.S3FileSystem(endpoint_override=bucket, region="us-east-1")

    def upload(ratings: str) -> None:
        for name, text in (("ratings", ratings), ("movies", (source / "movies.csv").read_text())):
            with storage.open_output_stream(f"movies/raw/{name}.csv") as stream:
                stream.write(text.encode())

    def counted() -> int:
        return json.loads((repo / "metrics" / "data.json").read_text())["ratings"]

    whole = (source / "ratings.csv").read_text()
    upload(whole)
    dvc(repo, "import-url", "s3://movies/raw", "my-data")
    edit_params(repo, data__source=str(repo / "my-data"))
    dvc(repo, "repro", "clean")
    before = counted()
    assert before == len(whole.splitlines()) - 1
    upload("\n".join(whole.splitlines()[:-3]) + "\n")
    assert ran(dvc(repo, "repro", "clean")) == set()
    dvc(repo, "update", "my-data.dvc")
    assert "clean" in ran(dvc(repo, "repro", "clean"))
    assert counted() == before - 3


def ci_commands() -> list[str]:
    """The commands of the page's section on CI, without the installation."""
    section = (ROOT / "docs" / "sharing.md").read_text().partition("## In CI")[2]
    steps = YAML(typ="safe", pure=True).load(re.search(r"```yaml\n(.*?)```", section, re.DOTALL)[1])
    return [step["run"] for step in steps if not step["run"].startswith("pip ")]


def shell(repo: Path, command: str) -> str:
    done = run(["bash", "-c", command], repo)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    return text


def test_ci_fetches_and_runs_only_what_is_stale(shared: Path, tmp_path: Path) -> None:
    clone = clone_of(shared, tmp_path / "ci")
    source = Path(YAML().load(shared / "params.yaml")["data"]["source"])
    away = source.rename(source.with_name("away"))  # as on a machine that is not the user's
    try:
        repro, compare = ci_commands()
        assert ran(shell(clone, repro)) == set()
        assert run(["bash", "-c", compare], clone).returncode == 0
        assert not (clone / "data" / "models").exists()
        edit_params(clone, rankers__basic__negatives_per_user=3)
        chain = {f"{stage}@basic" for stage in ("ranker_data", "train_ranker", "rerank")}
        assert ran(shell(clone, repro)) >= chain - {"rerank@basic"}
        for name in ("positives.parquet", "embeddings/id"):
            assert not (clone / "data" / name).exists(), name
        # Whoever forgot `dvc repro` is found by the lock that has changed.
        assert run(["bash", "-c", compare], clone).returncode == 1
        dvc(clone, "pull")
        assert ran(shell(clone, repro)) == set()
    finally:
        away.rename(source)


def test_an_experiment_travels_with_its_data(shared: Path, tmp_path: Path) -> None:
    origin = tmp_path / "origin.git"
    run(["git", "clone", "-q", "--bare", str(shared), str(origin)], tmp_path)
    run(["git", "remote", "add", "origin", str(origin)], shared)
    try:
        dvc(shared, "exp", "run", "-n", "travels", "-S", "rankers.basic.negatives_per_user=4")
        dvc(shared, "exp", "push", "origin", "travels")
    finally:
        run(["git", "remote", "remove", "origin"], shared)
    clone = clone_of(origin, tmp_path / "mate")
    dvc(clone, "exp", "pull", "origin", "travels")
    dvc(clone, "pull")
    dvc(clone, "exp", "apply", "travels")
    assert YAML().load(clone / "params.yaml")["rankers"]["basic"]["negatives_per_user"] == 4
    board = Path("metrics", "leaderboard.json")
    assert (clone / board).read_bytes() == (shared / board).read_bytes()
    assert ran(dvc(clone, "repro")) == set()


def test_a_merge_keeps_ours_and_computes_the_rest(repo: Path) -> None:
    def row(system: str) -> dict[str, float]:
        return json.loads((repo / "metrics" / "leaderboard.json").read_text())[system]

    run(["git", "checkout", "-q", "-b", "theirs"], repo)
    edit_params(repo, fusion__k=1)
    dvc(repo, "repro")
    commit(repo, "fusion by first places")
    fusion = row("fusion")
    run(["git", "checkout", "-q", "-b", "ours", "main"], repo)
    dvc(repo, "checkout")
    edit_params(repo, rankers__basic__negatives_per_user=2)
    dvc(repo, "repro")
    commit(repo, "few negatives")
    basic = row("ranker_basic")
    merged = run(["git", "merge", "theirs"], repo)
    assert merged.returncode == 1
    for name in ("dvc.lock", "metrics/leaderboard.json"):
        assert f"Merge conflict in {name}" in merged.stdout
    run(["git", "checkout", "--ours", "dvc.lock", "metrics"], repo)
    # Neither branch has changed what models learn from, so nothing is trained.
    assert not {name for name in ran(dvc(repo, "repro")) if name.startswith("train_")}
    commit(repo, "merged")
    assert "up to date" in dvc(repo, "status")
    assert (row("fusion"), row("ranker_basic")) == (fusion, basic)
