"""How well recommenders foresee what customers bought next, by a split in time, with plain baselines beside.

Everybody learns from the same past and is asked about the same customers. One trace of the future is left: products are
numbered by how many customers bought them in all rows. Who lets the lower number decide between equal scores uses it;
the baselines let the product id decide.
"""

from __future__ import annotations

import datetime
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.recommend.baselines import PersonalThenPopular, Popular, Recommender, SegmentPopular, Segments
from engine.recommend.baskets import Baskets, Targets
from engine.recommend.metrics import MEASURES, Estimate, coverage, judge

SPLITS = ("last_basket", "date")
DECIDES = "ndcg"
"""The measure by which the best baseline is found."""

Means = Mapping[str, Estimate]


class Split(NamedTuple):
    """A past and what came next.

    Attributes
    ----------
    history
        What is known; all customers, also those without a target.
    targets
        What is to be foreseen.
    """

    history: Baskets
    targets: Targets


@dataclass(frozen=True)
class Evaluation:
    """What came of it.

    Attributes
    ----------
    k
        Products on a list.
    protocol
        The split in figures: customers, products and baskets of the past, targets, mean products of a target, share of
        them that the customer had bought before.
    measures
        For each recommender the mean of each measure, with its 95 % interval.
    coverage
        For each recommender the share of the products bought before that is on any list.
    segments
        The same as ``measures`` for each segment number.
    baseline
        The baseline with the highest NDCG.
    differences
        For each other recommender its measures minus those of the baseline, on the same customers.
    values
        For each recommender the measures of each customer, in the order of ``customer_ids``.
    new
        The same for what was new to the customers: what they had bought before is neither listed nor to be foreseen,
        and who bought nothing new takes no part. ``None`` where nobody did.
    """

    k: int
    protocol: Mapping[str, Any]
    measures: Mapping[str, Means]
    coverage: Mapping[str, float]
    segments: Mapping[int, Mapping[str, Means]]
    baseline: str
    differences: Mapping[str, Means]
    customer_ids: pl.Series = field(repr=False)
    values: Mapping[str, Mapping[str, NDArray[np.float64]]] = field(repr=False)
    new: Evaluation | None = field(default=None, repr=False)

    @property
    def table(self) -> pl.DataFrame:
        """One row for each recommender, segment (null: all customers) and measure: mean, ends, customers; differences.

        The columns ``difference``, ``difference_low`` and ``difference_high`` are null for the baseline itself and
        within segments.
        """
        rows: list[dict[str, Any]] = []
        for segment, means in ((None, self.measures), *self.segments.items()):
            for recommender, named in means.items():
                for name, found in named.items():
                    row = {"recommender": recommender, "segment": segment, "measure": name, **found._asdict()}
                    apart = self.differences.get(recommender, {}).get(name) if segment is None else None
                    ends = (apart.mean, apart.low, apart.high) if apart else (None, None, None)
                    columns = ("difference", "difference_low", "difference_high")
                    rows.append(row | dict(zip(columns, ends, strict=True)))
        return pl.DataFrame(rows, schema=_TABLE)

    def compare(self, one: str, other: str) -> dict[str, Estimate]:
        """Return the measures of one recommender minus those of another, on the same customers."""
        for name in (one, other):
            if name not in self.values:
                raise SettingError.from_unknown("recommender", name, self.values)
        return {name: Estimate.of_difference(self.values[one][name], self.values[other][name]) for name in MEASURES}

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON, without the customers; ``None`` where a figure does not exist."""
        return {
            "k": self.k,
            "protocol": dict(self.protocol),
            "baseline": self.baseline,
            "measures": _plain(self.measures),
            "coverage": {name: _number(share) for name, share in self.coverage.items()},
            "differences": _plain(self.differences),
            "segments": {str(segment): _plain(means) for segment, means in self.segments.items()},
            **({} if self.new is None else {"new": self.new.to_dict()}),
        }


_TABLE = {
    "recommender": pl.String(),
    "segment": pl.Int32(),
    "measure": pl.String(),
    "mean": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "customers": pl.Int64(),
    "difference": pl.Float64(),
    "difference_low": pl.Float64(),
    "difference_high": pl.Float64(),
}


def last_basket(history: Baskets, *, last: int = 1, least: int = 2) -> Split:
    """Split off each customer's last basket; what came before is the past, of everybody.

    Others may have bought in that past after the day of a customer's target: published figures mostly are of this kind.
    :func:`from_date` has one border for all.

    Parameters
    ----------
    last
        Which basket: 1 is the last, 2 the last but one, as for a validation before the test.
    least
        Baskets that must come before; customers with fewer are in the past only.
    """
    return Split(*history.without_last(last, least=least))


def from_date(history: Baskets, date: datetime.date, *, least: int = 1) -> Split:
    """Split at the beginning of a day: what came before is the past, each customer's first basket after it the target.

    Parameters
    ----------
    date
        First day of the future.
    least
        Baskets that a customer must have before.
    """
    day = (date - datetime.date(1970, 1, 1)).days
    past = history.before(day)
    known = np.diff(past.basket_start)
    who = np.flatnonzero((known >= least) & (known < np.diff(history.basket_start)))
    which = history.basket_start[who] + known[who]
    sizes = history.item_start[which + 1] - history.item_start[which]
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    rows = np.repeat(history.item_start[which] - start[:-1], sizes) + np.arange(start[-1])
    return Split(past, Targets(who, history.day[which], start, history.item[rows]))


def evaluate(
    recommenders: Sequence[Recommender],
    history: Baskets,
    *,
    k: int = 10,
    split: Literal["last_basket", "date"] = "last_basket",
    last: int = 1,
    least: int = 2,
    date: datetime.date | None = None,
    segments: Segments | None = None,
    as_of_targets: bool = True,
    progress: Callable[[str, int, float, float], None] | None = None,
) -> Evaluation:
    """Fit each recommender on the past and judge what it foresees.

    :class:`Popular`, :class:`PersonalThenPopular` and, with segments, :class:`SegmentPopular` take part always. Those
    whose ``recommend`` takes ``only`` are judged a second time, on products that are new to the customer.

    Parameters
    ----------
    recommenders
        They are fitted anew; names must differ. One named as a baseline stands in for it.
    history
        All purchases, future included.
    k
        Products on a list.
    split, last, least, date
        See :func:`last_basket` and :func:`from_date`.
    segments
        Each customer's segment number, -1 where none; best made of the past only. Told apart and given to recommenders.
    as_of_targets
        Whether they are told the day of the basket to be foreseen, as one is who recommends during a visit; otherwise
        they answer for the day after the past.
    progress
        Called after each recommender with its name, how many customers it was asked for, and the seconds that it took
        to learn and to answer.

    Raises
    ------
    SettingError
        Two of the same name, an unknown split, a date without its split.
    DataError
        No customer has enough baskets.

    Examples
    --------
    >>> from engine.recommend.baselines import Personal
    >>> rows = pl.DataFrame({"customer_id": [1, 1, 1, 2, 2, 2], "product_id": list("xxxyyz"),
    ...                      "timestamp": [1, 2, 3, 1, 2, 3]}).with_columns(pl.col("timestamp").cast(pl.Date))
    >>> found = evaluate([Personal()], Baskets.from_frame(rows, basket="day"), k=1)
    >>> found.measures["personal"]["recall"].mean, found.protocol["targets"]
    (0.5, 2)
    """
    for key, number in (("k", k), ("last", last), ("least", least)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer):
            raise SettingError(f"{key}: expected a whole number; got {number!r}.")
    if split not in SPLITS:
        raise SettingError.from_unknown("split", split, SPLITS)
    if (split == "date") != (date is not None):
        raise SettingError("date: expected with split='date', and only there.")
    if segments is not None and len(segments) != history.n:
        raise DataError(f"segments: expected {history.n}, one for each customer; got {len(segments)}.")
    past, targets = (
        last_basket(history, last=last, least=least) if date is None else from_date(history, date, least=least)
    )
    if not len(targets.customers):
        raise DataError(
            f"No customer has {least} basket{'s' * (least != 1)} before one to foresee. Lower least, or choose another "
            "split."
        )
    baselines: list[Recommender] = [Popular(), PersonalThenPopular()]
    if segments is not None:
        baselines.append(SegmentPopular())
    names = [each.name for each in recommenders]
    if len(set(names)) < len(names):
        raise SettingError(f"recommenders: expected different names; got {', '.join(names)}.")
    everybody = [*(each for each in baselines if each.name not in names), *recommenders]

    asked = past.take(targets.customers)
    own = None if segments is None else segments[targets.customers]
    unbought, who = _unbought(past, targets)
    plain = [each.name for each in baselines]
    measured, measured_new = judge(targets, past), judge(unbought, past)
    values, covered, of_new, covered_new = {}, {}, {}, {}
    for each in everybody:
        began = time.perf_counter()
        fitted = each.fit(past, segments)
        learnt = time.perf_counter()
        lists = fitted.recommend(asked, k, day=targets.day if as_of_targets else None, segments=own)
        answered = time.perf_counter()
        values[each.name], covered[each.name] = measured(lists), coverage(lists, past)
        if len(who) and "only" in inspect.signature(fitted.recommend).parameters:
            chosen: dict[str, Any] = {"day": unbought.day if as_of_targets else None, "only": "new"}
            lists = fitted.recommend(asked.take(who), k, **chosen, segments=None if own is None else own[who])
            of_new[each.name], covered_new[each.name] = measured_new(lists), coverage(lists, past)
        if progress is not None:
            progress(each.name, asked.n, learnt - began, answered - learnt)
    protocol = partial(_protocol, past, split=split, last=last if date is None else None, least=least, date=date)
    found = _judged(values, covered, plain, protocol(targets), asked.customer_ids, k, own)
    if not of_new:
        return found
    new = _judged(of_new, covered_new, plain, protocol(unbought), asked.customer_ids.gather(who), k, None)
    return replace(found, new=new)


def _judged(
    values: Mapping[str, Mapping[str, NDArray[np.float64]]],
    covered: Mapping[str, float],
    baselines: Sequence[str],
    protocol: Mapping[str, Any],
    customer_ids: pl.Series,
    k: int,
    own: Segments | None,
) -> Evaluation:
    """Return what the measures of each customer say."""
    measures = _means(values, None)
    baseline = max((name for name in baselines if name in values), key=lambda name: measures[name][DECIDES].mean)
    found = Evaluation(
        k=k,
        protocol=protocol,
        measures=measures,
        coverage=covered,
        segments={} if own is None else {int(s): _means(values, own == s) for s in np.unique(own[own >= 0])},
        baseline=baseline,
        differences={},
        customer_ids=customer_ids,
        values=values,
    )
    return replace(found, differences={name: found.compare(name, baseline) for name in values if name != baseline})


def _unbought(past: Baskets, targets: Targets) -> tuple[Targets, NDArray[np.int64]]:
    """Return what of the targets each customer had not bought before, where there is any, and whose they are."""
    m = max(past.m, 1)
    start, item, _ = past.counts()
    known = np.repeat(np.arange(past.n), np.diff(start)) * m + item
    owner = np.repeat(np.arange(len(targets.customers)), np.diff(targets.start))
    new = ~np.isin(targets.customers[owner] * m + targets.item, known)
    sizes = np.bincount(owner[new], minlength=len(targets.customers))
    who = np.flatnonzero(sizes)
    ends = np.concatenate([[0], np.cumsum(sizes[who])]).astype(np.int64)
    return Targets(targets.customers[who], targets.day[who], ends, targets.item[new]), who


def _means(
    values: Mapping[str, Mapping[str, NDArray[np.float64]]], among: NDArray[np.bool_] | None
) -> dict[str, Means]:
    return {
        recommender: {
            name: Estimate.of(
                each if among is None else each[among], within=(0.0, np.inf if name == "novelty" else 1.0)
            )
            for name, each in measured.items()
        }
        for recommender, measured in values.items()
    }


def _protocol(
    past: Baskets, targets: Targets, *, split: str, last: int | None, least: int, date: datetime.date | None
) -> dict[str, Any]:
    start, item, _ = past.counts()
    m = max(past.m, 1)
    known = np.repeat(np.arange(past.n), np.diff(start)) * m + item
    wanted = np.repeat(targets.customers, np.diff(targets.start)) * m + targets.item
    return {
        "split": split,
        "last": last,
        "least": least,
        "date": date.isoformat() if date else None,
        "customers": past.n,
        "products": len(np.unique(past.item)),
        "baskets": past.baskets,
        "targets": len(targets.customers),
        "mean_target_products": _number(len(wanted) / len(targets.customers)),
        "share_of_repeats": _number(float(np.isin(wanted, known).mean()) if len(wanted) else np.nan),
    }


def _plain(means: Mapping[str, Means]) -> dict[str, Any]:
    return {
        recommender: {
            name: {key: _number(figure) for key, figure in found._asdict().items()} for name, found in of.items()
        }
        for recommender, of in means.items()
    }


def _number(figure: float) -> float | None:
    return None if np.isnan(figure) else figure
