"""TIFU-KNN: what the customer buys, the later the more, blended with what customers alike buy.

Hu, He, Gao & Zhang (2020), "Modeling personalized item frequency information for next-basket recommendation". A plain
method that most published neural networks do not beat; here as a rival and a measure, exact and over sparse rows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import SettingError
from engine.recommend.baselines import Segments, check_asked, fitted
from engine.recommend.baskets import Baskets, Targets
from engine.recommend.metrics import MEASURES, judge
from engine.recommend.sparse_rows import Lists, best_of_blends, best_of_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

log = logging.getLogger(__name__)

_AT_ONCE = 16_384
"""Customers whose neighbours are held in memory together: at k = 900 some 350 MB."""

METRICS = ("cosine", "euclidean")
GROUPINGS = ("even", "published")

GRID: Mapping[str, Sequence[float]] = {
    "group_num": (3, 7, 12),
    "within_decay": (0.9, 1.0),
    "group_decay": (0.7, 0.9, 1.0),
    "k": (100, 300, 900),
    "alpha": (0.2, 0.4, 0.6, 0.8),
}
"""What :func:`tuned` tries by default: 216 settings, for which neighbours are sought 18 times."""

SECONDS_BETWEEN_LINES = 10.0

ADDS_A_SECOND = 1e8
"""Products of two numbers that a core adds up in a second, rather fewer than more: the memory sets the pace."""


@dataclass(frozen=True)
class _Learnt:
    """Vectors of the customers at fit, the same of length 1, and their ids."""

    vectors: csr_matrix
    ids: pl.Series


@dataclass
class TifuKNN:
    """A customer's faded frequencies and those of the nearest customers, blended.

    The baskets of a customer are split into ``group_num`` groups, in the order of time. A group's vector is the mean of
    its baskets (1 for a product in it), each a factor ``within_decay`` lighter than the next; the customer's vector is
    the mean of the groups, each a factor ``group_decay`` lighter than the next. The score of a product is ``alpha``
    times its place in the customer's own vector plus ``1 - alpha`` times its mean over the nearest customers. Products
    without a score are not recommended: a customer without a history gets none.

    Parameters
    ----------
    group_num
        Groups; a customer with fewer baskets has one for each.
    within_decay, group_decay
        Above 0, at most 1; 1 fades nothing.
    k
        Nearest customers. Where fewer are anything like the customer, the mean is over those.
    alpha
        Weight of the customer's own vector, 0 to 1.
    metric
        Who is nearest: ``cosine`` (only customers with a product in common) or ``euclidean``.
    grouping
        ``even``: the groups differ by one basket at most, the later ones being the larger. ``published``: as a public
        implementation has it that several papers measured with. It works out how many groups are larger from the wrong
        remainder, drops the last baskets where that is too few, and fades by the age among all baskets within a group,
        too. For comparing with published figures only.
    itself
        Whether a customer known from fit is among its own neighbours, as in that implementation.
    threads
        Cores; all by default. The answer is the same.

    Raises
    ------
    SettingError
        A setting is out of its range.
    """

    group_num: int = 7
    within_decay: float = 0.9
    group_decay: float = 0.7
    k: int = 300
    alpha: float = 0.7
    metric: Literal["cosine", "euclidean"] = "cosine"
    grouping: Literal["even", "published"] = "even"
    itself: bool = False
    threads: int | None = None
    _learnt: _Learnt | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, least in (("group_num", self.group_num), ("k", self.k)):
            if least < 1:
                raise SettingError(f"{name}: expected a whole number, 1 or more; got {least}.")
        for name, factor in (("within_decay", self.within_decay), ("group_decay", self.group_decay)):
            if not 0 < factor <= 1:
                raise SettingError(f"{name}: expected a factor above 0 and at most 1; got {factor}.")
        if not 0 <= self.alpha <= 1:
            raise SettingError(f"alpha: expected a weight from 0 to 1; got {self.alpha}.")
        if self.metric not in METRICS:
            raise SettingError.from_unknown("metric", self.metric, METRICS)
        if self.grouping not in GROUPINGS:
            raise SettingError.from_unknown("grouping", self.grouping, GROUPINGS)

    @property
    def name(self) -> str:
        """``tifu_knn``."""
        return "tifu_knn"

    def fit(self, history: Baskets, segments: Segments | None = None) -> Self:
        """Work out the vector of each customer."""
        self._learnt = _Learnt(self.vectors(history), history.customer_ids)
        return self

    def recommend(
        self,
        history: Baskets,
        k: int,
        *,
        day: NDArray[np.int32] | int | None = None,
        segments: Segments | None = None,
    ) -> Lists:
        """Return the products of the highest scores above 0; see :meth:`Recommender.recommend`."""
        return self.scored(history, k)[0]

    def scored(self, history: Baskets, k: int) -> tuple[Lists, NDArray[np.float64]]:
        """Return products and their scores, shape (n, k) each; -1 and 0 where there are no more."""
        learnt = fitted(self._learnt, self.name)
        check_asked(history, k, learnt.vectors.shape[1])
        lists, scores = np.full((history.n, k), -1, np.int32), np.zeros((history.n, k))
        for begin in range(0, history.n, _AT_ONCE):
            block = history.take(np.arange(begin, min(begin + _AT_ONCE, history.n)))
            vectors = self.vectors(block)
            near = self._nearest(vectors, block.customer_ids)
            found, of = self._blended(vectors, near, k, [self.k], [self.alpha])
            lists[begin : begin + block.n], scores[begin : begin + block.n] = found[0, 0], of[0, 0]
        return lists, scores

    def vectors(self, history: Baskets) -> csr_matrix:
        """Return the faded frequencies of each customer, customers × products, float64."""
        from scipy.sparse import csr_matrix

        weight = self._weights(history)[history.basket_of()]
        key = history.owners() * max(history.m, 1) + history.item
        distinct, which = np.unique(key, return_inverse=True)
        total = np.bincount(which, weights=weight, minlength=len(distinct))
        owner, item = np.divmod(distinct[total > 0], max(history.m, 1))
        start = np.searchsorted(owner, np.arange(history.n + 1))
        return csr_matrix((total[total > 0], item, start), shape=(history.n, history.m))

    def _weights(self, history: Baskets) -> NDArray[np.float64]:
        """Return what each basket counts in its customer's vector; 0 for one that the published grouping drops."""
        number = np.diff(history.basket_start)
        owner = np.repeat(np.arange(history.n), number)
        n = number[owner]
        place = np.arange(history.baskets) - history.basket_start[:-1][owner]
        groups = np.minimum(n, self.group_num)
        size = n // np.maximum(groups, 1)
        # The wrong remainder is never larger than the right one, so that the groups never need more than there are.
        by = self.group_num if self.grouping == "even" else np.maximum(size, 1)
        larger = np.where(n < self.group_num, 0, n % by)
        # The first groups have `size` baskets, the last `larger` of them one more.
        border = (groups - larger) * size
        late = place >= border
        group = np.where(late, groups - larger + (place - border) // (size + 1), place // np.maximum(size, 1))
        begin = np.where(late, border + (group - (groups - larger)) * (size + 1), group * size)
        end = begin + size + late
        age = n - 1 - place if self.grouping == "published" else end - 1 - place
        faded = self.within_decay ** age.astype(np.float64) / np.maximum(end - begin, 1)
        faded *= self.group_decay ** (groups - 1 - group).astype(np.float64) / np.maximum(groups, 1)
        return np.where(group < groups, faded, 0.0)

    def _nearest(self, vectors: csr_matrix, ids: pl.Series) -> Lists:
        """Return the row numbers of the nearest customers at fit, the nearest first, -1 where there are no more."""
        learnt = fitted(self._learnt, self.name)
        without = None if self.itself else _row_numbers(ids, learnt.ids)
        most = min(self.k, max(learnt.vectors.shape[0], 1))
        if self.metric == "cosine":
            one, other = _unit(vectors), _unit(learnt.vectors)
            return best_of_rows(one, other.T.tocsr(), most, without=without, threads=self.threads)[0]
        # The smallest distance has the largest 2ab - bb.
        squares = np.bincount(_row_of(learnt.vectors), learnt.vectors.data**2, minlength=learnt.vectors.shape[0])
        twice = (2 * learnt.vectors).T.tocsr()
        return best_of_rows(
            vectors, twice, most, offset=np.negative(squares, dtype=np.float64), without=without, threads=self.threads
        )[0]

    def _blended(
        self, vectors: csr_matrix, near: Lists, k: int, numbers: Sequence[int], alphas: Sequence[float]
    ) -> tuple[Lists, NDArray[np.float64]]:
        """Return the best products by the blend of own vectors with those of near customers, for each setting."""
        learnt = fitted(self._learnt, self.name)
        return best_of_blends(vectors, learnt.vectors, near, k, numbers=numbers, alphas=alphas, threads=self.threads)


def tuned(
    history: Baskets,
    targets: Targets,
    *,
    grid: Mapping[str, Sequence[Any]] = GRID,
    by: str = "ndcg",
    at: int = 10,
    base: TifuKNN | None = None,
) -> TifuKNN:
    """Return the settings whose lists foresee a validation basket best, the first of equal ones, not fitted.

    Parameters
    ----------
    history, targets
        What came before, and the basket to be foreseen: of ``without_last`` on a history that does not hold the basket
        on which the recommender is judged in the end.
    grid
        Values to try, by the name of the setting; every combination is.
    by
        One of :data:`engine.recommend.metrics.MEASURES`, its mean over the customers.
    at
        Products on a list.
    base
        Settings that are not in the grid.

    Raises
    ------
    SettingError
        A name in the grid is no setting, or ``by`` no measure.
    """
    first = base or TifuKNN()
    if by not in MEASURES:
        raise SettingError.from_unknown("by", by, MEASURES)
    for name in grid:
        if name not in GRID:
            raise SettingError.from_unknown("grid", name, GRID)
    asked = history.take(targets.customers)
    best, found, measured = first, -np.inf, judge(targets, history)
    whole = int(np.prod([len(values) for values in grid.values()]))
    began = told = time.perf_counter()
    for number, (settings, lists) in enumerate(_tried(first, history, asked, grid, at), start=1):
        mean = float(np.nanmean(measured(lists)[by]))
        if mean > found:
            best, found = settings, mean
        now = time.perf_counter()
        if now - told >= SECONDS_BETWEEN_LINES and number < whole:
            told, pace = now, number / (now - began)
            log.info(
                "tifu_knn: setting %d of %d, %.0f customers a second, about %.0f s left",
                number, whole, pace * asked.n, (whole - number) / pace,
            )  # fmt: skip
    return best


def seconds_to_tune(
    history: Baskets,
    customers: NDArray[np.int64],
    *,
    grid: Mapping[str, Sequence[Any]] = GRID,
    base: TifuKNN | None = None,
    threads: int = 1,
) -> float:
    """Return about how many seconds :func:`tuned` will take: not a measure, but right within a small factor.

    A search adds up, for each product of a customer, all who bought it; a blend all that the neighbours bought.

    Parameters
    ----------
    history, grid, base
        As :func:`tuned` takes them.
    customers
        Rows of those who have a target.
    threads
        Cores that work on it.
    """
    first = base or TifuKNN()
    start, item, _ = history.counts()
    if not len(item):
        return 0.0
    buyers = np.bincount(item, minlength=history.m)
    met = np.diff(np.concatenate([[0], np.cumsum(buyers[item])])[start])[customers]
    nearest = min(max(grid.get("k", (first.k,))), history.n)
    adds = float(met.sum()) + len(customers) * nearest * len(item) / history.n
    searches = int(np.prod([len(grid.get(name, (0,))) for name in ("group_num", "within_decay", "group_decay")]))
    return float(searches * adds / (ADDS_A_SECOND * threads))


def _tried(
    first: TifuKNN, history: Baskets, asked: Baskets, grid: Mapping[str, Sequence[Any]], at: int
) -> Iterator[tuple[TifuKNN, Lists]]:
    """Yield settings and lists; neighbours are sought and added up once for all numbers of them and all weights."""
    shape = {name: grid.get(name, (getattr(first, name),)) for name in GRID}
    numbers, alphas = shape.pop("k"), shape.pop("alpha")
    for values in product(*shape.values()):
        widest = replace(first, **dict(zip(shape, values, strict=True)), k=max(numbers)).fit(history)
        vectors = widest.vectors(asked)
        near = widest._nearest(vectors, asked.customer_ids)
        lists = widest._blended(vectors, near, at, numbers, alphas)[0]
        for (which, number), (weight, alpha) in product(enumerate(numbers), enumerate(alphas)):
            yield replace(widest, k=number, alpha=alpha), lists[which, weight]


def _row_numbers(ids: pl.Series, among: pl.Series) -> NDArray[np.int64]:
    """Return at which row of other ids each id is, -1 where it is not."""
    rows = pl.DataFrame({"id": among}).with_row_index("row")
    found = pl.DataFrame({"id": ids}).join(rows, on="id", how="left", maintain_order="left")["row"]
    numbers: NDArray[np.int64] = found.cast(pl.Int64).fill_null(-1).to_numpy()
    return numbers


def _row_of(matrix: csr_matrix) -> NDArray[np.int64]:
    """Return the row of each entry."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _unit(matrix: csr_matrix) -> csr_matrix:
    """Return the rows at length 1."""
    row = _row_of(matrix)
    length = np.sqrt(np.bincount(row, matrix.data**2, minlength=matrix.shape[0]))
    unit = matrix.copy()
    unit.data = matrix.data / length[row]
    return unit
