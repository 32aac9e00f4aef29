"""Models of other libraries on this pipeline's split, with its filter and its metrics.

    make peers
    python -m benchmarks.peers --models als,ease --seeds 42,43,44
    python -m benchmarks.peers --replicate
    python -m benchmarks.peers.compare

Reads a finished run. Every peer chooses its settings on the validation targets: it is fitted on
what the snapshot `val` knows, and the best ndcg@10 wins. Then it is fitted again, with these
settings, on what the snapshot `test` knows, and its lists are measured like a system's. Nothing is
chosen on the test targets.

The folder `--out` has the lists, the trials, results.json, and ranks.csv, the rank of every test
target in the lists of every peer. `compare` needs the last two alone.
"""
