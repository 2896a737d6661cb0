"""k-means as a scikit-learn estimator: the same names, a different engine."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from engine.clustering.estimator_input import check_enough, given_centroids, rows_on_device, rows_to_cluster
from engine.clustering.estimator_settings import check_parameters, how_it_ended, why_empty
from engine.clustering.near_zero import TableRows, distances, moved, nearest, precision, shift_of_rows
from engine.clustering.on_device import device_of
from engine.clustering.rows import Centroids, FloatMatrix
from engine.clustering.rows_cuda import CudaRows
from engine.clustering.rows_file import FileRows
from engine.clustering.rows_sparse import SparseRows, solve_sparse
from engine.clustering.running_means import RunningMeans
from engine.clustering.seeding import TooFewDistinctRowsError
from engine.clustering.solve import FULL_STARTS, Solution, solve
from engine.errors import SettingError

Start = str | ArrayLike | Callable[..., ArrayLike]


class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """k-means clustering: k centroids such that customers lie near one of them.

    A drop-in for ``sklearn.cluster.KMeans``. It differs where that helps: several starts by default, a solver for
    many rows that searches on a sample and certifies the result on all of them, results that are equal bit for bit
    for any number of threads, and batches that are learned one after the other (:meth:`partial_fit`).

    X may be anything that holds a table of numbers: arrays, SciPy's sparse matrices (solved without being made dense
    as a whole), Polars, Arrow and pandas frames, whose column names become the features', and Dask arrays and frames,
    which are computed into memory block by block, so that all rows must fit there. Rows that do not fit are opened
    with :class:`engine.clustering.rows_file.FileRows` and passed as X.

    Parameters
    ----------
    n_clusters : int
        Number of clusters, from 1 to the number of rows. More clusters than different rows is a warning, as in
        scikit-learn, and the last ones stay empty.
    init : {"k-means++", "random"}, callable or (n_clusters, n_features) array
        How the first centroids are drawn, or the centroids themselves. A callable is called with X as it is held
        (rows in a file: the ``FileRows``), n_clusters and ``random_state``.
    n_init : "auto" or int
        Starts, of which the best is kept. ``auto``: 10, or 1 when ``init`` is an array. The sample solver makes 64
        or more when asked.
    max_iter : int
        Most moves of a start. The sample solver moves its best starts on in several stages, on more and more rows, and
        each stage may make so many: ``n_iter_``, which counts them all, may then be larger.
    tol : float
        A start rests when the sum of the centroids' squared shifts is at most ``tol`` times the mean variance of the
        features.
    verbose : int
        Above 0, say on standard output how the best start ended.
    random_state : int, RandomState instance or None
        Source of chance. An int gives the same result each time, on any number of threads.
    copy_x : bool
        Accepted for compatibility, and without effect: X is never written to.
    algorithm : {"lloyd", "elkan"}
        Accepted for compatibility, and without effect: both name ways to the same result.
    solver : {"auto", "full", "sample"}
        ``full``: all rows in every step. ``sample``: see :mod:`engine.clustering.solve`. ``auto``: full below
        100,000 rows (unless a limit is set), when ``init`` gives centroids, or when X is sparse.
    max_passes : int, optional
        Most reads of all rows in the search of the sample solver, 1 or more; about six by default. Those that give
        ``labels_`` and ``inertia_`` at the end come on top.
    max_seconds : float, optional
        Time after which that search begins nothing new; what is under way is ended. The result then depends on the
        machine. Both limits are kept by the sample solver alone: with ``solver="full"``, a sparse X or an ``init``
        that gives centroids they are refused. :meth:`partial_fit` has no need of them.
    device : {"auto", "cpu", "cuda"}
        Where :meth:`fit` reads the rows. ``cuda``: an NVIDIA GPU, or an error; ``auto``: a GPU where there is one and
        X is dense, in memory, and so large that it pays (2³⁰ values). Other methods work on the CPU.

    Attributes
    ----------
    cluster_centers_ : (n_clusters, n_features) float32 or float64
        In the precision of X.
    labels_ : (n_samples,) int32
        Number of the cluster of each row; equal to ``predict(X)``, where a GPU found them but for rows that only
        rounding tells to be nearer to one centre than to another.
    inertia_ : float
        Weighted sum of squared distances of all rows to the nearest of ``cluster_centers_``, added in float64.
    n_iter_ : int
        Moves of the start that won, on the sample and on all rows together; where a limit stopped the search, those
        made until then.
    stop_reason_ : str
        Why they ended: ``fixed point``, ``tolerance``, ``max_iter``, ``polished`` (a further read would gain next to
        nothing), ``max_passes`` or ``max_seconds``.
    residual_ : float
        How far that is from a fixed point of Lloyd's algorithm, which has 0: the share of the inertia that a move of
        the centroids takes off before any row changes its cluster. Solver ``full``: one further move; ``sample``: the
        last move over all rows.
    device_ : str
        Where the last :meth:`fit` read the rows: ``cpu``, ``cuda``, or ``cpu`` with what the GPU failed with.
    n_steps_ : int
        Batches learned by :meth:`partial_fit`.
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

    cluster_centers_: FloatMatrix
    labels_: NDArray[np.int32]
    inertia_: float
    n_iter_: int
    stop_reason_: str
    residual_: float
    device_: str
    n_steps_: int
    _means: RunningMeans | None

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
        max_passes: int | None = None,
        max_seconds: float | None = None,
        device: str = "auto",
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
        self.max_passes = max_passes
        self.max_seconds = max_seconds
        self.device = device

    def fit(self, X: Any, y: None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the centres.

        Parameters
        ----------
        X : array-like, sparse matrix, frame, Dask collection or FileRows, (n_samples, n_features)
            Finite numbers; float32 is solved in float32 (sparse: in float64), anything else in float64.
        y : None
            Ignored; present because pipelines pass it.
        sample_weight : (n_samples,) array-like, optional
            How often each row counts; rows in a file count once each.

        Returns
        -------
        self

        Raises
        ------
        SettingError
            A parameter is outside its range, or contradicts another or X.
        DataError
            Not a table of finite numbers (columns and counts are named), impossible weights, or fewer rows than
            clusters.
        DeviceError
            ``device="cuda"``, and no GPU can be used, or it failed.
        """
        self._fit(X, sample_weight)
        return self

    def partial_fit(self, X: Any, y: None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn one more batch: each centre becomes the mean of all rows that ever were nearest to it.

        A row is counted for the centre that was nearest when its batch came, and is not asked again. The first batch
        gives the first centres (``init`` and ``n_init`` mean what they mean to :meth:`fit`, one move included), unless
        the model was fitted before: then its rows count as learned. ``labels_`` and ``inertia_`` are those of the
        batch.

        Parameters
        ----------
        X : array-like, sparse matrix, frame, Dask collection or FileRows, (n_samples, n_features)
            The first batch needs as many rows as there are clusters; a later one may be a single row.
        y : None
            Ignored.
        sample_weight : (n_samples,) array-like, optional
            How often each row counts.

        Returns
        -------
        self

        Raises
        ------
        SettingError, DataError
            As :meth:`fit`.

        References
        ----------
        D. Sculley, "Web-scale k-means clustering", WWW 2010: the mini-batch step, whose learning rate of one over the
        rows seen makes each centre a running mean. Here the sums are kept, in float64.

        Examples
        --------
        >>> model = KMeans(2, random_state=0).partial_fit([[0.0], [10.0]]).partial_fit([[2.0], [10.0], [13.0]])
        >>> sorted(model.cluster_centers_[:, 0].tolist()), model.n_steps_
        ([1.0, 11.0], 2)
        """
        check_parameters(self)
        first = not hasattr(self, "cluster_centers_")
        rows = rows_to_cluster(self, X, sample_weight, reset=first)
        if first:
            centres, dtype = self._first_centres(rows), precision(rows)
            self._means = RunningMeans(np.zeros(len(centres)), np.zeros_like(centres))
            self.n_steps_ = 0
        else:
            if self._means is None:
                self._means = RunningMeans.of(self._centres(), self.labels_)
            centres, dtype = self._means.without_copies(rows, self._centres()), self.cluster_centers_.dtype
        self.cluster_centers_ = self._means.learn(rows, centres).astype(dtype)
        self.labels_, self.inertia_ = nearest(rows, self._centres())
        self.n_steps_ += 1
        return self

    def fit_predict(self, X: Any, y: None = None, sample_weight: ArrayLike | None = None) -> NDArray[np.int32]:
        """Find the centres and return the cluster of each row."""
        self._fit(X, sample_weight)
        return self.labels_

    def predict(self, X: Any) -> NDArray[np.int32]:
        """Return the number of the nearest centre of each row, (n_samples,) int32."""
        check_is_fitted(self)
        return nearest(rows_to_cluster(self, X, reset=False), self._centres())[0]

    def transform(self, X: Any) -> FloatMatrix:
        """Return the Euclidean distance of each row to each centre, (n_samples, n_clusters), in the dtype of X."""
        check_is_fitted(self)
        return distances(rows_to_cluster(self, X, reset=False), self._centres())

    def fit_transform(self, X: Any, y: None = None, sample_weight: ArrayLike | None = None) -> FloatMatrix:
        """Find the centres and return the distance of each row to each of them."""
        return distances(self._fit(X, sample_weight), self._centres())

    def score(self, X: Any, y: None = None, sample_weight: ArrayLike | None = None) -> float:
        """Return minus the inertia of X: higher is better, 0 is best."""
        check_is_fitted(self)
        return -nearest(rows_to_cluster(self, X, sample_weight, reset=False), self._centres())[1]

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = True
        return tags

    def _fit(self, X: Any, sample_weight: ArrayLike | None) -> TableRows:
        check_parameters(self)
        rows = rows_to_cluster(self, X, sample_weight, reset=True)
        shift = shift_of_rows(rows)
        near = rows_on_device(moved(rows, shift), self.device)
        limits = {"max_iter": self.max_iter, "max_passes": self.max_passes, "max_seconds": self.max_seconds}
        solution = self._solved(rows, near, shift, **limits)
        self.cluster_centers_ = solution.centroids.astype(precision(rows))
        self.n_iter_, self.stop_reason_, self.residual_ = solution.n_iter, solution.stop_reason, solution.residual
        if isinstance(near, CudaRows):
            self.labels_ = np.empty(rows.n, dtype=np.int32)
            self.inertia_ = near.assign(self._centres() - (0.0 if shift is None else shift), self.labels_)
        else:
            self.labels_, self.inertia_ = nearest(rows, self._centres())
        self.device_ = device_of(near)
        # Without weights the labels say it all, and a fit that no batch follows need not count them.
        weighted = rows.weights is not None
        self._means = RunningMeans.of(self._centres(), self.labels_, rows.weights) if weighted else None
        self.n_steps_ = 0
        if self.verbose:
            print(how_it_ended(solution, self.inertia_, self.tol))  # noqa: T201 - verbose asks for it
        return rows

    def _centres(self) -> Centroids:
        """Centres to measure with: those that are public, which may have been set since."""
        return np.asarray(self.cluster_centers_, dtype=np.float64)

    def _solved(
        self, rows: TableRows, near: TableRows | CudaRows, shift: FloatMatrix | None, **limits: Any
    ) -> Solution:
        """Solve near zero, where the rows are without their shift, and move the centroids back."""
        check_enough(rows, self.n_clusters)
        try:
            random_state = check_random_state(self.random_state)
        except ValueError as error:
            raise SettingError(f"random_state: {error}") from error
        starts = self._starts(rows, random_state)
        # An int is used as it is, so that the same seed means the same to the estimator and to the engine.
        seed = (
            int(self.random_state)
            if isinstance(self.random_state, Integral)
            else int(random_state.randint(np.iinfo(np.int32).max))
        )
        if starts is not None and shift is not None:
            starts = [start - shift for start in starts]
        init = str(self.init) if starts is None else starts
        n_init = None if self.n_init == "auto" else int(self.n_init)
        try:
            solution = self._search(near, self.n_clusters, seed, init=init, n_init=n_init, **limits)
        except TooFewDistinctRowsError as few:
            solution = self._each_row_its_own(near, few.found, seed)
        return solution if shift is None else replace(solution, centroids=solution.centroids + shift)

    def _search(
        self,
        rows: TableRows | CudaRows,
        k: int,
        seed: int,
        *,
        max_passes: int | None = None,
        max_seconds: float | None = None,
        **options: Any,
    ) -> Solution:
        if not isinstance(rows, SparseRows):
            options |= {"max_passes": max_passes, "max_seconds": max_seconds}
            return solve(rows, k, seed=seed, solver=self.solver, tol=self.tol, **options)
        if self.solver == "sample":
            raise SettingError("solver: 'sample' is for dense rows; with a sparse X use 'full' or 'auto'.")
        for name, limit in (("max_passes", max_passes), ("max_seconds", max_seconds)):
            if limit is not None:
                raise SettingError(f"{name}: kept with dense rows only; got {limit}. With a sparse X set it to None.")
        return solve_sparse(rows, k, seed=seed, tol=self.tol, **options)

    def _each_row_its_own(self, near: TableRows | CudaRows, found: int, seed: int) -> Solution:
        """Do as scikit-learn does when rows repeat too often: warn, and let the last clusters be empty."""
        rows = near.in_memory() if isinstance(near, CudaRows) else near
        warnings.warn(why_empty(rows, found, self.n_clusters), ConvergenceWarning, stacklevel=5)
        solver = solve_sparse if isinstance(rows, SparseRows) else solve
        solution: Solution = solver(rows, found, seed=seed)  # type: ignore[arg-type]
        # A row at equal distance goes to the lower number, so copies of a centre stay empty.
        copies = np.repeat(solution.centroids[:1], self.n_clusters - found, axis=0)
        return replace(solution, centroids=np.concatenate([solution.centroids, copies]))

    def _first_centres(self, rows: TableRows) -> Centroids:
        """Centres before the first batch is counted."""
        if isinstance(self.init, str) or callable(self.init):
            shift = shift_of_rows(rows)
            return self._solved(rows, moved(rows, shift), shift, max_iter=1).centroids
        check_enough(rows, self.n_clusters)
        return given_centroids(self.init, self.n_clusters, rows.d)

    def _starts(self, rows: TableRows, random_state: np.random.RandomState) -> list[Centroids] | None:
        """First centroids that the caller gives, or None when they are to be drawn."""
        if isinstance(self.init, str):
            return None
        if callable(self.init):
            times = FULL_STARTS if self.n_init == "auto" else int(self.n_init)
            held = rows if isinstance(rows, FileRows) else rows.matrix
            drawn = (self.init(held, self.n_clusters, random_state=random_state) for _ in range(times))
            return [given_centroids(start, self.n_clusters, rows.d) for start in drawn]
        if self.n_init not in ("auto", 1):
            warnings.warn(
                f"Explicit initial center position passed: performing only one init instead of n_init={self.n_init}. "
                "Set n_init=1.",
                RuntimeWarning,
                stacklevel=5,
            )
        return [given_centroids(self.init, self.n_clusters, rows.d)]
