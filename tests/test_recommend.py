"""Serving from the bundle gives what the pipeline's own stages give."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.common.stage import StageError
from stages.common.tables import RECOMMENDATIONS
from stages.recommend import (
    as_text,
    find_movie,
    find_users,
    read_users,
    write_recommendations,
)
from stages.serving.bundle import SCHEMA, read_bundle, write_bundle
from stages.serving.chain import NEW_USER, SERVED, Chain
from stages.serving.reasons import because
from stages.towers import serve_movies
from tests.conftest import ROOT, edit_params
from tests.tiny_chain import export_bundle

ALL = 10_000


@pytest.fixture(scope="module")
def chain(tiny_run: Path) -> Chain:
    return Chain(tiny_run / "data" / "bundle")


@pytest.fixture
def bundle(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, elsewhere."""
    return Path(shutil.copytree(tiny_run / "data" / "bundle", tmp_path / "elsewhere" / "bundle"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def exported(run: Path, ranker: str, folder: Path) -> Path:
    """The bundle of another ranker of the same run."""
    copy = Path(shutil.copytree(run, folder / "run"))
    edit_params(copy, export__ranker=ranker)
    with contextlib.chdir(copy):
        export_bundle(ranker, Path("data/bundle"))
    return copy / "data" / "bundle"


def test_the_bundle_holds_what_its_schema_says_and_nothing_else(bundle: Path) -> None:
    schema = json.loads((bundle / SCHEMA).read_text())
    towers = ["id", "genre", "hard_negative", "history"]
    assert set(contents(bundle)) == {
        SCHEMA,
        *(f"tables/{name}.parquet" for name in schema["tables"]),
        *(f"arrays/{name}.npz" for name in ["ease", "item_knn", *towers]),
        *(f"index/{name}.faiss" for name in towers),
        *(f"ranker/{number}.txt" for number in range(3)),
    }
    for name, said in schema["tables"].items():
        table = pl.read_parquet(bundle / "tables" / f"{name}.parquet")
        assert said["rows"] == table.height
        assert said["columns"] == {k: str(v) for k, v in table.schema.items()}
    for name, said in schema["arrays"].items():
        with np.load(bundle / "arrays" / f"{name}.npz") as arrays:
            assert {k: v["shape"] for k, v in said.items()} == {
                k: list(v.shape) for k, v in arrays.items()
            }
    text = (bundle / "ranker" / "0.txt").read_text()
    assert f"feature_names={' '.join(schema['features'])}\n" in text


def test_equal_models_are_equal_bytes(tiny_run: Path, bundle: Path, tmp_path: Path) -> None:
    again = exported(tiny_run, "history", tmp_path)
    assert contents(again) == contents(bundle)
    rewritten = tmp_path / "rewritten"
    rewritten.mkdir()
    write_bundle(read_bundle(bundle), rewritten)
    assert contents(rewritten) == contents(bundle)


@pytest.mark.parametrize("ranker", ["basic", "history", "hit"])
def test_every_known_user_gets_the_pipelines_own_list(
    tiny_run: Path, tmp_path: Path, ranker: str
) -> None:
    chain = Chain(exported(tiny_run, ranker, tmp_path))
    lists = tiny_run / "data" / "recommendations" / f"ranker_{ranker}" / "test.parquet"
    wanted = pl.read_parquet(lists)
    assert wanted["user_id"].unique().sort().to_list() == chain.users.tolist()
    in_bulk = pl.concat(chain.for_users(chain.users, ALL))
    assert in_bulk.select(RECOMMENDATIONS.names()).equals(wanted)
    one_by_one = pl.concat([chain.for_person(int(user), [], ALL) for user in chain.users])
    keys = ["user_id", "movie_id", "rank"]
    assert one_by_one.select(keys).equals(wanted.select(keys))
    assert np.allclose(one_by_one["score"], wanted["score"], atol=1e-4)
    assert one_by_one.drop("score").equals(in_bulk.drop("score"))


def test_batches_and_the_order_of_the_users_change_nothing(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pl.concat(chain.for_users(chain.users, 5))
    monkeypatch.setattr("stages.serving.chain.USERS_AT_ONCE", 7)
    done: list[int] = []
    users = np.concatenate([chain.users[::-1], chain.users[:3]])
    parts = list(chain.for_users(users, 5, done.append))
    assert pl.concat(parts).drop("score").equals(whole.drop("score"))
    assert sum(done) == len(chain.users)
    assert max(done) == 7


def heaviest(chain: Chain, liked: list[int], movie: int) -> int | None:
    """The reason, movie by movie: EASE, else item_knn, else the cosine; the newest of equals."""
    for name in ("ease", "item_knn"):
        arrays = chain.weights[name]
        ids = arrays["movie_ids"].tolist()
        known = [m for m in reversed(liked) if m in ids and movie in ids]
        weights = [arrays["weights"][ids.index(m), ids.index(movie)] for m in known]
        if weights and max(weights) > 0:
            return known[int(np.argmax(weights))]
    vector = dict(zip(chain.past.movie_ids.tolist(), chain.past.vectors))
    cosines = [vector[m] @ vector[movie] for m in reversed(liked)]
    return liked[::-1][int(np.argmax(cosines))] if max(cosines) > 0 else None


def test_the_reason_is_the_liked_movie_that_weighs_most(chain: Chain) -> None:
    served = pl.concat(chain.for_users(chain.users, ALL))
    history = dict(chain.histories.select("user_id", "history").iter_rows())
    rows = served.select("user_id", "movie_id", "because_id").rows()
    assert all(why == heaviest(chain, history[user], movie) for user, movie, why in rows)
    titles = dict(chain.catalogue.select("movie_id", "title").iter_rows())
    named = served.drop_nulls("because_id").select("because_id", "because").rows()
    assert all(titles[movie] == title for movie, title in named)


def test_the_vectors_give_the_reason_where_no_item_model_knows_the_movie(chain: Chain) -> None:
    past = chain.past
    nothing = {name: (place * 0 - 1, weights) for name, (place, weights) in past.similar.items()}
    blind = Chain.__new__(Chain)
    blind.__dict__.update(chain.__dict__, past=past._replace(similar=nothing))
    served = pl.concat(blind.for_users(chain.users, 5))
    blind.weights = {name: {"movie_ids": np.array([])} for name in chain.weights}
    history = dict(chain.histories.select("user_id", "history").iter_rows())
    rows = served.select("user_id", "movie_id", "because_id").rows()
    assert [why for *_, why in rows] == [heaviest(blind, history[u], m) for u, m, _ in rows]


def test_found_by_names_the_generators_and_ranks_of_the_lists(tiny_run: Path, chain: Chain) -> None:
    user = int(chain.users[4])
    served = chain.for_person(user, [], 3)
    for movie, found in served.select("movie_id", "found_by").iter_rows():
        wanted = []
        for name in chain.settings.generators:
            table = pl.read_parquet(tiny_run / f"data/recommendations/{name}/test.parquet")
            mine = table.filter(pl.col("user_id") == user, pl.col("movie_id") == movie)
            wanted += [f"{name} {rank}" for rank in mine["rank"]]
        assert found == wanted


def test_a_new_user_gets_unseen_movies_from_generators_that_need_no_id(chain: Chain) -> None:
    served = chain.for_person(NEW_USER, [3, 7, 3], 8)
    assert served.height == 8
    assert served.schema == SERVED
    assert not {3, 7} & set(served["movie_id"])
    assert served["rank"].to_list() == list(range(1, 9))
    found = {entry.split()[0] for entry in served["found_by"].explode()}
    assert found <= {"popularity", "item_knn", "ease", "history"}
    assert set(served["because_id"].drop_nulls()) <= {3, 7}


def test_what_a_known_user_also_likes_changes_the_list_and_is_not_recommended(
    chain: Chain,
) -> None:
    user = int(chain.users[0])
    first = chain.for_person(user, [], ALL)
    extra = first["movie_id"][0]
    second = chain.for_person(user, [extra], ALL)
    assert extra not in second["movie_id"]
    assert not second["score"].head(5).equals(first["score"][1:6])
    liked_before = chain.likings_of(np.array([user]))["movie_id"][0]
    assert chain.for_person(user, [liked_before], ALL).equals(first)


def test_what_a_known_user_also_likes_counts_as_liked_last(chain: Chain) -> None:
    user = int(chain.users[3])
    extra = chain.for_person(user, [], 1)["movie_id"][0]
    cut = chain.settings.max_length
    row = chain.histories.filter(pl.col("user_id") == user).with_columns(
        pl.concat_list("history", pl.lit(extra, pl.Int32)).list.tail(cut),
        pl.concat_list("timestamps", pl.col("timestamps").list.max()).list.tail(cut),
        pl.col("history_length") + 1,
    )
    seen = chain.likings_of(np.array([user]))
    more = pl.DataFrame({"user_id": [user], "movie_id": [extra]}, schema=seen.schema)
    wanted = chain.recommend(row, pl.concat([seen, more]), ALL)
    assert chain.for_person(user, [extra], ALL).equals(wanted)


def test_of_equal_weights_the_newest_liked_movie_is_the_reason(chain: Chain) -> None:
    even = {
        name: (place, np.ones_like(weights))
        for name, (place, weights) in chain.past.similar.items()
    }
    ranked = pl.concat(chain.for_users(chain.users[:4], 3))
    before = chain.histories[:4]
    reasons = because(chain.past._replace(similar=even), before, ranked)
    newest = before.select("user_id", newest=pl.col("history").list.last())
    assert reasons.to_list() == ranked.join(newest, on="user_id")["newest"].to_list()


def test_users_without_a_liking_are_named(chain: Chain) -> None:
    with pytest.raises(StageError, match=r"user 999: has no liking; give others"):
        chain.for_person(999, [], 3)
    users = np.array([1, *range(900, 910)])
    with pytest.raises(StageError, match=r"user 900, 901, 902, 903, 904 and 5 more: has no"):
        list(chain.for_users(users, 3))


def test_a_damaged_bundle_is_refused(bundle: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(StageError, match=message):
            read_bundle(bundle)

    def damage(name: str, data: bytes | None, message: str) -> None:
        path = bundle / name
        whole = path.read_bytes()
        path.unlink() if data is None else path.write_bytes(data)
        refused(message)
        path.write_bytes(whole)

    for name in ("tables/likings.parquet", "arrays/history.npz", SCHEMA):
        damage(name, None, rf"{name}: not found")
        damage(name, b"\x00 not this", "cannot be read|not found|lacks")
    damage("ranker/1.txt", None, r"its boosters are not those of schema.json; copy")
    damage("ranker/1.txt", b"\x00 not this", "ranker: cannot be read")
    damage("index/id.faiss", b"", r"id.faiss: cannot be read")
    damage("index/id.faiss", None, r"id.faiss: cannot be read")
    schema = json.loads((bundle / SCHEMA).read_text())
    damage(SCHEMA, json.dumps(schema | {"format": 0}).encode(), "is not of format 2")
    damage(SCHEMA, json.dumps({"format": 2}).encode(), "lacks a section")
    other = (bundle / "arrays/id.npz").read_bytes()
    damage("arrays/history.npz", other, r"its arrays are not those of schema.json; copy")
    shorter = pl.read_parquet(bundle / "tables/dislikes.parquet")[1:]
    shorter.write_parquet(bundle / "tables/dislikes.parquet")
    refused(r"its tables are not those of schema.json")


def test_the_movie_vectors_are_those_of_the_index(bundle: Path) -> None:
    made = read_bundle(bundle)
    for name, index in made.indexes.items():
        ids, vectors = serve_movies(made.arrays[name])
        for movie, vector in zip(ids, vectors):
            if movie in made.arrays[name]["movie_ids"]:
                assert np.array_equal(index.reconstruct(int(movie)), vector)


def recommend(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The command line, in a folder that has neither params.yaml nor data/."""
    command = [sys.executable, "-m", "stages.recommend", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_command_needs_the_bundle_alone(bundle: Path, tmp_path: Path, tiny_run: Path) -> None:
    where = ("--bundle", str(bundle))
    done = recommend(tmp_path, "--user", "42", "--top", "3", *where)
    assert done.returncode == 0, done.stderr
    lists = pl.read_parquet(tiny_run / "data/recommendations/ranker_history/test.parquet")
    best = lists.filter(pl.col("user_id") == 42)["movie_id"].head(3)
    lines = done.stdout.splitlines()[3:6]
    assert [f"[{movie}]" in line for movie, line in zip(best, lines)] == [True] * 3

    out = tmp_path / "out.parquet"
    done = recommend(tmp_path, "--users", "all", "--top", "3", "--out", str(out), *where)
    assert done.returncode == 0, done.stderr
    table = pl.read_parquet(out)
    assert table.schema == SERVED
    keys = ["user_id", "movie_id", "rank"]
    assert table.select(keys).equals(lists.filter(pl.col("rank") <= 3).select(keys))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "give --user, or --liked once or more, or --users"),
        (["--user", "1", "--users", "all"], 2, "give --user, or --liked"),
        (["--users", "all"], 2, "--users and --out belong together"),
        (["--users", "all", "--out", "x.csv"], 2, "--out: name a .parquet file"),
        (["--user", "1", "--top", "0"], 2, "--top: give 1 or more"),
        (["--user", "1"], 1, "error: data/bundle/schema.json: not found; run `dvc repro export`"),
    ],
)
def test_wrong_commands_are_told_why(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = recommend(tmp_path, *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("u.csv", "user,x\n1,2\n", "u.csv: has no column user_id; name it so"),
        ("u.csv", "user_id\n", "u.csv: holds no user; write users into it"),
        ("u.txt", "", "u.txt: is empty"),
    ],
)
def test_bad_files_of_users_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(StageError, match=message):
        read_users(tmp_path / name)
    with pytest.raises(StageError, match=r"none.txt: not found"):
        read_users(tmp_path / "none.txt")


def test_files_of_users_are_read(tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_text('name,user_id\n"a, b",7\nc, 3\n')
    assert read_users(tmp_path / "u.csv").to_list() == ["7", "3"]
    (tmp_path / "u.txt").write_text("7\n\n 3 \n7\n")
    assert read_users(tmp_path / "u.txt").to_list() == ["7", "3", "7"]


def test_an_interrupted_batch_leaves_the_old_file(chain: Chain, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    write_recommendations(chain.for_users(chain.users[:3], 2), path)
    before = path.read_bytes()

    def interrupted() -> Iterator[pl.DataFrame]:
        yield from chain.for_users(chain.users, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_recommendations(interrupted(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_titles_are_found_by_id_whole_or_part(chain: Chain) -> None:
    assert find_movie("7", chain.catalogue, chain.movie_ids) == 7
    assert find_movie("film, no. 3 (1982)", chain.catalogue, chain.movie_ids) == 3
    assert find_movie("No. 40 ", chain.catalogue, chain.movie_ids) == 40
    with pytest.raises(StageError, match="fits 40 movies"):
        find_movie("film", chain.catalogue, chain.movie_ids)
    with pytest.raises(StageError, match="no such movie; did you mean"):
        find_movie("Flim, No. 3 (1982)", chain.catalogue, chain.movie_ids)


def test_ids_are_those_of_the_raw_data(chain: Chain) -> None:
    # Renumbered: the text "7" is movie 2, and 7 is another one.
    movies = pl.DataFrame({"movie_id": [2, 7], "original": ["7", "tt07"]})
    assert find_movie("7", chain.catalogue, movies) == 2
    assert find_movie("tt07", chain.catalogue, movies) == 7
    users = pl.DataFrame({"user_id": [1, 2], "original": ["b-1", "a"]})
    assert find_users(pl.Series(["a", "b-1", "a"]), users).tolist() == [2, 1, 2]
    with pytest.raises(StageError, match=r"user 1, z: not in the data; give others, or --liked"):
        find_users(pl.Series(["a", "1", "z"]), users)
    table = chain.for_person(NEW_USER, [5], 1)
    shown = pl.DataFrame({"movie_id": table["movie_id"], "original": ["tt99"]})
    assert "[tt99]" in as_text(table, shown)


def test_the_text_has_a_line_for_each_movie(chain: Chain) -> None:
    table = chain.for_person(NEW_USER, [5], 3)
    lines = as_text(table, chain.movie_ids).splitlines()
    assert len(lines) == 4
    assert "because you liked" in lines[0]
    assert lines[1].startswith("1  Film, No. ")
