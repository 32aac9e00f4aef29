"""The whole pipeline through dvc on tiny data, as a user would run it."""

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from stages.common.params import YAML
from tests.browser import open_tab, outside
from tests.conftest import commit, dvc, edit_params, ran, run, tiny_tables
from tests.serving.bundles import file_contents

pytestmark = pytest.mark.slow

GENRE_CHAIN = {
    *("train_retrieval@genre", "embeddings@genre", "faiss_index@genre", "candidates@genre"),
    *("fusion", "export", "evaluate", "validate", "leaderboard"),
    *("beyond_accuracy", "plot_tables", "report"),
    *(f"{s}@{r}" for s in ("ranker_data", "train_ranker", "rerank") for r in ("history", "hit")),
}


def test_a_second_run_does_nothing_and_all_systems_are_measured(repo: Path) -> None:
    assert ran(dvc(repo, "repro")) == set()
    board = json.loads((repo / "metrics" / "leaderboard.json").read_text())
    params = YAML().load(repo / "params.yaml")
    rankers = [f"ranker_{name}" for name in params["rankers"]]
    assert list(board) == [*params["generators"], *params["retrievers"], "fusion", *rankers]
    for row in board.values():
        assert all(0 <= value <= 1 for name, value in row.items() if name != "users")
    # The tiny users like one genre; a model that has learned it beats popularity.
    assert board["item_knn"]["ndcg@10"] > board["popularity"]["ndcg@10"]
    paths = [*(repo / "data").glob("candidates/*/test.parquet")]
    paths += (repo / "data").glob("recommendations/*/test.parquet")
    assert len(paths) == len(board)
    histories = pl.read_parquet(repo / "data" / "histories" / "test.parquet")
    newest = histories.select("user_id", until=pl.col("timestamps").list.last())
    ratings = pl.read_parquet(repo / "data" / "ratings.parquet").join(newest, on="user_id")
    seen = ratings.filter(pl.col("timestamp") < pl.col("until"))
    assert seen.filter(pl.col("rating") < 4).height > 0
    for path in paths:
        listed = pl.read_parquet(path)
        assert listed.join(seen, on=["user_id", "movie_id"]).height == 0, path


def test_a_changed_genre_retriever_reruns_its_chain_only(repo: Path) -> None:
    edit_params(repo, retrievers__genre__learning_rate=0.02)
    stages = ran(dvc(repo, "repro"))
    assert stages <= GENRE_CHAIN
    assert {"train_retrieval@genre", "embeddings@genre", "candidates@genre"} <= stages


@pytest.mark.long
def test_changed_cutoffs_train_nothing(repo: Path) -> None:
    edit_params(repo, evaluate__cutoffs=[1, 5, 10, 20, 50, 200])
    stages = ran(dvc(repo, "repro"))
    assert stages == {"evaluate", "leaderboard", "plot_tables", "report"}


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("positives", {"positives"}),
        ("fusion", {"fusion"}),
        ("rerank", {f"rerank@{r}" for r in ("basic", "history", "hit")}),
    ],
)
def test_a_comment_in_a_stages_module_reruns_that_stage_only(
    repo: Path, module: str, expected: set[str]
) -> None:
    path = repo / "stages" / f"{module}.py"
    path.write_text(path.read_text() + "# A remark.\n")
    assert ran(dvc(repo, "repro")) == expected


def test_a_changed_file_in_the_users_folder_is_noticed(repo: Path) -> None:
    source = Path(YAML().load(repo / "params.yaml")["data"]["source"])
    movies = source / "movies.csv"
    before = movies.read_text()
    try:
        movies.write_text(before.replace("Film, No. 1 ", "Another film "))
        assert "changed deps" in dvc(repo, "status", "download")
        stages = ran(dvc(repo, "repro", "clean"))
        assert stages == {"download", "clean"}
    finally:
        movies.write_text(before)


def test_bad_input_is_one_line_and_the_old_outputs_come_back(repo: Path) -> None:
    bad = repo.parent / "bad"
    bad.mkdir()
    (bad / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,9,5\n")
    (bad / "movies.csv").write_text("movieId,title,genres\n1,A,Drama\n")
    lock = (repo / "dvc.lock").read_bytes()
    edit_params(repo, data__source=str(bad))
    text = dvc(repo, "repro", ok=False)
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: data/raw/ratings.csv: data row 1 has a rating outside")
    assert "Traceback" not in text
    edit_params(repo, data__source="nowhere")
    text = dvc(repo, "repro", ok=False)
    assert "error: data.source: 'nowhere' is not known; use one of ml-100k" in text
    run(["git", "checkout", "-q", "-f", "."], repo)
    assert ran(dvc(repo, "repro")) == set()
    assert (repo / "dvc.lock").read_bytes() == lock


def lock_of_another_machine(text: str) -> str:
    """Return dvc.lock with other hashes of all outputs, as dependencies too."""
    output = r"(path: (?:data|metrics)/\S+\n\s+hash: md5\n\s+md5: )(\w+)"
    return re.sub(output, lambda match: match[1] + match[2][::-1], text)


@pytest.mark.long
def test_other_data_are_undone_whatever_the_machine_of_the_committed_lock(repo: Path) -> None:
    lock, board = ((repo / name).read_bytes() for name in ("dvc.lock", "metrics/leaderboard.json"))
    before = file_contents(repo / "data" / "bundle")
    (repo / "dvc.lock").write_text(lock_of_another_machine(lock.decode()))
    commit(repo, "a run of another machine")
    (repo / "dvc.lock").write_bytes(lock)  # as the first run here leaves it
    other = repo.parent / "undone"
    other.mkdir()
    ratings, movies = tiny_tables(users=70)
    ratings.write_csv(other / "ratings.csv")
    movies.write_csv(other / "movies.csv")
    edit_params(repo, data__source=str(other))
    assert "train_retrieval@history" in ran(dvc(repo, "repro"))
    assert file_contents(repo / "data" / "bundle") != before
    run(["git", "checkout", "-q", "params.yaml"], repo)
    stages = ran(dvc(repo, "repro"))
    # DVC's run cache has all others.
    figures = ("train_retrieval", "train_ranker", "evaluate", "validate", "leaderboard")
    assert all(s.startswith((*figures, "beyond_accuracy", "plot_tables")) for s in stages), stages
    assert file_contents(repo / "data" / "bundle") == before
    assert (repo / "metrics" / "leaderboard.json").read_bytes() == board
    assert (repo / "dvc.lock").read_bytes() == lock
    # The fixture expects its own commit.
    run(["git", "reset", "-q", "--hard", "HEAD~1"], repo)


def test_metrics_diff_between_branches_names_what_changed(repo: Path) -> None:
    run(["git", "checkout", "-q", "-b", "less"], repo)
    edit_params(repo, generators__item_knn__neighbours=2)
    dvc(repo, "repro")
    commit(repo, "fewer neighbours")
    text = dvc(repo, "metrics", "diff", "main", "--md", "--targets", "metrics/leaderboard.json")
    assert re.search(r"\| metrics/leaderboard\.json +\| item_knn\.ndcg@10 +\| 0\.\d+", text), text


def test_plots_and_the_report_open_offline(repo: Path) -> None:
    run(["git", "checkout", "-q", "-b", "flat"], repo)
    edit_params(repo, generators__item_knn__neighbours=3)
    dvc(repo, "repro")
    commit(repo, "fewer neighbours")
    drawn = "document.querySelectorAll('.vega-embed .chart-wrapper > svg').length"
    wait = f"new Promise(done => setInterval(() => {{ if ({drawn} >= 10) done({drawn}) }}, 50))"
    with open_tab() as tab:
        for command in (["show"], ["diff", "main"]):
            text = dvc(repo, "plots", *command)
            assert "ERROR" not in text, text
            tab.goto((repo / "dvc_plots" / "index.html").as_uri())
            assert tab.evaluate(wait) == 10
            assert outside(tab.asked) == []
            assert tab.problems == []
        assert "main" in tab.evaluate("document.body.innerText")
        tab.asked.clear()
        report = (repo / "metrics" / "report.html").as_uri()
        tab.goto(report)
        assert tab.asked == [report]
        assert tab.problems == []
        assert "Film, No. " in tab.evaluate("document.body.innerText")


@pytest.mark.long
def test_experiments_run_here_in_a_temporary_copy_and_in_the_queue(repo: Path) -> None:
    dvc(repo, "exp", "run", "-n", "here", "-S", "retrievers.history.epochs=1")
    dvc(repo, "exp", "run", "-n", "aside", "--temp", "-S", "generators.ease.regularization=50")
    dvc(repo, "exp", "run", "-n", "later", "--queue", "-S", "fusion.k=30")
    dvc(repo, "queue", "start")
    dvc(repo, "queue", "logs", "-f", "later")
    names = dvc(repo, "exp", "list", "--name-only").split()
    assert {"here", "aside", "later"} <= set(names)


@pytest.mark.long
def test_another_folder_can_be_tried_as_an_experiment(repo: Path) -> None:
    other = repo.parent / "other"
    other.mkdir()
    ratings, movies = tiny_tables(users=70)
    ratings.write_csv(other / "ratings.csv")
    movies.write_csv(other / "movies.csv")
    dvc(repo, "exp", "run", "-n", "other", "-S", f"data.source={other}")
    assert json.loads((repo / "metrics" / "data.json").read_text())["users"] == 70


@pytest.mark.long
def test_a_clean_second_run_gives_the_same_lock(repo: Path, tmp_path: Path) -> None:
    clone = tmp_path / "again"
    run(["git", "clone", "-q", str(repo), str(clone)], tmp_path)
    lock = (clone / "dvc.lock").read_bytes()
    (clone / "dvc.lock").unlink()
    dvc(clone, "repro")
    assert (clone / "dvc.lock").read_bytes() == lock
    assert run(["git", "status", "--porcelain"], clone).stdout == ""


def test_another_ranker_is_exported_without_any_training(repo: Path) -> None:
    before = json.loads((repo / "data" / "bundle" / "schema.json").read_text())
    edit_params(repo, export__ranker="basic")
    # The report shows all parameters.
    assert ran(dvc(repo, "repro")) == {"export", "report"}
    after = json.loads((repo / "data" / "bundle" / "schema.json").read_text())
    assert before["settings"]["ranker"] == "history"
    assert after["settings"]["generators"] == ["history"]


def test_the_bundle_alone_gives_the_lists_that_were_evaluated(repo: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(repo / "data" / "bundle_as_evaluated", tmp_path / "bundle")
    shutil.copytree(repo / "stages", tmp_path / "stages")  # no params.yaml, no data/
    out = tmp_path / "lists.parquet"
    options = ["--users", "all", "--top", "1000", "--bundle", str(bundle), "--out", str(out)]
    done = run(["python", "-m", "stages.serving", "recommend", *options], tmp_path)
    assert done.returncode == 0, done.stderr
    evaluated = pl.read_parquet(
        repo / "data" / "recommendations" / "ranker_history" / "test.parquet"
    )
    assert pl.read_parquet(out).select(evaluated.columns).equals(evaluated)


@pytest.mark.parametrize(
    "arguments", [["--user", "42"], ["--liked", "Film, No. 3 (1982)", "--liked", "7"]]
)
def test_recommend_prints_titles_that_are_new_to_the_user(repo: Path, arguments: list[str]) -> None:
    done = run(["python", "-m", "stages.serving", "recommend", *arguments, "--top", "5"], repo)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    head = ["#", "title", "genres", "score"]
    assert re.split(r" {2,}", lines[2]) == head
    ids = [int(i) for i in re.findall(r"\[(\d+)\]", "\n".join(lines[3:8]))]
    assert len(set(ids)) == 5
    assert not {3, 7} & set(ids) or "--user" in arguments


def test_recommend_says_what_is_wrong(repo: Path) -> None:
    cases = {
        ("--user", "999"): "error: user 999: not in the data; give others, or movies that you like",
        (
            "--liked",
            "Flim, No. 3",
        ): 'error: --liked "Flim, No. 3": no movie is called that; did you',
        ("--liked", "Film"): 'error: --liked "Film": no movie is called that; did you mean Film, ',
    }
    for arguments, message in cases.items():
        done = run(["python", "-m", "stages.serving", "recommend", *arguments], repo)
        assert done.returncode == 1
        assert done.stderr.startswith(message), done.stderr
