"""Stable names for machines: an id that comes from what a segment is, never from its cluster number.

Cluster numbers change with every refit, so nothing downstream may hang on them. The id is a short hash
of the feature spec (what the model looks at) and of the centroid (where the segment lies).
"""

from __future__ import annotations

import base64
import hashlib

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError

PREFIX = "seg-"
ID_CHARACTERS = 6
SIGNIFICANT_DIGITS = 6
NOISE = 1e-9
"""Coordinates nearer to zero than this, in the scaled space, are rounding noise and count as zero."""


def segment_ids(spec_digest: str, centroids: NDArray[np.float64]) -> list[str]:
    """Return one stable id for each centroid.

    The same spec and the same centroids, rounded to six significant digits, give the same ids, whatever
    the order of the centroids. Should two centroids of a model share a hash, the later one in the order
    of their printed coordinates is hashed again with a counter until its id is free.

    Parameters
    ----------
    spec_digest
        Digest of the feature spec.
    centroids
        Shape (k, d), in the scaled space.

    Returns
    -------
    list of str
        ``seg-`` and six lower-case base32 characters (30 bits) each, in the order of the centroids.

    Raises
    ------
    DataError
        The centroids are no matrix of finite numbers.

    Examples
    --------
    >>> first = segment_ids("a1", np.array([[0.5, 1.0], [-1.0, 2.0]]))
    >>> first == segment_ids("a1", np.array([[-1.0, 2.0], [0.5, 1.0 + 1e-12]]))[::-1]
    True
    """
    if centroids.ndim != 2 or not np.isfinite(centroids).all():
        raise DataError(
            f"segment_ids: expected a (k, d) matrix of finite centroids; got shape {centroids.shape}"
            " or values that are not finite. Check the features for infinite values."
        )
    texts = [_canonical(row) for row in centroids]
    ids = [""] * len(texts)
    taken: set[str] = set()
    for index in sorted(range(len(texts)), key=lambda i: (texts[i], i)):
        attempt = 0
        while (found := _hash(spec_digest, texts[index], attempt)) in taken:
            attempt += 1
        taken.add(found)
        ids[index] = found
    return ids


def _canonical(centroid: NDArray[np.float64]) -> str:
    # Adding 0.0 turns -0.0 into 0.0, which prints without a sign.
    values = [0.0 if abs(value) < NOISE else float(value) + 0.0 for value in centroid]
    return ",".join(f"{value:.{SIGNIFICANT_DIGITS}g}" for value in values)


def _hash(spec_digest: str, centroid: str, attempt: int) -> str:
    text = f"{spec_digest}\n{centroid}" + (f"\n{attempt}" if attempt else "")
    digest = hashlib.sha256(text.encode()).digest()
    return PREFIX + base64.b32encode(digest).decode("ascii").lower()[:ID_CHARACTERS]
