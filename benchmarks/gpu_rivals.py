"""What our GPU code is held against: float64, with which it must agree; the card's bandwidth; other libraries.

A library is measured in a process of its own, ``python -m benchmarks.gpu_rivals NAME N D K SEED MOVES REPEATS``, which
makes the same rows from the seed and prints one line of JSON: what it breaks is lost with it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import ROOT
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_cuda import CudaRows
from engine.compute import available_cores

Matrix = NDArray[np.float32]
Centroids = NDArray[np.float64]
Facts = dict[str, Any]
Move = Callable[[int], Any]
"""Makes so many moves from the start, waits for them, and returns the centroids (k, d)."""

CHUNK = 2**20
"""Rows made from one generator, whatever the number of threads."""

AT_ONCE = 2**22
"""Rows that torch measures at a time, so that the distances stay small."""


class NotMeasuredError(Exception):
    """A figure cannot be had; the message says why."""


class WrongAnswerError(NotMeasuredError):
    """An answer is not that of float64."""

    def __str__(self) -> str:
        return f"wrong answer: {super().__str__()}"


def rows_of(n: int, d: int, seed: int) -> Matrix:
    """Return n rows of a dozen groups that overlap, float32 by rows; the same from the same seed.

    Examples
    --------
    >>> rows_of(3, 2, 1).shape, bool((rows_of(3, 2, 1) == rows_of(5, 2, 1)[:3]).all())
    ((3, 2), True)
    """
    centres = (1.5 * np.random.default_rng([seed, d]).normal(size=(12, d))).astype(np.float32)
    X = np.empty((n, d), np.float32)

    def fill(first: int) -> None:
        rng = np.random.default_rng([seed, d, first])
        part = X[first : first + CHUNK]
        # Drawn for a whole chunk, of which the last is a part.
        group = rng.integers(0, len(centres), CHUNK)[: len(part)]
        rng.standard_normal(out=part, dtype=np.float32)
        part += centres[group]

    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(fill, range(0, n, CHUNK)))
    return X


def starts_of(X: Matrix, k: int, seed: int) -> Centroids:
    """Return k rows to start from, (k, d), which differ: no cluster is empty at first."""
    few = X[: min(len(X), 100_000)]
    return few[np.random.default_rng([seed, k]).choice(len(few), k, replace=False)].astype(np.float64)


# --------------------------------------------------------------------------------------------------- float64


def checks(
    figure: Callable[[str, Sequence[int], Callable[[], Facts]], Any],
    processors: int,
    n: int,
    features: Sequence[int],
    seed: int,
) -> None:
    """Compare every kernel with float64 on the processor, and tell it by ``figure``.

    On a lattice, where float32 distances are exact, all must be equal; on other rows only what lies within float32's
    rounding of a border may be on its other side, and what is added up must be exact to 1e-12.
    """
    for number, d in enumerate(features):
        for weighted in (False, True):
            name = f"check, {'weights' if weighted else 'no weights'}"
            draw = np.random.default_rng([seed, d, weighted])
            # One of them in float64.
            real = "f8" if number == 1 and weighted else "f4"
            shape = (n, d)
            figure(name, shape, lambda r=draw, s=shape, w=weighted: _lattice(r, s, w, processors))  # type: ignore[misc]
            figure(
                f"{name}, {real}",
                shape,
                lambda r=draw, s=shape, w=weighted, t=real: _rounded(r, s, w, t, processors),  # type: ignore[misc]
            )


def _ks(n: int) -> list[int]:
    """Return numbers of clusters that a step measures together: they do not fit into shared memory at once."""
    return [k for k in (2, 10, 33, 100) if 4 * k <= n]


def _on_card(rows: ArrayRows, processors: int, *, streamed: bool = False) -> CudaRows:
    row_bytes = rows.d * rows.matrix.dtype.itemsize + 8 * (rows.weights is not None)
    if not streamed:
        return CudaRows(rows, memory_bytes=4 * rows.n * (row_bytes + 12) + 2**20, processors=processors,
                        streamed_bytes=2**20)  # fmt: skip
    part = -(-rows.n // 6) * row_bytes
    found = CudaRows(rows, memory_bytes=4 * part, processors=processors, streamed_bytes=part)
    _expect("streamed", not found.resident)
    return found


def _expect(what: str, right: object) -> None:
    if not right:
        raise WrongAnswerError(what)


def _weights(rng: np.random.Generator, n: int, weighted: bool) -> NDArray[np.float64] | None:
    if not weighted:
        return None
    weights = rng.integers(0, 4, n).astype(np.float64)
    weights[0] = 1.0
    return weights


def _lattice(rng: np.random.Generator, shape: tuple[int, int], weighted: bool, processors: int) -> dict[str, Any]:
    """Check on multiples of 1/16 up to 4, whose squared distances float32 holds exactly."""
    n, d = shape
    X = (rng.integers(-64, 65, (n, d)) / 16).astype(np.float32)
    rows = ArrayRows(X, _weights(rng, n, weighted))
    exact = ArrayRows(X.astype(np.float64), rows.weights)
    models = [rng.integers(-64, 65, (k, d)) / 16 for k in _ks(n)]
    card = _on_card(rows, processors)
    found = card.step(models)
    for streamed, told in ((False, found), (True, _on_card(rows, processors, streamed=True).step(models))):
        for one, right in zip(told, exact.step(models), strict=True):
            of = f"k={len(right.counts)}{', streamed' * streamed}"
            _expect(f"step: counts of {of}", np.array_equal(one.counts, right.counts))
            _expect(f"step: sums of {of}", np.array_equal(one.sums, right.sums))
            _expect(f"step: squared distances of {of}", np.array_equal(one.sse, right.sse))
    model = models[-1]
    _expect("farthest", np.array_equal(card.farthest(model), exact.farthest(model)))
    even, per_square = 0.05, 0.1 * n / max(found[-1].inertia, 1.0)
    one_draw, right_draw = (who.draw(model, even, per_square, 11) for who in (card, exact))
    _expect("draw: rows", np.array_equal(one_draw.index, right_draw.index))
    _expect("draw: squared distances", np.array_equal(one_draw.squared, right_draw.squared))
    _expect("draw: inertia", one_draw.inertia == right_draw.inertia)
    (labels, far), (right_labels, right_far) = ((np.empty(n, np.int32), np.empty(n)) for _ in range(2))
    totals = card.assign(model, labels, far), exact.assign(model, right_labels, right_far)
    _expect("assign: labels", np.array_equal(labels, right_labels))
    _expect("assign: distances", np.allclose(far, right_far, rtol=1e-6, atol=0))
    _expect("assign: inertia", totals[0] == totals[1])
    return {"largest_k": len(model), "drawn": len(right_draw.index)}


def _rounded(
    rng: np.random.Generator, shape: tuple[int, int], weighted: bool, real: str, processors: int
) -> dict[str, Any]:
    """Check on rows that float32 rounds: what is added up, two runs, rows that pass through, and moves."""
    n, d = shape
    X = (rng.normal(size=(12, d))[rng.integers(0, 12, n)] * 3 + rng.normal(size=(n, d)) / 4).astype(real)
    rows = ArrayRows(X, _weights(rng, n, weighted))
    exact = ArrayRows(X.astype(np.float64), rows.weights)
    # In the precision that the card gets them in.
    models = [X[rng.choice(n, k, replace=False)].astype(np.float64) for k in _ks(n)]
    card = _on_card(rows, processors)
    found, again = card.step(models), card.step(models)
    through = _on_card(rows, processors, streamed=True).step(models)
    mass = np.ones(n) if rows.weights is None else rows.weights
    largest = at_border = 0.0
    for model, one, other, passed in zip(models, found, again, through, strict=True):
        of = f"k={len(model)}"
        labels, right_labels, right_far = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n)
        card.assign(model, labels)
        exact.assign(model, right_labels, right_far)
        differ = np.flatnonzero(labels != right_labels)
        theirs = np.sqrt(np.square(exact.matrix[differ] - model[labels[differ]]).sum(axis=1))
        _expect(
            f"assign: {of}, a row that is not near a border", (theirs <= right_far[differ] * (1 + 1e-5) + 1e-6).all()
        )
        at_border = max(at_border, float(len(differ)))
        counts = np.bincount(labels, mass, len(model))
        sums = np.stack([np.bincount(labels, mass * column, len(model)) for column in exact.matrix.T], axis=1)
        scale = np.bincount(labels, mass * np.abs(exact.matrix).max(axis=1), len(model))[:, np.newaxis] + 1e-300
        off = float((np.abs(one.sums - sums) / scale).max())
        largest = max(largest, off)
        _expect(f"step: counts of {of}", np.array_equal(one.counts, counts))
        _expect(f"step: sums of {of}, off by {off:.2g}", off <= 1e-12)
        inertia = float((mass * np.square(right_far)).sum())
        _expect(f"step: inertia of {of}", abs(one.inertia - inertia) <= 1e-6 * inertia)
        for name in ("counts", "sums", "sse"):
            values = getattr(one, name)
            _expect(f"step: {name} of {of}, twice", values.tobytes() == getattr(other, name).tobytes())
            gap = np.abs(values - getattr(passed, name)).max()
            _expect(f"step: {name} of {of}, streamed", gap <= 1e-12 * (scale.max() + inertia))
    starts = [X[rng.choice(n, 5, replace=False)].astype(np.float64) for _ in range(3)]
    (C, moves, ends), (right, right_moves, right_ends) = (who.settle(starts, 3, 0.0) for who in (card, rows))
    _expect("settle: how starts ended", np.array_equal(ends, right_ends) and np.array_equal(moves, right_moves))
    _expect("settle: centroids", np.abs(C - right).max() <= 1e-3)
    return {"sums_off": largest, "rows_at_borders": at_border}


# ------------------------------------------------------------------------------------------------- bandwidth


def copies(size: int, timed: Callable[[Callable[[], object], int], list[float]]) -> dict[str, Callable[[], Facts]]:
    """Return what measures copies of ``size`` bytes, by name; bytes a second on the card are read and written ones."""
    from engine.clustering.cuda_tiles import cuda

    n = size // 4

    def copied(source: Any, moved: int) -> Facts:
        there = cuda.device_array(n, np.float32)
        seconds = timed(lambda: there.copy_to_device(source), 11)
        return {"seconds": seconds, "bytes_per_s": moved / max(statistics.median(seconds), 1e-12)}

    def pinned() -> Any:
        source = cuda.pinned_array(n, np.float32)
        source[:] = 1.0
        return source

    return {
        "copy on the card": lambda: copied(cuda.to_device(np.ones(n, np.float32)), 2 * size),
        "copy from pinned": lambda: copied(pinned(), size),
        "copy from pageable": lambda: copied(np.ones(n, np.float32), size),
    }


# ------------------------------------------------------------------------------------------------- libraries


@dataclass(frozen=True, slots=True)
class Rival:
    """Another library: what must be importable, its distribution, how it moves centroids, what it must see first."""

    modules: tuple[str, ...]
    package: str
    prepare: Callable[[Matrix, Matrix], Move]
    check: Callable[[], None] = lambda: None


def measured_rival(
    name: str, shape: Sequence[int], seed: int, moves: int, repeats: int, seconds: float
) -> dict[str, Any]:
    """Return ``seconds`` of a move, ``centroids`` after the first one and ``version`` of a library.

    Raises
    ------
    NotMeasuredError
        It is not installed, failed, or took longer than ``seconds`` in all.
    """
    for module in RIVALS[name].modules:
        if importlib.util.find_spec(module) is None:
            raise NotMeasuredError(f"absent: {module} is not installed")
    command = [sys.executable, "-m", "benchmarks.gpu_rivals", name, *map(str, (*shape, seed, moves, repeats))]
    # It is to see the card, if there is one, also where ours is simulated.
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_ENABLE_CUDASIM"}
    try:
        answer = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotMeasuredError(f"not done after {seconds:.0f} s") from None
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        raise NotMeasuredError(last if last.startswith("absent") else f"exit code {answer.returncode}: {last}")
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def seconds_a_move(move: Move, moves: int, repeats: int) -> list[float]:
    """Return what a move takes, without what a call takes besides: 1 + moves less 1, over moves."""
    move(1 + moves)
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        move(1)
        between = time.perf_counter()
        move(1 + moves)
        found.append((time.perf_counter() - between - (between - begun)) / moves)
    return found


def _torch(X: Matrix, start: Matrix) -> Move:
    """Distances as a matrix product, and sums by index."""
    torch: Any = import_module("torch")
    rows, first = torch.from_numpy(X).cuda(), torch.from_numpy(start).cuda()

    def move(moves: int) -> Any:
        C = first.clone()
        for _ in range(moves):
            sums, counts = torch.zeros_like(C), torch.zeros(len(C), device=C.device)
            norms = (C * C).sum(1)
            for part in rows.split(AT_ONCE):
                label = torch.addmm(norms, part, C.T, alpha=-2.0).argmin(1)
                sums.index_add_(0, label, part)
                counts += torch.bincount(label, minlength=len(C))
            C = sums / counts.clamp(min=1.0)[:, None]
        torch.cuda.synchronize()
        return C.cpu().numpy()

    return move


def _faiss(X: Matrix, start: Matrix) -> Move:
    """FAISS' own k-means on its GPU index; it keeps the rows in the memory of the process."""
    import faiss

    def move(moves: int) -> Any:
        model = faiss.Kmeans(
            X.shape[1], len(start), niter=moves, gpu=1, max_points_per_centroid=2**31 - 1, min_points_per_centroid=1
        )
        model.train(X, init_centroids=start)
        return model.centroids

    return move


def _faiss_sees_a_gpu() -> None:
    import faiss

    if not getattr(faiss, "get_num_gpus", lambda: 0)():
        sys.exit("absent: this FAISS sees no GPU")


def _cuml(X: Matrix, start: Matrix) -> Move:
    """Let cuML move the same centroids."""
    cupy, KMeans = import_module("cupy"), import_module("cuml.cluster").KMeans

    rows = cupy.asarray(X)

    def move(moves: int) -> Any:
        # Its tolerance must be above 0.
        model = KMeans(n_clusters=len(start), init=start, n_init=1, max_iter=moves, tol=1e-30).fit(rows)
        cupy.cuda.Device().synchronize()
        return cupy.asnumpy(cupy.asarray(model.cluster_centers_))

    return move


def _flash_kmeans(X: Matrix, start: Matrix) -> Move:
    """flash-kmeans' Triton kernels, in float32 as all others."""
    torch: Any = import_module("torch")
    batch_kmeans_Euclid = import_module("flash_kmeans").batch_kmeans_Euclid
    rows, first = torch.from_numpy(X).cuda()[None], torch.from_numpy(start).cuda()[None]

    def move(moves: int) -> Any:
        # It writes to the centroids it is given; with a tolerance below 0 it never rests.
        _, C, _ = batch_kmeans_Euclid(rows, len(start), max_iters=moves, tol=-1.0, init_centroids=first.clone())
        torch.cuda.synchronize()
        return C[0].float().cpu().numpy()

    return move


RIVALS = {
    "flash-kmeans": Rival(("torch", "triton", "flash_kmeans"), "flash-kmeans", _flash_kmeans),
    "torch": Rival(("torch",), "torch", _torch),
    "cuml": Rival(("cupy", "cuml"), "cuml-cu13", _cuml),
    "faiss gpu": Rival(("faiss",), "faiss-gpu", _faiss, _faiss_sees_a_gpu),
}


def main(arguments: Sequence[str]) -> None:
    """Measure one library and print what was found."""
    name, *numbers = arguments
    n, d, k, seed, moves, repeats = map(int, numbers)
    RIVALS[name].check()
    X = rows_of(n, d, seed)
    move = RIVALS[name].prepare(X, starts_of(X, k, seed).astype(np.float32))
    try:
        told = version(RIVALS[name].package)
    except PackageNotFoundError:
        told = "unknown"
    # FAISS sends all rows anew in every move.
    moves = min(moves, 2) if name == "faiss gpu" else moves
    centroids = np.asarray(move(1), dtype=np.float64).tolist()
    print(json.dumps({"seconds": seconds_a_move(move, moves, repeats), "centroids": centroids, "version": told}))


if __name__ == "__main__":
    main(sys.argv[1:])
