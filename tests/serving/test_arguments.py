import pytest

from stages.serving.arguments import parse_recommend


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
