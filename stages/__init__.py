"""A movie recommender as DVC stages: one module per stage, named like the stage."""

import os

from stages.common import instructions  # noqa: F401  (before all libraries that it pins)

# LightGBM's threads wait for each other thousands of times a second. By default they spin for so
# long that beside another busy process a training takes many times as long; without any spinning,
# it takes twice as long on an idle machine (benchmarks/README.md). Results do not depend on it.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
