"""Who is unlike the customers of the fit, and how far the others lie beside them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.errors import DataError
from engine.segments.novelty import LEVELS, NOVEL_FROM, FittedDistances
from tests.reference import nearest_twin


def draw_distances(seed: int, n: int, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Distances of k segments of several widths and shapes; the same seed gives customers of the same kind."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, k, n).astype(np.int32)
    shapes = [draw.lognormal(0, 1, n), 5 * np.sqrt(draw.chisquare(3, n)), draw.uniform(2, 3, n)]
    return labels, np.choose(labels % 3, shapes)


def test_quantiles_by_hand() -> None:
    # Four distances cut the line into five parts of a fifth each: the median lies between the second and the third.
    fitted = FittedDistances.fit(np.zeros(4, np.int32), np.array([4.0, 1.0, 3.0, 2.0]), 1)
    at = dict(zip(LEVELS, fitted.quantiles[0].tolist(), strict=True))
    assert [at[level] for level in (0.0, 0.2, 0.5, 0.7, 0.8, 0.999, 1.0)] == pytest.approx([1, 1, 2.5, 3.5, 4, 4, 4])


@pytest.mark.parametrize("n", [1, 2, 50, 998, 999, 3000])
def test_quantiles_are_numpys_of_type_6(n: int) -> None:
    labels, distances = draw_distances(n, 3 * n + 1)
    fitted = FittedDistances.fit(labels, distances, 3)
    for cluster in set(labels.tolist()):
        own = distances[labels == cluster]
        assert fitted.quantiles[cluster] == pytest.approx(np.quantile(own, LEVELS, method="weibull"), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_one_in_a_thousand_like_those_of_the_fit_is_novel(seed: int) -> None:
    fitted = FittedDistances.fit(*draw_distances(seed, 90_000), 3)
    labels, distances = draw_distances(seed + 1000, 300_000)
    novel = fitted.novel(labels, distances)
    for cluster in range(3):
        here = novel[labels == cluster]
        # Both samples vary: the quantile that 30,000 give, and the number beyond it among 100,000. Five deviations.
        expected = 0.001 * here.size
        assert abs(here.sum() - expected) < 5 * math.sqrt(expected + expected * here.size / 30_000)


@pytest.mark.parametrize("n", [9, 99])
def test_in_a_small_segment_one_of_those_that_there_are_and_the_new_one(n: int) -> None:
    # Which of n + 1 customers of one kind lies farthest is chance.
    draw = np.random.default_rng(n)
    rounds = 4000
    labels = np.repeat(np.arange(rounds), n)
    fitted = FittedDistances.fit(labels, draw.lognormal(size=rounds * n), rounds)
    novel = fitted.novel(np.arange(rounds), draw.lognormal(size=rounds)).sum()
    assert abs(novel - rounds / (n + 1)) < 5 * math.sqrt(rounds / (n + 1))


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_of_the_fitted_are_even(seed: int) -> None:
    labels, distances = draw_distances(seed, 60_000)
    shares = FittedDistances.fit(labels, distances, 3).percentile(labels, distances)
    for cluster in range(3):
        counts, _ = np.histogram(shares[labels == cluster], bins=50, range=(0, 1))
        # Of the fitted, not of a sample: a quantile has as many below it as it says, give or take two.
        assert np.abs(counts - counts.mean()).max() < 5


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_the_share_that_lies_nearer(seed: int) -> None:
    labels, distances = draw_distances(seed, 5000)
    fitted = FittedDistances.fit(labels, distances, 3)
    for cluster in range(3):
        own = distances[labels == cluster]
        asked = np.append(np.random.default_rng(seed).choice(own, 100) * 1.001, [0.0, own.min(), 2 * own.max()])
        shares = fitted.percentile(np.full(len(asked), cluster), asked)
        # The quantiles are a hundredth apart, and a straight line is drawn between them.
        expected = [nearest_twin.nearer(own.tolist(), distance) for distance in asked.tolist()]
        assert shares == pytest.approx(expected, abs=0.012)
        assert shares[-3:].tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("seed", range(5))
def test_farther_is_never_less_novel_and_one_is_as_many(seed: int) -> None:
    labels, distances = draw_distances(seed, 1500, k=4)
    fitted = FittedDistances.fit(labels, distances, 4)
    asked = np.sort(np.concatenate([distances, fitted.quantiles[1], np.nextafter(distances, 9.0), [1e300]]))
    for cluster in range(4):
        where = np.full(len(asked), cluster)
        shares, novel = fitted.percentile(where, asked), fitted.novel(where, asked)
        assert (np.diff(shares) >= 0).all()
        assert (np.diff(novel.astype(int)) >= 0).all()
        assert shares.min() >= 0
        assert shares[-1] == 1
        assert novel[-1]
        assert (shares[novel] >= NOVEL_FROM).all()
        assert [fitted.of_one(cluster, distance) for distance in asked.tolist()] == list(
            zip(shares.tolist(), novel.tolist(), strict=True)
        )


def test_customers_who_are_alike_are_not_novel() -> None:
    fitted = FittedDistances.fit(np.zeros(50, np.int32), np.full(50, 0.1), 1)
    here = np.zeros(3, np.int32)
    asked = np.array([0.0, 0.1, np.nextafter(0.1, 1)])
    assert fitted.novel(here, asked).tolist() == [False, False, True]
    assert fitted.percentile(here, asked).tolist() == [0, 0, 1]


def test_in_a_segment_without_customers_all_are_novel() -> None:
    fitted = FittedDistances.fit(np.zeros(5, np.int32), np.arange(5.0), 2)
    assert fitted.k == 2
    assert fitted.of_one(1, 0.5) == (1.0, True)


@pytest.mark.parametrize(
    ("quantiles", "says"),
    [
        (np.zeros((2, 3)), r"expected shape \(k, 104\); got \(2, 3\)"),
        (np.zeros(len(LEVELS)), "expected shape"),
        (np.full((1, len(LEVELS)), np.nan), "finite"),
        (np.full((1, len(LEVELS)), np.inf), "finite"),
        (np.full((1, len(LEVELS)), -1.0), "at least 0"),
        (np.linspace(1, 0, len(LEVELS))[None], "ascending"),
    ],
)
def test_what_cannot_be_quantiles(quantiles: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        FittedDistances(quantiles)
