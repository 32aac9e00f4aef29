"""The exponents of costs by size."""

import pytest

from benchmarks.curves import Size, exponent, table


def test_a_cost_that_grows_with_the_square_has_the_exponent_two():
    assert exponent([10, 20, 40], [3.0, 12.0, 48.0]) == pytest.approx(2)
    assert exponent([10, 1000], [5.0, 5.0]) == pytest.approx(0)


def test_the_fit_leaves_small_sizes_out_and_marks_steep_stages():
    small = [Size(1, {"clean": (9.0, 9.0)})]
    sizes = [
        Size(10, {"clean": (1.0, 1.0), "rerank": (1.0, 2.0)}),
        Size(100, {"clean": (10.0, 1.0), "rerank": (100.0, 20.0), "report": (1.0, 1.0)}),
    ]
    lines = table(small, sizes)
    assert "| stage | 1 | 10 | 100 | exponent of s | of GiB |" in lines[0]
    assert lines[1].startswith("| `clean` | 9.0 s, 9.0 GiB | 1.0 s")
    assert lines[1].endswith("| 1.00 | 0.00 |")
    assert lines[2].endswith("| **2.00** | 1.00 |")
    assert lines[3] == "| `report` |  |  | 1.0 s, 1.0 GiB |  |  |"
