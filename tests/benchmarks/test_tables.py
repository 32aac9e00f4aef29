import numpy as np

from benchmarks.tables import change_text, interval_text


def test_means_and_changes_have_their_intervals() -> None:
    values = np.array([0.25, 0.75] * 50)
    assert interval_text(np.full(9, 0.5)) == "0.5000 (0.5000 to 0.5000)"
    mean, low, high = (
        float(x.strip("()")) for x in interval_text(values).replace("to ", "").split()
    )
    assert low < mean == 0.5 < high
    assert change_text(values, None) == ""
    assert change_text(values, values - 0.125) == "+0.1250 (+0.1250 to +0.1250)"
    assert change_text(values, values + 0.125).startswith("-0.1250 (-0.1250")
