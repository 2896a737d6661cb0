"""k-means as a scikit-learn estimator: the same names, a different engine."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from engine.clustering.rows import Centroids, FloatMatrix
from engine.clustering.rows_array import ArrayRows
from engine.clustering.seeding import TooFewDistinctRowsError
from engine.clustering.solve import FULL_STARTS, SEEDINGS, SOLVERS, Solution, solve
from engine.errors import DataError, SettingError

FAR_FROM_ZERO = 16.0
"""A feature whose values lie this many times their spread away from zero is moved there before distances are taken."""

Start = str | ArrayLike | Callable[..., ArrayLike]


class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """k-means clustering: k centroids such that customers lie near one of them.

    A drop-in for ``sklearn.cluster.KMeans`` on dense data. It differs where that helps: several starts by default,
    a solver for many rows that searches on a sample and certifies the result on all of them, results that are equal
    bit for bit for any number of threads. More clusters than different rows is a warning, as in scikit-learn (the
    engine's own :func:`engine.clustering.solve.solve` refuses it).

    Parameters
    ----------
    n_clusters : int
        Number of clusters, from 1 to the number of rows.
    init : {"k-means++", "random"}, callable or (n_clusters, n_features) array
        How the first centroids are drawn, or the centroids themselves. A callable is called with X, n_clusters and
        ``random_state``.
    n_init : "auto" or int
        Starts, of which the best is kept. ``auto``: 10, or 1 when ``init`` is an array. The sample solver makes 24
        or more.
    max_iter : int
        Most moves of a start.
    tol : float
        A start rests when the sum of the centroids' squared shifts is at most ``tol`` times the mean variance of the
        features.
    verbose : int
        Accepted for compatibility, and without effect: progress is logged at debug level.
    random_state : int, RandomState instance or None
        Source of chance. An int gives the same result each time, on any number of threads.
    copy_x : bool
        Accepted for compatibility, and without effect: X is never written to.
    algorithm : {"lloyd", "elkan"}
        Accepted for compatibility, and without effect: both name ways to the same result.
    solver : {"auto", "full", "sample"}
        ``full``: all rows in every step. ``sample``: see :mod:`engine.clustering.solve`. ``auto``: full below
        100,000 rows, or when ``init`` gives centroids.

    Attributes
    ----------
    cluster_centers_ : (n_clusters, n_features) float64
    labels_ : (n_samples,) int32
        Number of the cluster of each row; equal to ``predict(X)``.
    inertia_ : float
        Weighted sum of squared distances of all rows to their cluster's centre, added in float64.
    n_iter_ : int
        Moves of the start that won.
    n_features_in_ : int
    feature_names_in_ : (n_features,) array of str
        When X has string column names.

    Examples
    --------
    >>> X = [[1.0, 2.0], [1.0, 4.0], [1.0, 0.0], [10.0, 2.0], [10.0, 4.0], [10.0, 0.0]]
    >>> model = KMeans(n_clusters=2, random_state=0).fit(X)
    >>> sorted(model.cluster_centers_.tolist()), model.inertia_
    ([[1.0, 2.0], [10.0, 2.0]], 16.0)
    >>> bool(model.predict([[0.0, 0.0]])[0] == model.labels_[0])
    True
    """

    cluster_centers_: Centroids
    labels_: NDArray[np.int32]
    inertia_: float
    n_iter_: int

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Start = "k-means++",
        n_init: int | str = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
        solver: str = "auto",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.solver = solver

    def fit(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the centres.

        Parameters
        ----------
        X : (n_samples, n_features) array-like
            Finite numbers; float32 is solved in float32, anything else in float64.
        y : None
            Ignored; present because pipelines pass it.
        sample_weight : (n_samples,) array-like, optional
            How often each row counts.

        Returns
        -------
        self

        Raises
        ------
        SettingError
            A parameter is outside its range.
        DataError
            NaN or infinity (columns and counts are named), or fewer rows than clusters.
        """
        self._check_parameters()
        matrix = self._matrix(X, reset=True)
        weights = None if sample_weight is None else self._weights(sample_weight, matrix)
        rows = ArrayRows(matrix, weights, names=self._names())
        shift = _shift_of_rows(matrix)
        near_zero = rows if shift is None else ArrayRows(matrix - shift, weights)
        random_state = check_random_state(self.random_state)
        starts = self._starts(matrix, random_state)
        # An int is used as it is, so that the same seed means the same to the estimator and to the engine.
        seed = (
            int(self.random_state)
            if isinstance(self.random_state, Integral)
            else int(random_state.randint(np.iinfo(np.int32).max))
        )
        if starts is not None and shift is not None:
            starts = [start - shift for start in starts]
        try:
            solution = solve(
                near_zero,
                self.n_clusters,
                seed=seed,
                solver=self.solver,
                init=str(self.init) if starts is None else starts,
                n_init=None if self.n_init == "auto" else int(self.n_init),
                max_iter=self.max_iter,
                tol=self.tol,
            )
        except TooFewDistinctRowsError as few:
            solution = self._each_row_its_own(near_zero, few, seed)
        self.cluster_centers_ = solution.centroids if shift is None else solution.centroids + shift
        self.n_iter_ = solution.n_iter
        self.labels_, self.inertia_ = _nearest(matrix, self.cluster_centers_, weights)
        return self

    def fit_predict(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> NDArray[np.int32]:
        """Find the centres and return the cluster of each row."""
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X: ArrayLike) -> NDArray[np.int32]:
        """Return the number of the nearest centre of each row, (n_samples,) int32."""
        check_is_fitted(self)
        return _nearest(self._matrix(X, reset=False), self.cluster_centers_, None)[0]

    def transform(self, X: ArrayLike) -> FloatMatrix:
        """Return the Euclidean distance of each row to each centre, (n_samples, n_clusters), in the dtype of X."""
        check_is_fitted(self)
        matrix = self._matrix(X, reset=False)
        ArrayRows(matrix, names=self._names())
        distances = np.empty((len(matrix), len(self.cluster_centers_)), dtype=matrix.dtype)
        near_zero, centres = _near_zero(matrix, self.cluster_centers_)
        for number, centre in enumerate(centres.astype(matrix.dtype)):
            difference = near_zero - centre
            distances[:, number] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
        return distances

    def fit_transform(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> FloatMatrix:
        """Find the centres and return the distance of each row to each of them."""
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def score(self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None) -> float:
        """Return minus the inertia of X: higher is better, 0 is best."""
        check_is_fitted(self)
        matrix = self._matrix(X, reset=False)
        weights = None if sample_weight is None else self._weights(sample_weight, matrix)
        return -_nearest(matrix, self.cluster_centers_, weights)[1]

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _each_row_its_own(self, rows: ArrayRows, few: TooFewDistinctRowsError, seed: int) -> Solution:
        """Do as scikit-learn does when rows repeat too often: warn, and let the last clusters be empty."""
        warnings.warn(
            f"n_clusters={self.n_clusters}, but there are only {few.found} different rows: "
            f"{self.n_clusters - few.found} clusters are empty. Lower n_clusters.",
            ConvergenceWarning,
            stacklevel=3,
        )
        solution = solve(rows, few.found, seed=seed, solver="full")
        # A row at equal distance goes to the lower number, so copies of a centre stay empty.
        copies = np.repeat(solution.centroids[:1], self.n_clusters - few.found, axis=0)
        return replace(solution, centroids=np.concatenate([solution.centroids, copies]))

    def _matrix(self, X: ArrayLike, *, reset: bool) -> FloatMatrix:
        # ArrayRows looks for NaN and infinity itself, and names the columns.
        matrix: FloatMatrix = validate_data(
            self, X, reset=reset, dtype=[np.float64, np.float32], order="C", ensure_all_finite=False
        )
        return matrix

    def _weights(self, sample_weight: ArrayLike, matrix: FloatMatrix) -> NDArray[np.float64]:
        weights: NDArray[np.float64] = _check_sample_weight(
            sample_weight, matrix, dtype=np.float64, ensure_non_negative=True
        )
        return weights

    def _names(self) -> list[str] | None:
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else [str(name) for name in names]

    def _starts(self, matrix: FloatMatrix, random_state: np.random.RandomState) -> list[Centroids] | None:
        """First centroids that the caller gives, or None when they are to be drawn."""
        if isinstance(self.init, str):
            return None
        if callable(self.init):
            times = FULL_STARTS if self.n_init == "auto" else int(self.n_init)
            given = [self.init(matrix, self.n_clusters, random_state=random_state) for _ in range(times)]
        else:
            given = [self.init]
        starts = [np.array(start, dtype=np.float64) for start in given]
        wanted = (self.n_clusters, matrix.shape[1])
        for start in starts:
            if start.shape != wanted:
                raise SettingError(f"init: expected centroids of shape {wanted}; got {start.shape}.")
            if not np.isfinite(start).all():
                raise DataError("init: expected finite centroids; got NaN or infinity.")
        return starts

    def _check_parameters(self) -> None:
        """Refuse what is outside its range, naming the parameter."""
        for name, value in (("n_clusters", self.n_clusters), ("max_iter", self.max_iter)):
            if not isinstance(value, Integral) or value < 1:
                raise SettingError(f"{name}: expected a whole number, 1 or more; got {value!r}.")
        if self.n_init != "auto" and (not isinstance(self.n_init, Integral) or self.n_init < 1):
            raise SettingError(f"n_init: expected 'auto' or a whole number, 1 or more; got {self.n_init!r}.")
        if not isinstance(self.tol, Real) or not 0 <= float(self.tol) < np.inf:
            raise SettingError(f"tol: expected a number, 0 or more; got {self.tol!r}.")
        if isinstance(self.init, str) and self.init not in SEEDINGS:
            raise SettingError.from_unknown("init", self.init, SEEDINGS)
        if self.algorithm not in ("lloyd", "elkan"):
            raise SettingError.from_unknown("algorithm", self.algorithm, ("lloyd", "elkan"))
        if self.solver not in SOLVERS:
            raise SettingError.from_unknown("solver", self.solver, SOLVERS)


def _nearest(
    matrix: FloatMatrix, centres: Centroids, weights: NDArray[np.float64] | None
) -> tuple[NDArray[np.int32], float]:
    """Nearest centre of each row, and the inertia."""
    matrix, centres = _near_zero(matrix, centres)
    labels = np.empty(len(matrix), dtype=np.int32)
    inertia = ArrayRows(matrix, weights).assign(centres, labels)
    return labels, inertia


def _near_zero(matrix: FloatMatrix, centres: Centroids) -> tuple[FloatMatrix, Centroids]:
    """Rows and centres with the same numbers subtracted from both, so that their differences keep their digits."""
    shift = _shift(centres.mean(axis=0), np.ptp(centres, axis=0), matrix.dtype)
    return (matrix, centres) if shift is None else (matrix - shift, centres - shift)


def _shift_of_rows(matrix: FloatMatrix) -> FloatMatrix | None:
    """Say what to subtract from the rows, judged by a thousand of them; any value near the middle would do."""
    some = matrix[:: max(1, len(matrix) // 1000)].astype(np.float64)
    return _shift(some.mean(axis=0), np.ptp(some, axis=0), matrix.dtype)


def _shift(middle: NDArray[np.float64], spread: NDArray[np.float64], dtype: np.dtype[Any]) -> FloatMatrix | None:
    """Middle of the features so far from zero that a centroid would lose its last digits; None without such."""
    far = np.abs(middle) > FAR_FROM_ZERO * spread
    return np.where(far, middle, 0.0).astype(dtype) if far.any() else None
