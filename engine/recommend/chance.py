"""What chance alone would do: intervals of shares and of lifts, and how many of many findings are false."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Z_95 = 1.959963984540054
"""Normal deviate that leaves 2.5 % on either side."""


def wilson(successes: NDArray[np.generic], trials: NDArray[np.generic]) -> tuple[Floats, Floats]:
    """Return the 95 % interval of a share, within 0 and 1; the whole of it where there were no trials.

    Source: Wilson, Journal of the American Statistical Association 22 (1927), 209-212.

    Examples
    --------
    >>> low, high = wilson(np.array([10]), np.array([40]))
    >>> round(float(low[0]), 4), round(float(high[0]), 4)
    (0.1419, 0.4019)
    """
    k, n = np.asarray(successes, np.float64), np.asarray(trials, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = (k + Z_95**2 / 2) / (n + Z_95**2)
        half = Z_95 / (n + Z_95**2) * np.sqrt(k * (n - k) / n + Z_95**2 / 4)
    none = n == 0
    low = np.where(none | (k == 0), 0.0, middle - half)
    high = np.where(none | (k == n), 1.0, middle + half)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def lift_interval(observed: NDArray[np.generic], expected: Floats, among: NDArray[np.generic]) -> tuple[Floats, Floats]:
    """Return the 95 % interval of observed / expected, where the observed are a part of the events of a whole.

    Given how many events the whole had, and without any relation, each is one of the observed with probability
    expected / among (the conditional comparison of two rates: Przyborowski and Wilenski, Biometrika 31 (1940),
    313-323). The interval is Wilson's of that share, over its expectation. An expectation of 0 gives 0 to infinity.

    Parameters
    ----------
    observed, expected
        Events counted, and expected.
    among
        Events of the whole, at least ``observed``.

    Examples
    --------
    >>> low, high = lift_interval(np.array([10]), np.array([5.0]), np.array([40]))
    >>> round(float(low[0]), 3), round(float(high[0]), 3)
    (1.135, 3.216)
    """
    low, high = wilson(observed, among)
    n = np.asarray(among, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        unknown = ~(expected > 0)
        return np.where(unknown, 0.0, low * n / expected), np.where(unknown, np.inf, high * n / expected)


def at_least(observed: NDArray[np.generic], expected: Floats, among: NDArray[np.generic]) -> Floats:
    """Return how probable it is that so many or more are observed by chance, exactly (binomial).

    The same reasoning as :func:`lift_interval`; one-sided, so that what is bought *less* than expected is never a
    finding.

    Examples
    --------
    >>> float(at_least(np.array([2]), np.array([1.0]), np.array([2]))[0])
    0.25
    """
    from scipy.special import betainc

    k, n = np.asarray(observed, np.float64), np.asarray(among, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip(np.where(n > 0, expected / n, 0.0), 0, 1)
    tail: Floats = betainc(np.maximum(k, 1), n - np.maximum(k, 1) + 1, share)
    return np.where(k <= 0, 1.0, tail)


def false_shares(p: Floats, tests: int) -> Floats:
    """Return each finding's q: of all findings with a p no larger than its own, the share that chance is to blame for.

    Source: Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995), 289-300.

    Parameters
    ----------
    p
        Of the findings to be judged, shape (f,).
    tests
        How many tests were made, at least f. Those without a finding count as p = 1, which errs on the safe side.

    Examples
    --------
    >>> false_shares(np.array([0.01, 0.04, 0.03]), 4).round(4).tolist()
    [0.04, 0.0533, 0.0533]
    """
    order = np.argsort(p, kind="stable")
    scaled = p[order] * tests / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


def share_ratio_interval(
    one: NDArray[np.generic],
    of_one: NDArray[np.generic],
    other: NDArray[np.generic],
    of_other: NDArray[np.generic],
) -> tuple[Floats, Floats]:
    """Return the 95 % interval of (one / of_one) / (other / of_other), two shares of different people.

    Half an event is added to each side, so that a share of 0 has an interval too. Source: Katz, Baptista, Azen and
    Pike, Biometrics 34 (1978), 469-474, with the halves of Walter, Biometrika 62 (1975), 371-374.

    Examples
    --------
    >>> low, high = share_ratio_interval(np.array([30]), np.array([60]), np.array([10]), np.array([50]))
    >>> round(float(low[0]), 3), round(float(high[0]), 3)
    (1.339, 4.389)
    """
    a, n, b, m = (np.asarray(each, np.float64) + 0.5 for each in (one, of_one, other, of_other))
    middle = np.log(a / n) - np.log(b / m)
    half = Z_95 * np.sqrt(np.maximum(1 / a - 1 / n + 1 / b - 1 / m, 0.0))
    return np.exp(middle - half), np.exp(middle + half)


def fisher(
    one: NDArray[np.generic],
    of_one: NDArray[np.generic],
    other: NDArray[np.generic],
    of_other: NDArray[np.generic],
) -> Floats:
    """Return how probable it is that so many or more of the events fall to the first of two groups by chance.

    Fisher's exact test, one-sided, of one / of_one against other / of_other.

    Examples
    --------
    >>> round(float(fisher(np.array([3]), np.array([4]), np.array([1]), np.array([4]))[0]), 4)
    0.2429
    """
    from scipy.special import gammaln

    a, n, b, m = (np.asarray(each, np.float64) for each in (one, of_one, other, of_other))
    events = a + b

    def chosen(whole: Floats, part: Floats) -> Floats:
        count: Floats = gammaln(whole + 1) - gammaln(part + 1) - gammaln(whole - part + 1)
        return count

    whole = chosen(n + m, events)
    tail, term = np.zeros(len(a)), np.zeros(len(a))
    most = np.minimum(events, n)
    for more in range(int((most - a).max(initial=0)) + 1):
        k = np.minimum(a + more, most)
        before, term = term, np.where(a + more <= most, np.exp(chosen(n, k) + chosen(m, events - k) - whole), 0.0)
        tail += term
        # Beyond its peak a term is less than the one before it, and soon less than what a sum can hold.
        if ((term <= before) & (term <= 1e-20 * tail)).all():
            break
    return np.minimum(tail, 1.0)
