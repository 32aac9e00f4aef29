import hashlib
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import stages.download
from stages.common.stage import StageError
from stages.download import MIRROR, download, download_url
from tests.conftest import ROOT, edit_params

RATINGS = "userId,movieId,rating,timestamp\n1,1,4.0,5\n"
CONTENT = b"0123456789"


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
    write_source(tmp_path, (folder / "ml-tiny.zip").read_bytes())
    monkeypatch.setenv(MIRROR, str(folder))
    return folder


def write_source(root: Path, content: bytes) -> None:
    """Describe the source ml-tiny, with the checksum of `content`."""
    text = "url: https://example.org/ml-tiny.zip\nfolder: ml-tiny\n"
    text += f"checksum: sha256:{hashlib.sha256(content).hexdigest()}\n"
    (root / "sources" / "ml-tiny").write_text(text)


def download_tiny(root: Path) -> list[str]:
    """Download ml-tiny, and return the names of the raw files."""
    download("ml-tiny", root / "sources", root / "raw", root / "parts")
    return sorted(p.name for p in (root / "raw").iterdir())


def test_only_the_ratings_and_movies_are_extracted(mirror: Path, tmp_path: Path) -> None:
    assert download_tiny(tmp_path) == ["movies.csv", "ratings.csv"]
    assert (tmp_path / "raw" / "ratings.csv").read_text() == RATINGS
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_wrong_checksum_is_refused_and_the_file_is_deleted(mirror: Path, tmp_path: Path) -> None:
    write_source(tmp_path, b"something else")
    with pytest.raises(StageError, match=r"ml-tiny: its sha256 is [0-9a-f]{64}, not"):
        download_tiny(tmp_path)
    assert list((tmp_path / "parts").iterdir()) == []
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_page_instead_of_a_zip_is_named(mirror: Path, tmp_path: Path) -> None:
    page = b"<html>not found</html>"
    (mirror / "ml-tiny.zip").write_bytes(page)
    write_source(tmp_path, page)
    with pytest.raises(StageError, match="is not a complete zip file; download it again"):
        download_tiny(tmp_path)


def test_a_missing_file_names_its_address(mirror: Path, tmp_path: Path) -> None:
    (mirror / "ml-tiny.zip").unlink()
    with pytest.raises(StageError, match=r"file://.*ml-tiny\.zip: .*; check the network or set"):
        download_tiny(tmp_path)


def test_plain_http_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, "http://example.org/")
    with pytest.raises(StageError, match=re.escape("http://example.org/ is not https")):
        download_url("https://example.org/a.zip", tmp_path)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str | None]]]:
    """A local address that serves `CONTENT`, whole or from an offset, and the ranges asked for."""
    ranges: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            range_header = self.headers.get("Range")
            ranges.append(range_header)
            text = range_header or "bytes=0-"
            body = CONTENT[int(text.removeprefix("bytes=").removesuffix("-")) :]
            self.send_response(416 if not body else 206 if range_header else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        monkeypatch.setattr(stages.download, "SCHEMES", ("http://127.0.0.1",))
        yield f"http://127.0.0.1:{http_server.server_port}/a.zip", ranges
        http_server.shutdown()
        thread.join()


@pytest.mark.parametrize("part", [b"", CONTENT[:4], CONTENT])
def test_an_unfinished_download_is_continued(part: bytes, server: tuple, tmp_path: Path) -> None:
    url, ranges = server
    if part:
        (tmp_path / "a.zip.part").write_bytes(part)
    assert download_url(url, tmp_path).read_bytes() == CONTENT
    assert ranges == [f"bytes={len(part)}-" if part else None]


def test_every_built_in_source_has_an_address_and_a_checksum() -> None:
    names = {path.name for path in (ROOT / "data" / "sources").iterdir() if path.is_file()}
    sizes = {"100k", "latest-small", "1m", "10m", "20m", "25m", "32m"}
    assert names == {f"ml-{size}" for size in sizes}
    for name in names:
        text = (ROOT / "data" / "sources" / name).read_text()
        assert re.search(r"^(url: https://\S+/ml-\S+\.zip|package: \w+==\S+)$", text, re.M)
        assert re.search(r"^checksum: (sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$", text, re.M)


def test_a_folder_is_copied_whole_or_not_at_all(workspace: Path, tiny_movielens: Path) -> None:
    edit_params(workspace, data__source=str(tiny_movielens))
    command = [sys.executable, "-m", "stages.download", "--sources", "data/sources"]
    command += ["--raw", "data/raw"]

    def run() -> subprocess.CompletedProcess:
        return subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)

    process = run()
    assert process.returncode == 0, process.stderr
    raw = workspace / "data" / "raw"
    assert sorted(p.name for p in raw.iterdir()) == ["movies.csv", "ratings.csv"]
    (tiny_movielens / "ratings.csv").unlink()
    process = run()
    assert process.returncode == 1
    assert f"{tiny_movielens}: has no ratings file; add one named" in process.stderr
    assert sorted(p.name for p in raw.iterdir()) == ["movies.csv", "ratings.csv"]
