import hashlib
import re
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import stages.download
from stages.common.stage import StageError
from stages.download import MIRROR, download, fetch_url
from tests.conftest import ROOT

RATINGS = "userId,movieId,rating,timestamp\n1,1,4.0,5\n"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds ml-tiny.zip, and a source of that name."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    with zipfile.ZipFile(folder / "ml-tiny.zip", "w") as zipped:
        zipped.writestr("ml-tiny/ratings.csv", RATINGS)
        zipped.writestr("ml-tiny/movies.csv", "movieId,title,genres\n1,A,Drama\n")
        zipped.writestr("ml-tiny/README.txt", "not needed")
        zipped.writestr("other/ratings.csv", "not this one")
    (tmp_path / "raw").mkdir()
    (tmp_path / "sources").mkdir()
    describe(tmp_path, (folder / "ml-tiny.zip").read_bytes())
    monkeypatch.setenv(MIRROR, str(folder))
    return folder


def describe(root: Path, content: bytes) -> None:
    text = "url: https://example.org/ml-tiny.zip\nfolder: ml-tiny\n"
    text += f"checksum: sha256:{hashlib.sha256(content).hexdigest()}\n"
    (root / "sources" / "ml-tiny").write_text(text)


def fetch(root: Path) -> list[str]:
    download("ml-tiny", root / "sources", root / "raw", root / "parts")
    return sorted(p.name for p in (root / "raw").iterdir())


def test_only_the_ratings_and_movies_are_taken_out(mirror: Path, tmp_path: Path) -> None:
    assert fetch(tmp_path) == ["movies.csv", "ratings.csv"]
    assert (tmp_path / "raw" / "ratings.csv").read_text() == RATINGS
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_wrong_checksum_is_refused_and_the_file_is_dropped(mirror: Path, tmp_path: Path) -> None:
    describe(tmp_path, b"something else")
    with pytest.raises(StageError, match=r"ml-tiny: its sha256 is [0-9a-f]{64}, not"):
        fetch(tmp_path)
    assert list((tmp_path / "parts").iterdir()) == []
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_page_instead_of_a_zip_is_named(mirror: Path, tmp_path: Path) -> None:
    page = b"<html>not found</html>"
    (mirror / "ml-tiny.zip").write_bytes(page)
    describe(tmp_path, page)
    with pytest.raises(StageError, match="is not a whole zip file; download it again"):
        fetch(tmp_path)


def test_a_missing_file_names_its_address(mirror: Path, tmp_path: Path) -> None:
    (mirror / "ml-tiny.zip").unlink()
    with pytest.raises(StageError, match=r"file://.*ml-tiny\.zip: .*; check the network or set"):
        fetch(tmp_path)


def test_plain_http_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, "http://example.org/")
    with pytest.raises(StageError, match=re.escape("http://example.org/ is not https")):
        fetch_url("https://example.org/a.zip", tmp_path)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str | None]]]:
    """An address on this machine that serves `0123456789`, also from a place in it on."""
    asked: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            asked.append(wanted)
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
            body = b"0123456789"[start:]
            self.send_response(416 if not body else 206 if wanted else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        monkeypatch.setattr(stages.download, "SCHEMES", ("http://127.0.0.1",))
        yield f"http://127.0.0.1:{serving.server_port}/a.zip", asked
        serving.shutdown()
        thread.join()


@pytest.mark.parametrize("have", [b"", b"0123", b"0123456789"])
def test_an_unfinished_download_is_continued(have: bytes, server: tuple, tmp_path: Path) -> None:
    url, asked = server
    if have:
        (tmp_path / "a.zip.part").write_bytes(have)
    assert fetch_url(url, tmp_path).read_bytes() == b"0123456789"
    assert asked == [f"bytes={len(have)}-" if have else None]


def test_every_built_in_source_has_an_address_and_a_checksum() -> None:
    names = {path.name for path in (ROOT / "data" / "sources").iterdir() if path.is_file()}
    expected = {"100k", "latest-small", "1m", "10m", "20m", "25m", "32m"}
    assert names == {f"ml-{name}" for name in expected}
    for name in names:
        text = (ROOT / "data" / "sources" / name).read_text()
        assert re.search(r"^(url: https://\S+/ml-\S+\.zip|package: \w+==\S+)$", text, re.M)
        assert re.search(r"^checksum: (sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$", text, re.M)
