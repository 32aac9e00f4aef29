"""Tests; `stages` pins vector instructions before a test module imports NumPy."""

import stages  # noqa: F401
