"""k-means at any size: native, and the same question asked of other libraries.

:class:`KMeans` is loaded when it is first used, because scikit-learn takes seconds to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.clustering.kmeans import KMeans

__all__ = ["KMeans"]


def __getattr__(name: str) -> Any:
    if name == "KMeans":
        from engine.clustering.kmeans import KMeans

        return KMeans
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
