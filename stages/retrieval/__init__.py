"""The only room where TensorFlow is imported."""

import os

# TFRS 0.7 works with Keras 2 only; it must be chosen before TensorFlow is imported.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
