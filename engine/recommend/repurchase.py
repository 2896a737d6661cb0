"""Which products are bought again, and after how many days; which are bought once in a long time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, SettingError

if TYPE_CHECKING:
    from engine.recommend.baskets import Baskets
    from engine.recommend.kernels import Habits

ONCE_BELOW = 0.02
"""A product that fewer of its owners than this share ever buy again is bought once: a loan, a telephone, a book."""

PRIOR_CUSTOMERS = 10.0
"""What few customers did is drawn to the rate of the category as if so many more had been seen."""

LEAST_GAPS = 5
"""Intervals that a product needs for an interval of its own."""


@dataclass(frozen=True)
class Repurchase:
    """What is known of buying again.

    Attributes
    ----------
    rate
        Share of the customers who could have bought a product again and did, drawn to the rate of its category where
        few could, from 0 to 1, shape (m,).
    gap_days
        Days between two purchases of a product by one customer (geometric mean); 0 where too few are known.
    once
        Whether the product is bought once: who owns it is not offered it again.
    """

    rate: NDArray[np.float64]
    gap_days: NDArray[np.float64]
    once: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        history: Baskets,
        *,
        category: NDArray[np.int32] | None = None,
        repurchase: NDArray[np.int8] | None = None,
        once_below: float = ONCE_BELOW,
    ) -> Repurchase:
        """Find out from the histories.

        Parameters
        ----------
        history
            Of all customers.
        category
            A number from 0 for each product, -1 where it has none; by default all are one category.
        repurchase
            What is known beforehand of each product: 1 it is bought again, 0 it is not, -1 find out.
        once_below
            See :data:`ONCE_BELOW`; 0 excludes nothing.

        Raises
        ------
        SettingError
            ``once_below`` is no share.
        DataError
            ``category`` or ``repurchase`` does not fit the products.

        Notes
        -----
        A customer could have bought again who has a basket on a later day than the first with the product. The rate
        is (did + 10 r) / (could + 10), where r is the same of the whole category, itself drawn to that of all
        products: the mean of a beta distribution (empirical Bayes).
        """
        from engine.recommend.affinity_kernels import habit_sums

        if isinstance(once_below, bool) or not isinstance(once_below, Real) or not 0.0 <= once_below <= 1.0:
            raise SettingError(f"once_below: expected a share from 0 to 1; got {once_below!r}.")
        for key, given in (("category", category), ("repurchase", repurchase)):
            if given is not None and (given.shape != (history.m,) or not np.issubdtype(given.dtype, np.integer)):
                raise DataError(
                    f"{key}: expected a whole number for each of {history.m:,} products; got shape {given.shape}, type "
                    f"{given.dtype}."
                )
        able, again, gaps, log_gap = (np.zeros(history.m) for _ in range(4))
        habit_sums(
            history.basket_start, history.day, history.item_start, history.item, history.m, able, again, gaps, log_gap
        )
        whole = again.sum() / max(able.sum(), 1.0)
        prior = np.full(history.m, whole)
        if category is not None and history.m:
            known = category >= 0
            groups = int(category.max(initial=-1)) + 1
            did = np.bincount(category[known], again[known], minlength=groups).astype(np.float64)
            could = np.bincount(category[known], able[known], minlength=groups).astype(np.float64)
            prior[known] = _drawn(did, could, whole)[category[known]]
        rate = _drawn(again, able, prior)
        once = rate < once_below
        if repurchase is not None:
            once = np.where(repurchase < 0, once, repurchase == 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = np.where(gaps >= LEAST_GAPS, np.exp(log_gap / gaps), 0.0)
        return cls(rate, gap, once)

    @cached_property
    def habits(self) -> Habits:
        """What the kernels are told."""
        from engine.recommend.kernels import Habits

        odds = np.clip(self.rate, 1e-4, 1 - 1e-4)
        return Habits(np.log(odds / (1 - odds)).astype(np.float32), self.gap_days.astype(np.float32), self.once)


def _drawn(
    did: NDArray[np.float64], could: NDArray[np.float64], prior: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    rate: NDArray[np.float64] = (did + PRIOR_CUSTOMERS * prior) / (could + PRIOR_CUSTOMERS)
    return rate
