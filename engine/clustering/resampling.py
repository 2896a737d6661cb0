"""Evidence that must be bought with many fits: the gap statistic and the stability under resampling.

Both fit dozens to hundreds of clusterings, on no more rows than ``max_rows``, and are meant to be asked for.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.clustering.agreement import adjusted_rand
from engine.clustering.backends import check_settings, cluster
from engine.clustering.checks import check_k, check_k_value, checked_matrix, distinct_rows, too_few_distinct
from engine.clustering.indices import Estimate, total_scatter
from engine.clustering.nearest import two_nearest
from engine.clustering.seeding import draw_evenly
from engine.errors import DataError, SettingError

log = logging.getLogger(__name__)

GAP_ROWS = 2_000
"""Rows in a fit of the gap statistic when nothing else is said: rows strewn evenly take many iterations."""

BOOTSTRAP_ROWS = 5_000
"""Rows in a resample when nothing else is said. Groups of one row in a hundred still have fifty."""


@dataclass(frozen=True, slots=True)
class Gap:
    """How much tighter k clusters are than in data without groups.

    Attributes
    ----------
    k : int
        Number of clusters.
    gap : float
        Mean natural logarithm of the inertia in reference data without groups, less that in the data. Of no unit; it
        may be negative.
    standard_error : float
        Of ``gap``, from the spread of the references: ``sd × sqrt(1 + 1 / references)``.
    """

    k: int
    gap: float
    standard_error: float


def gap_statistic(
    matrix: NDArray[Any],
    ks: Sequence[int],
    *,
    references: int = 10,
    seed: int = 0,
    backend: str = "native",
    solver: str = "auto",
    threads: int | None = None,
    inertias: Mapping[int, float] | None = None,
    max_rows: int = GAP_ROWS,
) -> list[Gap]:
    """Compare the inertia at each k with that of rows strewn evenly over the same region.

    Where k clusters are real, the inertia lies further below that of the references than with one cluster fewer, and
    one cluster more gains nothing. Unlike the silhouette it can speak for k = 1: include 1 (and the k after the last
    of interest) and ask :func:`gap_choice`.

    Cost: ``references + 1`` fits for each k, of at most ``max_rows`` rows. With the defaults, 8 features and k from 1
    to 10, about 2 s on one core.

    Parameters
    ----------
    matrix : ndarray of float32 or float64, shape (n, d)
        Scaled features, finite.
    ks : sequence of int
        Numbers of clusters; order and repetition do not matter. Those above the number of distinct rows are left out
        with a warning in the log.
    references : int
        Sets of reference rows, at least 2.
    seed : int
        Samples and fits follow from it, 0 to 2**31 - 1.
    backend, solver, threads
        As in :func:`engine.clustering.backends.cluster`.
    inertias : mapping of int to float, optional
        Inertia of the rows at each k, where it is known from the same backend: saves a fit. Not looked at when there
        are more than ``max_rows`` rows.
    max_rows : int
        With more rows than this, a random sample of so many stands for them, and its own inertia is found by fits.

    Returns
    -------
    list of Gap
        By ascending k.

    Raises
    ------
    SettingError
        No k, a k or a setting out of range.
    DataError
        No rows, values that are not finite, fewer distinct rows than the smallest k, or a given inertia that is
        negative, NaN or infinite.

    Notes
    -----
    R. Tibshirani, G. Walther and T. Hastie, "Estimating the number of clusters in a data set via the gap statistic",
    Journal of the Royal Statistical Society B 63 (2001): references are uniform over the box along the principal axes
    of the data (their variant b), which follows correlated features. One set of references serves all k.

    Groups spread evenly around a centre may be missed by :func:`gap_choice`: cutting them in two gains little, so that
    the gap falls from k = 1 to 2 before it rises. Look at the whole list.

    An inertia below the rounding of the total scatter counts as that rounding, so that an inertia of 0 leaves a gap
    that is large and finite.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> rows = np.concatenate([rng.normal(centre, 1.0, (50, 2)) for centre in (0.0, 20.0)])
    >>> gap_choice(gap_statistic(rows, [1, 2, 3], threads=1))
    2
    """
    check_settings(backend=backend, solver=solver, seed=seed, threads=threads)
    _check_counts("gap_statistic", references=references, max_rows=max_rows)
    if not ks:
        raise SettingError("gap_statistic: expected at least one number of clusters; got none.")
    for k in ks:
        check_k_value(k)
    X = checked_matrix(matrix)
    known = dict(inertias or {})
    for k, inertia in known.items():
        if not 0 <= inertia < math.inf:
            raise DataError(f"gap_statistic: expected inertias, finite and at least 0; got {inertia} for k={k}.")
    rng = np.random.default_rng(seed)
    if len(X) > max_rows:
        X, known = X[draw_evenly(len(X), max_rows, rng)], {}
    # Around their mean, float32 holds the rows and the references at their best.
    centred = X - X.mean(axis=0, dtype=np.float64)
    rows = centred.astype(np.float32)
    wanted = _possible(rows, sorted(set(ks)))
    floor = max(total_scatter(rows, threads=threads) * np.finfo(np.float64).eps, np.finfo(np.float64).tiny)

    def log_inertia(points: NDArray[np.float32], k: int) -> float:
        found = cluster(points, k, backend=backend, solver=solver, seed=seed, threads=threads)
        return math.log(max(found.inertia, floor))

    of_data = [math.log(max(known[k], floor)) if k in known else log_inertia(rows, k) for k in wanted]
    of_references = np.empty((references, len(wanted)))
    for number, points in enumerate(_reference_sets(centred, references, rng)):
        most = distinct_rows(points, wanted[-1])
        # Where all rows are on one point, so are the references.
        of_references[number] = [log_inertia(points, k) if k <= most else math.log(floor) for k in wanted]
        log.debug("gap statistic: reference %d of %d", number + 1, references)
    gaps = of_references.mean(axis=0) - of_data
    errors = of_references.std(axis=0) * math.sqrt(1 + 1 / references)
    return [Gap(k, float(gap), float(error)) for k, gap, error in zip(wanted, gaps, errors, strict=True)]


def gap_choice(gaps: Sequence[Gap]) -> int | None:
    """Return the smallest k that the next one does not clearly improve upon.

    Parameters
    ----------
    gaps : sequence of Gap
        In any order. The next k is the next in the list, so leave none out.

    Returns
    -------
    int or None
        Smallest k with ``gap(k) >= gap(next) - standard_error(next)``, as in the paper. None where each k is clearly
        better than the one before, for then the last cannot be judged; None too for fewer than two.

    Examples
    --------
    >>> gap_choice([Gap(1, 0.2, 0.01), Gap(2, 0.9, 0.01), Gap(3, 0.9, 0.02)])
    2
    """
    ordered = sorted(gaps, key=lambda gap: gap.k)
    for here, behind in pairwise(ordered):
        if here.gap >= behind.gap - behind.standard_error:
            return here.k
    return None


def bootstrap_stability(
    matrix: NDArray[Any],
    k: int,
    *,
    resamples: int = 20,
    seed: int = 0,
    backend: str = "native",
    solver: str = "auto",
    threads: int | None = None,
    max_rows: int = BOOTSTRAP_ROWS,
) -> Estimate:
    """Say whether other customers of the same kind would have led to the same k clusters.

    Two resamples of the rows are clustered apart, all rows are assigned to the nearest centroid of each, and the two
    divisions compared. Near 1: the clusters do not hang on who happened to be in the data. Low: k-means could have
    cut elsewhere. Stable is not separate: k-means divides one long cloud in two in the same way each time.

    Cost: ``2 × resamples`` fits of at most ``max_rows`` rows. With the defaults, 8 features and k = 10, about 2.5 s
    on one core.

    Parameters
    ----------
    matrix : ndarray of float32 or float64, shape (n, d)
        Scaled features, finite.
    k : int
        Number of clusters, 1 up to the number of distinct rows.
    resamples : int
        Pairs of resamples, at least 2.
    seed : int
        Resamples and fits follow from it, 0 to 2**31 - 1.
    backend, solver, threads
        As in :func:`engine.clustering.backends.cluster`.
    max_rows : int
        Rows in a resample, where n is larger: drawn from all rows, and a fixed random sample of as many is assigned.
        The figure is then that of so many customers; more of them vary less.

    Returns
    -------
    Estimate
        Mean adjusted Rand index of the pairs, -0.5 to 1, and its standard error over the pairs. 1 and 0 for k = 1.

    Raises
    ------
    SettingError
        k or a setting out of range.
    DataError
        No rows, values that are not finite, or fewer distinct rows than k.

    Notes
    -----
    After Y. Fang and J. Wang, "Selection of the number of clusters via the bootstrap method", Computational
    Statistics & Data Analysis 56 (2012), with the adjusted Rand index in place of their distance, which small k
    makes small. A resample with fewer distinct rows than k is divided into as many clusters as it has.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> rows = np.concatenate([rng.normal(centre, 1.0, (50, 2)) for centre in (0.0, 20.0)])
    >>> bootstrap_stability(rows, 2, resamples=3, threads=1)
    Estimate(value=1.0, standard_error=0.0)
    """
    check_settings(backend=backend, solver=solver, seed=seed, threads=threads)
    _check_counts("bootstrap_stability", resamples=resamples, max_rows=max_rows)
    X = checked_matrix(matrix)
    check_k(X, k)
    if k == 1:
        return Estimate(1.0, 0.0)
    rng = np.random.default_rng(seed)
    m = min(len(X), max_rows)
    judged = X[draw_evenly(len(X), m, rng)] if m < len(X) else X

    def division() -> NDArray[np.int32]:
        rows = X[rng.integers(0, len(X), m)]
        found = cluster(
            rows,
            min(k, distinct_rows(rows, k)),
            backend=backend,
            solver=solver,
            seed=int(rng.integers(2**31)),
            threads=threads,
        )
        return two_nearest(judged, found.centroids).first

    agreements = np.array([adjusted_rand(division(), division()) for _ in range(resamples)])
    return Estimate(float(agreements.mean()), float(agreements.std(ddof=1)) / math.sqrt(resamples))


def _reference_sets(
    centred: NDArray[np.float64], references: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """Yield sets of as many rows, uniform over the box along the principal axes."""
    # einsum adds in one order; a matrix product of BLAS may add in another with other threads.
    axes = np.linalg.eigh(np.einsum("ni,nj->ij", centred, centred))[1]
    along = np.einsum("ni,ij->nj", centred, axes)
    low, high = along.min(axis=0), along.max(axis=0)
    for _ in range(references):
        box = rng.uniform(low, high, along.shape)
        yield np.einsum("nj,ij->ni", box, axes).astype(np.float32)


def _possible(rows: NDArray[np.float32], wanted: list[int]) -> list[int]:
    found = distinct_rows(rows, wanted[-1])
    possible = [k for k in wanted if k <= found]
    if not possible:
        raise too_few_distinct(len(rows), found, wanted[0])
    if len(possible) < len(wanted):
        log.warning("gap statistic: only %d of %d rows differ: larger k are left out", found, len(rows))
    return possible


def _check_counts(what: str, *, max_rows: int, **pairs: int) -> None:
    for name, count in [*pairs.items(), ("max_rows", max_rows)]:
        if count < 2:
            raise SettingError(f"{what}: expected {name} of at least 2; got {count}.")
