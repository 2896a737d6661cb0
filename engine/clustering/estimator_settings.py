"""What the estimator says: which parameters it refuses, why clusters are empty, how a fit ended."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

from engine.clustering.checks import distinct_rows
from engine.clustering.near_zero import TableRows
from engine.clustering.rows_array import ArrayRows
from engine.clustering.seeding import SEEDINGS
from engine.clustering.solve import SOLVERS, Solution, check_limits
from engine.device import DEVICES
from engine.errors import SettingError

if TYPE_CHECKING:
    from engine.clustering.kmeans import KMeans


def check_parameters(model: KMeans) -> None:
    """Raise :class:`SettingError` where a parameter is outside its range or contradicts another, naming it.

    Examples
    --------
    >>> from engine.clustering import KMeans
    >>> check_parameters(KMeans(0))
    Traceback (most recent call last):
    engine.errors.SettingError: n_clusters: expected a whole number, 1 or more; got 0.
    """
    for name, value in (("n_clusters", model.n_clusters), ("max_iter", model.max_iter)):
        if not isinstance(value, Integral) or value < 1:
            raise SettingError(f"{name}: expected a whole number, 1 or more; got {value!r}.")
    if model.n_init != "auto" and (not isinstance(model.n_init, Integral) or model.n_init < 1):
        raise SettingError(f"n_init: expected 'auto' or a whole number, 1 or more; got {model.n_init!r}.")
    if not isinstance(model.tol, Real) or not 0 <= float(model.tol) < np.inf:
        raise SettingError(f"tol: expected a number, 0 or more; got {model.tol!r}.")
    if isinstance(model.init, str) and model.init not in SEEDINGS:
        raise SettingError.from_unknown("init", model.init, SEEDINGS)
    if model.algorithm not in ("lloyd", "elkan"):
        raise SettingError.from_unknown("algorithm", model.algorithm, ("lloyd", "elkan"))
    if model.solver not in SOLVERS:
        raise SettingError.from_unknown("solver", model.solver, SOLVERS)
    if model.device not in DEVICES:
        raise SettingError.from_unknown("device", model.device, DEVICES)
    check_limits(model.solver if isinstance(model.init, str) else "full", model.max_passes, model.max_seconds)
    if model.algorithm == "elkan" and model.n_clusters == 1:
        warnings.warn(
            "algorithm='elkan' doesn't make sense for a single cluster: there is no distance to save.",
            RuntimeWarning,
            stacklevel=4,
        )


def how_it_ended(solution: Solution, inertia: float, tol: float) -> str:
    """Return how the best start ended, in the words that scripts look for in scikit-learn's output.

    Examples
    --------
    >>> import numpy as np
    >>> from engine.clustering.rows_array import ArrayRows
    >>> from engine.clustering.solve import solve
    >>> print(how_it_ended(solve(ArrayRows([[0.0], [1.0], [5.0]]), 1), 14.0, 1e-4))
    Initialization complete; the best of all starts is told of (solver full).
    Iteration 2, inertia 14.0.
    Converged at iteration 2: strict convergence.
    """
    ends = {
        "fixed point": "Converged at iteration {}: strict convergence.",
        "tolerance": f"Converged at iteration {{}}: center shift is within tolerance {tol}.",
        "polished": "Stopped at iteration {}: all rows were read as often as planned.",
    }
    end = ends.get(solution.stop_reason, f"Stopped at iteration {{}}: {solution.stop_reason} is reached.")
    return (
        f"Initialization complete; the best of all starts is told of (solver {solution.solver}).\n"
        f"Iteration {solution.n_iter}, inertia {inertia}.\n{end.format(solution.n_iter)}"
    )


def why_empty(rows: TableRows, found: int, n_clusters: int) -> str:
    """Return the warning about clusters that stay empty: rows repeat, or their differences are too small to square.

    Examples
    --------
    >>> why_empty(ArrayRows(np.array([[0.0], [1e-30]], dtype=np.float32)), 1, 2).partition(". ")[2]
    'More rows differ, but by so little that its square is 0 in float32. 1 cluster is empty; scale X up.'
    """
    why, advice = "Possibly due to duplicate points in X.", "lower n_clusters"
    if isinstance(rows, ArrayRows) and distinct_rows(rows.matrix, found + 1) > found:
        why, advice = f"More rows differ, but by so little that its square is 0 in {rows.matrix.dtype}.", "scale X up"
    empty = n_clusters - found
    clusters = "1 cluster is" if empty == 1 else f"{empty} clusters are"
    # The first words are those that filters of scikit-learn's warning look for.
    return (
        f"Number of distinct clusters ({found}) found smaller than n_clusters ({n_clusters}). "
        f"{why} {clusters} empty; {advice}."
    )
