"""The bundle, and what recommends from it; `Recommender` is the API for programs (`api.py`)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.serving.api import Recommender

__all__ = ["Recommender"]


def __getattr__(name: str) -> Any:
    """Import the API when it is asked for, as the commands set up their threads before Polars."""
    if name in __all__:
        from stages.serving import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
