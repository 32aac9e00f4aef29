from pathlib import Path

import pytest

from stages.serving.arguments import Parser, parse_recommend, utf8, utf8_path

HELP = """
  --bundle BUNDLE       the bundle's folder (data/bundle)
  --user USER           a user's id in the data set; may be repeated
  --liked MOVIE         a movie that you like; a title or an id, and id:ID is never a title; \
may be repeated
  --disliked MOVIE      one that you rate low
  --seen MOVIE          one that is not to be listed
  --ratings RATINGS     your ratings: a csv, also of Letterboxd or IMDb
  --users USERS         many users: a csv with user_id, a txt of ids, or `all`
  --as-evaluated        the lists that were measured: without the test targets \
(data/bundle_as_evaluated)
  --top TOP             movies per user (10)
  --explain             add reasons to the table
  --format {table,json,csv,parquet}
                        of the output (table)
  --out OUT             the file to write, if not the terminal
"""


def parse(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict:
    monkeypatch.setattr("sys.argv", ["recommend", *arguments])
    return vars(parse_recommend())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "give --user, or --liked, --disliked, --seen or --ratings, or --users"),
        ("--user 1 --users all", "--users: takes no other users and no movies; leave out the oth"),
        ("--seen 1 --users all", "--users: takes no other users and no movies"),
        ("--ratings x --users all", "--users: takes no other users and no movies"),
        ("--user 1 --user 2 --liked 3", "--user: give one user, if you also give movies or rati"),
        ("--user 1 --top 0", "--top: give 1 or more"),
        ("--user 1 --top x", "--top: invalid int value: 'x'"),
        ("--user 1 --top 3 --top 5", "--top: is given twice; give it once"),
        ("--user 1 --format csv --format csv", "--format: is given twice; give it once"),
        ("--users a --users b", "--users: is given twice; give it once"),
        ("--ratings a --ratings b", "--ratings: is given twice; give it once"),
        ("--user 1 --bundle a --bundle b", "--bundle: is given twice; give it once"),
        ("--user 1 --as-evaluated --bundle a", "--as-evaluated: is another bundle; leave out --b"),
        ("--user 1 --out a.csv --out b.csv", "--out: is given twice; give it once"),
        ("--user 1 --format xml", "--format: invalid choice: 'xml' (choose from"),
        ("--user 1 --format parquet", "--format parquet: give the file with --out"),
        ("--user 1 --format table --out x.csv", "--format table: goes to the terminal; leave out"),
        ("--user 1 --out x.txt", "--out: name a .json, .csv or .parquet file, or give --format"),
        ("--user 1 --format json --out x.csv", "--out: ends in .csv, but --format is json"),
        ("--user 1 --format json --out /tmp", "--out: /tmp is a folder; name a file"),
        ("--user 1 --what", "unrecognized arguments: --what"),
        ("--user 1 --out a\udce9.csv", "--out: is not UTF-8 here; rename it, or set PYTHONUTF8=1"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    message: str,
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(monkeypatch, *arguments.split())
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert text.startswith(f"error: {message}")
    assert text.endswith("; see `python -m stages.serving recommend --help`\n")
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ("", "table"),
        ("--format json", "json"),
        ("--format csv", "csv"),
        ("--out x.json", "json"),
        ("--out x.CSV", "csv"),
        ("--out x.parquet", "parquet"),
        ("--out x --format csv", "csv"),
    ],
)
def test_the_format_follows_from_the_name_of_the_file(
    monkeypatch: pytest.MonkeyPatch, arguments: str, kind: str
) -> None:
    assert parse(monkeypatch, "--user", "1", *arguments.split())["format"] == kind


def test_movies_and_users_may_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ("liked", "disliked", "seen")
    movies = [text for kind in kinds for text in (f"--{kind}", kind, f"--{kind}", "more")]
    values = parse(monkeypatch, *movies)
    assert [values[kind] for kind in kinds] == [[kind, "more"] for kind in kinds]
    assert parse(monkeypatch, "--user", "1", "--user", "2")["user"] == ["1", "2"]
    assert parse(monkeypatch, "--user", "1")["liked"] == []


def test_the_help_describes_every_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stop:
        parse(monkeypatch, "--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: python -m stages.serving recommend [-h] [--bundle BUNDLE] ")
    assert "\n\nRecommend movies from a bundle.\n\n" in text
    assert text.endswith(HELP)


def test_options_have_defaults_and_their_own_types(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = parse(monkeypatch, "--user", "1")
    assert (values["top"], values["explain"], values["out"]) == (10, False, None)
    assert values["bundle"] == Path("data/bundle")
    assert (values["users"], values["ratings"], values["disliked"]) == (None, None, [])
    options = ["--top", "1", "--explain", "--out", str(tmp_path / "x.json"), "--bundle", "b"]
    values = parse(monkeypatch, "--user", "L\udcc3\udca9on", *options, "--ratings", "r.csv")
    assert values["user"] == ["Léon"]
    assert (values["top"], values["explain"]) == (1, True)
    assert (values["out"], values["bundle"]) == (tmp_path / "x.json", Path("b"))
    assert values["ratings"] == Path("r.csv")
    values = parse(monkeypatch, "--users", "all", "--as-evaluated")
    assert values["bundle"] == Path("data/bundle_as_evaluated")
    assert values["users"] == "all"


def test_bytes_that_are_not_utf8_match_no_title_and_no_path() -> None:
    assert utf8("L\udce9on") == "L\ufffdon"
    assert utf8("Léon") == "Léon"
    assert utf8_path("Léon") == Path("Léon")


def test_an_error_names_the_option_only(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser("demo", "Show a page.")
    for message, line in (
        ("argument --port: is no number", "--port: is no number"),
        ("argument -p/--port: is no number", "-p: is no number"),
        ("the argument --port: is it", "the argument --port: is it"),
    ):
        with pytest.raises(SystemExit) as stop:
            parser.error(message)
        assert stop.value.code == 2
        expected = f"error: {line}; see `python -m stages.serving demo --help`\n"
        assert capsys.readouterr().err == expected
