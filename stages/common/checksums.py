"""The SHA-256 sums of a folder's files, so that damaged files are refused before they are parsed.

They are in the format of `sha256sum`, which checks them too: `sha256sum -c SHA256SUMS`.
"""

import hashlib
from pathlib import Path

from stages.common.stage import StageError, atomic_write

CHECKSUMS = "SHA256SUMS"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _names(folder: Path) -> list[str]:
    """Return the sorted relative paths of all files below `folder`, without SHA256SUMS."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in paths if name != CHECKSUMS)


def write_checksums(folder: Path) -> None:
    """Write the sums of all other files below `folder` into its SHA256SUMS."""
    lines = [f"{_digest(folder / name)}  {name}\n" for name in _names(folder)]
    with atomic_write(folder / CHECKSUMS) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _read_checksums(path: Path, remedy: str) -> dict[str, str]:
    """Return the sums by relative path."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StageError(f"{path}: not found; {remedy}") from None
    except OSError as error:
        raise StageError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except ValueError:
        raise StageError(f"{path}: is damaged; {remedy}") from None
    *lines, rest = text.split("\n")
    sums = {}
    for line in lines:
        digest, separator, name = line.partition("  ")
        if not separator or not name.isprintable() or name in sums:
            raise StageError(f"{path}: is damaged; {remedy}")
        sums[name] = digest
    if rest or not sums:
        raise StageError(f"{path}: is damaged; {remedy}")
    return sums


def check_files(folder: Path, remedy: str = "delete the folder and run `dvc repro`") -> None:
    """Compare the files below `folder` with its SHA256SUMS.

    A change of SHA256SUMS itself is noticed as well: some line then fits no file.

    Raises:
        StageError: SHA256SUMS or a file is missing, changed or unreadable, or a file is too many.
            The message ends with `remedy`.
    """
    sums, names = _read_checksums(folder / CHECKSUMS, remedy), _names(folder)
    for name in sorted(sums.keys() - set(names)):
        raise StageError(f"{folder / name}: not found; {remedy}")
    for name in names:
        if name not in sums:
            what = f"is not in {CHECKSUMS}; delete it if you added it, or"
            raise StageError(f"{folder / name}: {what} {remedy}")
    for name in names:
        try:
            digest = _digest(folder / name)
        except OSError as error:
            message = f"cannot be read ({error.strerror}); {remedy}"
            raise StageError(f"{folder / name}: {message}") from None
        if digest != sums[name]:
            raise StageError(f"{folder / name}: does not match {CHECKSUMS}; {remedy}")
