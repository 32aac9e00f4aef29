"""Time, memory and accuracy of this project's steps beside those of other libraries.

    python -m benchmarks.costs --source data/raw --work /tmp/costs-100k --epochs 40
    python -m benchmarks.costs --source /tmp/ml-20m --work /tmp/costs-20m --epochs 1 --limit 900

Every step runs in a process of its own, on all processors, one after the other. The data steps are
whole stages beside the same work in plain pandas (`pandas_steps`). The models are fitted on what
the snapshot `test` knows, by this project (`own`) or by a library (`libraries`), and recommend
`COUNT` movies to all users; reading their input and writing their lists are not measured.

The settings are this project's defaults, and those that `benchmarks.peers` has chosen for the
libraries on MovieLens 100K. A library leaves out the positives, by its own filter; movies that were
rated low are dropped from its lists afterwards, outside of the measurement.
"""
