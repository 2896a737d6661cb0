"""Whether it matters which backend finds the segments: all of them on the same rows, judged by one measure."""

from __future__ import annotations

import logging
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from engine.clustering.agreement import adjusted_rand, match_clusters
from engine.clustering.backends import BACKENDS, check_settings
from engine.clustering.checks import check_k, checked_matrix
from engine.clustering.parity_process import Fit, FitFailedError, Task, fit_apart
from engine.clustering.parity_result import Agreement, Line, Parity
from engine.clustering.quality import inertia
from engine.clustering.solve import FULL_BELOW_ROWS
from engine.errors import SettingError

log = logging.getLogger(__name__)

LIMIT_S = 1800.0
"""Seconds that one fit may take."""

_LISTEN_S = 0.3


def parity(
    matrix: NDArray[np.float32],
    k: int,
    *,
    backends: Sequence[str] = tuple(BACKENDS),
    seed: int = 0,
    threads: int | None = None,
    bucket_rows: Sequence[int] | None = None,
    limit_s: float = LIMIT_S,
    on_line: Callable[[str, int, int], None] | None = None,
) -> Parity:
    """Fit the same rows with several backends and tell how far they differ: time, memory, inertia, people.

    Each fit has a process of its own, one after the other on this machine, and inertia is computed here by one
    function in float64. A backend that is not installed, fails, dies or takes too long is a line with its reason, and
    the others go on. Native clustering appears twice, with all rows and with a sample, where there are rows enough
    for a sample (100,000). FAISS and scikit-learn train on all rows. A fit that takes less than 5 seconds is made three
    times, and the median and the range of its seconds are told.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, d)
        Scaled features, finite. It is written to a temporary folder once, n × d × 4 bytes, and removed.
    k : int
        Number of clusters, 1 up to the number of distinct rows.
    backends : sequence of str
        At least two of :data:`engine.clustering.backends.BACKENDS`; all of them by default.
    seed : int
        Random choices of each backend follow from it, 0 to 2**31 - 1.
    threads : int, optional
        Threads of each; all cores by default.
    bucket_rows : sequence of int, optional
        Rows of each bucket, in the matrix's order; they sum to n. Native and Dask-ML clustering then work on blocks.
    limit_s : float
        Seconds that one fit may take; half an hour by default.
    on_line : callable, optional
        Called with the name of each line when it is done, how many are done, and how many there are.

    Returns
    -------
    Parity

    Raises
    ------
    SettingError
        Fewer than two backends, an unknown one or one named twice; k, seed, threads or limit_s out of range; too
        little memory or room in the temporary folder for another copy of the rows.
    DataError
        No rows, values that are not finite, fewer distinct rows than k, or buckets that do not hold n rows together.

    Examples
    --------
    >>> rows = np.array([[0.0], [1.0], [10.0], [11.0]], dtype=np.float32)
    >>> found = parity(rows, 2, backends=["native", "faiss"], threads=1)
    >>> [(line.name, line.inertia) for line in found.lines], found.rand("native", "faiss")
    ([('native', 1.0), ('faiss', 1.0)], 1.0)
    """
    asked = check_backends(backends)
    for backend in asked:
        check_settings(backend=backend, solver="auto", seed=seed, threads=threads)
    if not limit_s > 0:
        raise SettingError(f"parity: limit_s: expected seconds above 0; got {limit_s:g}.")
    X = checked_matrix(matrix)
    check_k(X, k)
    if bucket_rows is not None:
        from engine.clustering.rows_blocks import block_edges, check_edges

        check_edges(block_edges(bucket_rows), len(X))
    contestants = _contestants(asked, len(X))
    others = busy_cores()
    with tempfile.TemporaryDirectory(prefix="cartera-parity-", ignore_cleanup_errors=True) as scratch:
        _check_room(X, len(contestants), Path(scratch))
        file = Path(scratch) / "matrix.npy"
        np.save(file, X)
        fits: dict[str, Fit] = {}
        failed: dict[str, str] = {}
        for done, (name, backend, solver) in enumerate(contestants, 1):
            folder = Path(scratch) / name.replace(" ", "_")
            folder.mkdir()
            task = Task(
                matrix=str(file),
                folder=str(folder),
                backend=backend,
                solver=solver,
                k=k,
                seed=seed,
                threads=threads,
                bucket_rows=None if bucket_rows is None else tuple(map(int, bucket_rows)),
            )
            try:
                fits[name] = fit_apart(task, limit_s=limit_s)
            except FitFailedError as error:
                log.debug("parity: %s failed: %s", name, error)
                failed[name] = str(error)
            if on_line is not None:
                on_line(name, done, len(contestants))
        inertias = {name: inertia(X, one.centroids, threads=threads) for name, one in fits.items()}
        lowest = min(inertias.values(), default=0.0)
        lines = [
            Line(name=name, backend=backend, solver=solver, error=failed[name])
            if name in failed
            else _line(name, backend, solver, fits[name], inertias[name], lowest)
            for name, backend, solver in contestants
        ]
        agreements = [
            Agreement(
                a,
                b,
                adjusted_rand(fits[a].labels, fits[b].labels),
                match_clusters(fits[a].labels, fits[b].labels).kept_share,
            )
            for a, b in combinations(fits, 2)
        ]
    return Parity(
        rows=len(X),
        features=X.shape[1],
        k=k,
        seed=seed,
        lines=tuple(lines),
        agreements=tuple(agreements),
        busy_cores=others,
    )


def busy_cores() -> float:
    """Return how many of the machine's cores others keep busy: the mean of 0.3 s in which this process waits.

    The load average would not tell: it is of the last minute, and this process may have worked until now.

    Examples
    --------
    >>> 0.0 <= busy_cores() <= psutil.cpu_count()
    True
    """
    before = psutil.cpu_times()
    own = time.process_time()
    time.sleep(_LISTEN_S)
    after = psutil.cpu_times()
    own = time.process_time() - own
    # Waiting for a disk and running for another machine are no work here.
    names = [name for name in after._fields if name not in ("idle", "iowait", "steal", "guest", "guest_nice")]
    busy = sum(getattr(after, name) - getattr(before, name) for name in names)
    return float(min(psutil.cpu_count() or 1, max(0.0, busy - own) / _LISTEN_S))


def check_backends(backends: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the backends, or raise :class:`SettingError` unless they are two or more that exist.

    Examples
    --------
    >>> check_backends(["native", "faiss"])
    ('native', 'faiss')
    """
    names = (backends,) if isinstance(backends, str) else tuple(backends)
    for name in names:
        if name not in BACKENDS:
            raise SettingError.from_unknown("parity", name, BACKENDS)
    if len(set(names)) < len(names):
        raise SettingError(f"parity: expected each backend once; got {', '.join(names)}.")
    if len(names) < 2:
        raise SettingError(
            f"parity: expected at least two backends to compare, of {', '.join(BACKENDS)}; "
            f"got {names[0] if names else 'none'}."
        )
    return names


def _contestants(backends: Sequence[str], rows: int) -> list[tuple[str, str, str]]:
    """Return name, backend and solver of each line."""
    found = []
    for backend in backends:
        if backend != "native":
            found.append((backend, backend, "auto"))
        elif rows < FULL_BELOW_ROWS:
            found.append((backend, backend, "full"))
        else:
            found += [(f"{backend} {solver}", backend, solver) for solver in ("full", "sample")]
    return found


def _line(name: str, backend: str, solver: str, fit: Fit, total: float, lowest: float) -> Line:
    return Line(
        name=name,
        backend=backend,
        solver="full" if backend != "native" else solver,
        seconds=statistics.median(fit.seconds),
        seconds_lowest=min(fit.seconds),
        seconds_highest=max(fit.seconds),
        fits=len(fit.seconds),
        memory_added_mib=fit.memory_added_mib,
        inertia=total,
        # Where the best lies on every row, another does too or is worse beyond any ratio.
        inertia_ratio=total / lowest if lowest > 0 else 1.0 if total == 0 else None,
        reported_inertia=fit.reported_inertia,
        rows_used=fit.rows_used,
        n_iter=fit.n_iter,
        stop_reason=fit.stop_reason,
    )


def _check_room(X: NDArray[np.float32], lines: int, scratch: Path) -> None:
    """Raise unless memory and temporary folder can take another copy of the rows."""
    labels = 4 * len(X)
    needs = X.nbytes + 2 * labels
    free = int(psutil.virtual_memory().available)
    if needs > free:
        raise SettingError(
            f"parity: expected room for another copy of the rows, {needs / 2**30:.2f} GiB of memory; "
            f"{free / 2**30:.2f} GiB are free. End other programs, or compare on fewer customers (where=)."
        )
    needs, free = X.nbytes + lines * labels, shutil.disk_usage(scratch).free
    if needs > free:
        raise SettingError(
            f"parity: expected room for another copy of the rows, {needs / 2**30:.2f} GiB in {scratch.parent}; "
            f"{free / 2**30:.2f} GiB are free. Set TMPDIR to a folder with more."
        )
