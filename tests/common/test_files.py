import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from stages.common.files import read_arrays, write_arrays, write_json
from stages.common.stage import StageError, atomic_write
from tests.damage import damaged


def test_a_failing_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json({"x": 0.12345678}, path)

    def fail() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == '{\n  "x": 0.123457\n}\n'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("flips", [300, pytest.param(20_000, marks=pytest.mark.long)])
def test_damaged_arrays_are_one_line_or_equal(tmp_path: Path, flips: int) -> None:
    arrays = {
        "movie_ids": np.arange(5, dtype=np.int32),
        "movie": np.ones((5, 4), dtype=np.float32),
        "num_heads": np.array(2),
        "block0_attention_gain": np.zeros(3),
    }
    path = tmp_path / "test.npz"
    write_arrays(arrays, path)
    refused = 0
    for data in damaged(path.read_bytes(), 100, flips):
        path.write_bytes(data)
        try:
            stored = read_arrays(path)
        except StageError as error:
            refused += 1
            assert str(error).startswith(f"{path}: cannot be read (")
            assert str(error).endswith("); delete it and repro")
            assert len(str(error).splitlines()) == 1
        else:
            # Some bits have no meaning, such as those of a date.
            assert stored.keys() == arrays.keys()
            for name, values in arrays.items():
                assert stored[name].dtype == values.dtype
                assert np.array_equal(stored[name], values)
    assert refused > 0.5 * flips


def test_a_header_that_hides_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.npz"
    write_arrays({"movie": np.ones((50_000, 4), dtype=np.float32)}, path)
    content = path.read_bytes()
    assert content.count(b"(50000, 4)") == 1
    path.write_bytes(content.replace(b"(50000, 4)", b"(10000, 4)"))
    with pytest.raises(StageError, match=rf"^{path}: cannot be read \('movie.npy' is damaged\)"):
        read_arrays(path)


def test_files_of_arrays_have_equal_bytes_with_every_release_of_python(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    weights = np.arange(10, dtype=np.float32).reshape(2, 5)
    arrays = {"movie": weights, "heads": np.array(3), "gap": np.zeros((3, 0)), "map": weights.T}
    write_arrays(arrays, path)
    for name, values in np.load(path).items():
        assert np.array_equal(values, arrays[name])
    # Python 3.11.2 and 3.11.7 write these bytes; those of `np.savez` differ between them.
    assert {member.extract_version for member in zipfile.ZipFile(path).infolist()} == {20}
    assert hashlib.md5(path.read_bytes()).hexdigest() == "be8885d83f13c55f9fec0995cc770d23"
