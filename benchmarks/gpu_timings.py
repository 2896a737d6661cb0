"""What is timed on a GPU: moves, fits and sweeps, beside the copy bandwidth, other libraries and the processor."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import gpu_rivals as others
from benchmarks.gpu_rivals import NotMeasuredError, WrongAnswerError, rows_of, starts_of
from benchmarks.gpu_run import SIZES, Matrix, Run
from engine.clustering.lloyd import lloyd
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_cuda import CudaRows
from engine.clustering.solve import solve
from engine.clustering.sweep import Tries, sweep
from engine.clustering.trial import Trial


def passes(run: Run, card: CudaRows, X: Matrix, k: int) -> None:
    """Time moves without a word to the host, and one step that the host waits for."""
    moves, (n, d) = SIZES[run.size].moves, X.shape
    start = starts_of(X, k, run.seed)

    def settled() -> dict[str, Any]:
        made = []
        # With a tolerance below 0 nobody rests.
        seconds = run.timed(lambda: made.append(int(card.settle([start], moves, -1.0)[1][0])))
        if made[-1] != moves:
            raise NotMeasuredError(f"expected {moves} moves, made {made[-1]}: a cluster has lost its rows")
        return run.reads(seconds, n, d, moves)

    run.figure("move", (n, d, k), settled)
    run.figure("step", (n, d, k), lambda: run.reads(run.timed(lambda: card.step([start])), n, d))


def fits(run: Run, card: CudaRows, X: Matrix, k: int) -> None:
    """Time fits: rows on the card, rows that first go there, rows that pass through it, each beside its inertia."""
    shape = (*X.shape, k)

    def inertia(centroids: NDArray[np.float64]) -> float:
        return float(card.step([centroids])[0].inertia)

    def best_known() -> dict[str, Any]:
        tried = [solve(card, k, seed=seed).centroids for seed in range(3)]
        costs = [inertia(one) for one in tried]
        (rest,) = lloyd(card, [tried[int(np.argmin(costs))]], max_iter=10 * SIZES[run.size].moves)
        return {"inertia": min(*costs, inertia(rest.centroids))}

    def fitted(prepare: Callable[[], CudaRows], repeats: int | None = None) -> dict[str, Any]:
        found: list[Any] = []
        seconds = run.timed(lambda: found.append(solve(prepare(), k, seed=7)), repeats)
        ratio = inertia(found[-1].centroids) / best if best else float("inf")
        if ratio > 1.001:
            raise NotMeasuredError(f"expected an inertia within 0.1 % of the best known; it is {ratio:.6f} times that")
        return {"seconds": seconds, "ratio": ratio, "passes": float(found[-1].passes)}

    def sent() -> dict[str, Any]:
        from engine.clustering.cuda_tiles import cuda

        # Pinned: what is to be seen is how much of the search is hidden behind the copy.
        with cuda.pinned(X):
            there, flat = cuda.device_array(X.size, np.float32), X.reshape(-1)
            copy = statistics.median(run.timed(lambda: there.copy_to_device(flat), 3))
            found = fitted(lambda: run.hold(X), 3)
        return found | {"times_the_copy": statistics.median(found["seconds"]) / max(copy, 1e-12)}

    best = run.figure("best known", shape, best_known)["facts"].get("inertia", 0.0)
    run.figure("fit, on the card", shape, lambda: fitted(lambda: card))
    run.figure("fit, sent first", shape, sent)
    # The rows are pinned anew for each of these fits, which is part of what they take.
    run.figure("fit, streamed", shape, lambda: fitted(lambda: run.hold(X, streamed=True), 3))
    streamed, start = run.hold(X, streamed=True), starts_of(X, k, run.seed)
    run.figure("step, streamed", shape, lambda: run.reads(run.timed(lambda: streamed.step([start]), 3), *X.shape))


def sweeps(run: Run, card: CudaRows, X: Matrix, k: int) -> None:
    """Time a sweep of k = 2 to 20 with its exact silhouettes, rows held already."""

    def swept() -> dict[str, Any]:
        tries, ks = Tries(X, device="cuda", silhouette_rows=0), range(2, 4 if run.simulated else 21)
        found: list[list[Trial]] = []
        seconds = run.timed(lambda: found.append(list(sweep(tries, ks, seed=1))), 3)
        where = {trial.device for trial in found[-1]}
        if where != {"cuda"}:
            raise NotMeasuredError(f"expected all trials on the card; they were on {sorted(where)}")
        return {"seconds": seconds, "best_silhouette": max(trial.silhouette or 0.0 for trial in found[-1])}

    run.figure("sweep", X.shape, swept)


def beside_the_cpu(run: Run, card: CudaRows, X: Matrix, k: int) -> None:
    """Do the same on this machine's processor, and compare."""
    X = X[: SIZES[run.size].cpu_rows]
    rows, start, shape = ArrayRows(X), starts_of(X, k, run.seed), (*X.shape, k)

    def compared() -> dict[str, Any]:
        card = run.hold(X)
        (here,), (there,) = rows.step([start]), card.step([start])
        off = abs(here.inertia - there.inertia) / here.inertia
        if off > 1e-6:
            raise WrongAnswerError(f"expected the processor's inertia within 1e-6; it is off by {off:.2g}")
        one, other = (solve(who, k, seed=7).centroids for who in (rows, card))
        fit_off = abs(card.step([one])[0].inertia / card.step([other])[0].inertia - 1.0)
        return {"inertia_off": off, "fit_inertia_off": fit_off}

    run.figure("card and processor", shape, compared)
    own = partial(run.timed, on_card=False)
    run.figure("step, processor", shape, lambda: run.reads(own(lambda: rows.step([start])), *X.shape))
    run.figure("fit, processor", shape, lambda: {"seconds": own(lambda: solve(rows, k, seed=7))})


def rivals(run: Run, card: CudaRows, X: Matrix, k: int) -> None:
    """Time a move of other libraries from the same centroids, and compare where they moved to."""
    size = SIZES[run.size]
    (stats,) = card.step([starts_of(X, k, run.seed)])
    right = stats.sums / np.maximum(stats.counts, 1.0)[:, np.newaxis]

    def raced(name: str) -> dict[str, Any]:
        limit = max(1.0, min(45.0, run.left()))
        found = others.measured_rival(name, (*X.shape, k), run.seed, size.moves, size.repeats, limit)
        off = float(np.abs(np.asarray(found["centroids"]) - right).max())
        facts = run.reads(found["seconds"], *X.shape) | {"centroids_off": off, "library": found["version"]}
        if off > 1e-2:
            raise NotMeasuredError(f"its centroids are off by {off:.2g}: its {facts['seconds'][0]:.3g} s do not count")
        return facts

    for name in others.RIVALS:
        run.figure(name, (*X.shape, k), partial(raced, name))


def timings(run: Run) -> None:
    """Measure all but the answers, the most important first."""
    size = SIZES[run.size]
    for name, copied in others.copies(size.copied_bytes, run.timed).items():
        rate = run.figure(name, (), copied)["facts"].get("bytes_per_s")
        run.copy = rate if name == "copy on the card" else run.copy
    first, *more = size.features
    n, wide, k = size.wide
    _of_width(run, first, size.rows, size.clusters, (fits, rivals, sweeps, beside_the_cpu))
    _of_width(run, wide, (n,), (k,), (rivals,))
    for d in more:
        _of_width(run, d, size.rows, size.clusters, ())


def _of_width(
    run: Run, d: int, rows: Sequence[int], clusters: Sequence[int], also: Sequence[Callable[..., None]]
) -> None:
    """Time every number of rows and clusters of d features; with the first of both ``also`` all else."""
    whole = run.attempt("rows", (rows[0], d), partial(rows_of, rows[0], d, run.seed))
    for n in rows:
        if whole is None:
            break
        X = whole[:n]
        card = run.attempt("hold", (n, d), partial(run.hold, X))
        for k in clusters:
            for measure in (passes, *(also if (n, k) == (rows[0], clusters[0]) else ())):
                if card is not None:
                    run.attempt(measure.__name__, (n, d, k), partial(measure, run, card, X, k))
