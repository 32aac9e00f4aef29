from pathlib import Path

import pytest

from stages.common.files import write_json
from stages.common.stage import atomic_write


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
