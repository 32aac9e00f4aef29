"""The bundle, and what recommends from it; `Recommender` is the API for programs (`api.py`)."""

import importlib
from typing import Any

__all__ = ["Recommender"]


def __getattr__(name: str) -> Any:
    """Import the API when it is asked for: the commands set up their threads before Polars."""
    if name in __all__:
        return getattr(importlib.import_module("stages.serving.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
