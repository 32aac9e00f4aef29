"""TensorFlow is slow to import, so only the stages that need it do."""

import subprocess
import sys

from tests.conftest import ROOT

TRAINING = "train_retrieval", "export_savedmodel"


def test_only_training_imports_tensorflow() -> None:
    names = [p.stem for p in (ROOT / "stages").glob("*.py") if p.stem != "__init__"]
    names = [name for name in names if name not in TRAINING]
    code = "import importlib, sys\n"
    code += "".join(f"importlib.import_module('stages.{name}')\n" for name in sorted(names))
    code += "assert 'tensorflow' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
