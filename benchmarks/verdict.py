"""How often the verdict on k is right: ``python -m benchmarks.verdict [--seeds 6]``.

Two questions, on data whose truth is known. Without groups, is a k called clear all the same? With k groups at a
known distance, is that k called clear? Limits are wide open (2 to 10), so that nothing but the evidence decides.
The thresholds of :mod:`engine.clustering.verdict` were set by reading this table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from engine.clustering.sweep import Tries, sweep
from engine.clustering.verdict import Verdict, choose_k

Matrix = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Matrix]

GROUPLESS: dict[str, Draw] = {
    "uniform": lambda rng, n, d: rng.uniform(size=(n, d)),
    "gaussian": lambda rng, n, d: rng.normal(size=(n, d)),
    "correlated": lambda rng, n, d: rng.normal(size=(n, d)) @ rng.normal(size=(d, d)),
    "one factor": lambda rng, n, d: rng.normal(size=(n, 1)) + 0.5 * rng.normal(size=(n, d)),
    "exponential": lambda rng, n, d: rng.exponential(size=(n, d)),
    "lognormal": lambda rng, n, d: rng.lognormal(size=(n, d)),
    "student t3": lambda rng, n, d: rng.standard_t(3, size=(n, d)),
}
"""Families of data without groups, by name."""


def groups(rng: np.random.Generator, k: int, d: int, n: int, separation: float) -> Matrix:
    """Return n points in k unit Gaussians of unequal size, the closest two centres ``separation`` deviations apart."""
    while True:
        centres = rng.normal(size=(k, d))
        distances = np.linalg.norm(centres[:, None] - centres[None, :], axis=2)[np.triu_indices(k, 1)]
        # Centres far beyond the closest pair would make groups of groups, whose number is a matter of taste.
        if distances.max() < 6 * distances.min():
            break
    label = rng.choice(k, n, p=rng.dirichlet(np.full(k, 5.0)))
    points: Matrix = centres[label] * separation / distances.min() + rng.normal(size=(n, d))
    return points


def judge(points: Matrix, seed: int) -> Verdict:
    """Return the verdict on standardised points."""
    scaled = (points - points.mean(axis=0)) / points.std(axis=0)
    tries = Tries(np.ascontiguousarray(scaled, dtype=np.float32), threads=1, silhouette_rows=0)
    trials = list(sweep(tries, range(2, 11), seed=seed))
    return choose_k(trials, min_segments=2, max_segments=10)


def groupless_verdicts(seeds: int) -> Iterator[tuple[str, Verdict]]:
    """Yield family and verdict over sizes, dimensions and seeds."""
    for seed in range(seeds):
        for n in (300, 2000):
            for name, draw in GROUPLESS.items():
                for d in (1, 2, 3, 4, 5, 6, 8, 12, 16):
                    yield name, judge(draw(np.random.default_rng([seed, d, n]), n, d), seed)


def grouped_verdicts(seeds: int, separation: float) -> Iterator[tuple[int, Verdict]]:
    """Yield the true k and the verdict over k, dimensions and seeds."""
    for seed in range(seeds):
        for d in (2, 3, 4, 8, 12):
            for k in (2, 3, 4, 5, 6, 8):
                rng = np.random.default_rng([seed, k, d])
                yield k, judge(groups(rng, k, d, 1500, separation), seed)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    seeds = parser.parse_args().seeds
    print("data                 sets  right k clear  wrong k clear")
    found = list(groupless_verdicts(seeds))
    print(f"without groups      {len(found):>5}  {'–':>13}  {sum(v.clear for _, v in found):>13}", flush=True)
    for separation in (4, 5, 6, 8):
        results = list(grouped_verdicts(seeds, separation))
        right = sum(verdict.clear and verdict.k == k for k, verdict in results)
        wrong = sum(verdict.clear and verdict.k != k for k, verdict in results)
        print(f"groups {separation} sd apart   {len(results):>5}  {right:>13}  {wrong:>13}", flush=True)


if __name__ == "__main__":
    main()
