"""Cartera: years of transactions to named customer segments.

>>> import engine
>>> sorted(engine.__all__)
['Lake', 'Segmentation', '__version__', 'classify_transactions', 'load', 'recommender', 'segment']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Lake", "Segmentation", "__version__", "classify_transactions", "load", "recommender", "segment"]

if TYPE_CHECKING:
    from engine.api import classify_transactions, recommender, segment
    from engine.lake.table import Lake
    from engine.loading import load
    from engine.segmentation import Segmentation

_HOMES = {
    "Lake": "engine.lake.table",
    "Segmentation": "engine.segmentation",
    "classify_transactions": "engine.api",
    "load": "engine.loading",
    "recommender": "engine.api",
    "segment": "engine.api",
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    # Polars alone takes a third of a second to import: `import engine` waits for nothing.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'engine' has no attribute {name!r}")
