import shutil
import subprocess
from pathlib import Path

import pytest

from stages.common.checksums import CHECKSUMS, check_files, write_checksums
from stages.common.stage import StageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trees").mkdir()
    (tmp_path / "trees" / "0.txt").write_text("tree")
    (tmp_path / "é.npz").write_bytes(bytes(range(256)))
    (tmp_path / "empty").touch()
    write_checksums(tmp_path)
    return tmp_path


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")
def test_the_file_is_one_that_sha256sum_checks(folder: Path) -> None:
    command = ["sha256sum", "--check", "--strict", "--quiet", CHECKSUMS]
    subprocess.run(command, cwd=folder, check=True)
    assert (folder / CHECKSUMS).read_text().count("\n") == 3
    check_files(folder)


def test_a_second_write_gives_equal_bytes(folder: Path) -> None:
    content = (folder / CHECKSUMS).read_bytes()
    write_checksums(folder)
    assert (folder / CHECKSUMS).read_bytes() == content


def test_a_changed_missing_or_additional_file_is_named(folder: Path) -> None:
    def refuses(line: str) -> None:
        with pytest.raises(StageError) as error:
            check_files(folder)
        assert str(error.value) == line

    cure, path = "delete the folder and run `dvc repro`", folder / "trees" / "0.txt"
    path.write_text("Tree")
    refuses(f"{path}: does not match {CHECKSUMS}; {cure}")
    path.unlink()
    refuses(f"{path}: not found; {cure}")
    path.symlink_to(folder / "nowhere")
    refuses(f"{path}: not found; {cure}")
    path.unlink()
    path.write_text("tree")
    check_files(folder)
    (folder / "trees" / "1.txt").write_text("tree")
    more = f"is not in {CHECKSUMS}; delete it if you added it, or {cure}"
    refuses(f"{folder / 'trees' / '1.txt'}: {more}")
    (folder / CHECKSUMS).unlink()
    refuses(f"{folder / CHECKSUMS}: not found; {cure}")


def test_every_damage_of_the_sums_themselves_is_one_line(folder: Path) -> None:
    path = folder / CHECKSUMS
    content = path.read_bytes()
    truncated = [content[:end] for end in range(len(content))]
    wrapped = content.replace(b"trees/", b"trees\x0b")
    flipped = []
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        flipped.append(bytes(changed))
    for data in [*truncated, *flipped, content + b"\n", content + content, wrapped]:
        path.write_bytes(data)
        with pytest.raises(StageError, match=f"^{folder}/.*: .+; .+") as error:
            check_files(folder)
        assert len(str(error.value).splitlines()) == 1
