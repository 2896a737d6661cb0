"""Every column as a few levels: bands of numbers, ranges in their order, frequent texts, and "missing".

A person is then a short row of level numbers, whatever the columns were. Two tables say what a level means:
:attr:`Levels.steps` for the model (of ordered columns one step at each boundary, so that neighbours stay alike;
of texts one column a level) and :attr:`Levels.places` for distances (of ordered columns the share of the reference
below, of texts one axis a level).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.lookalike.columns import Column
from engine.lookalike.words import MISSING, OTHER
from engine.schema import Word

Codes = NDArray[np.int16]
"""Shape (people, columns): each person's level of each column."""

BANDS_OF_NUMBERS = 10
MOST_TEXTS = 60
FEWEST_ROWS = 5
"""Seeds and reference together must hold a text so often, or it joins the others."""

FEWEST_SHARE = 0.005
"""The same as a share, seeds and reference weighing alike."""


@dataclass(frozen=True, eq=False)
class Levels:
    """How one column is divided.

    The last level is "missing"; of ``text`` the one before it is "other": rare texts, and those that come later.

    Attributes
    ----------
    name, kind
        Of the column.
    cuts
        Of numbers: lower ends of all levels but the first, rising.
    texts
        Of bands and texts: the values that are levels.
    shares
        Of the reference, by level; they sum to 1.
    single
        Of numbers with few different values, each a level of its own: these values.
    """

    name: str
    kind: str
    cuts: tuple[float, ...]
    texts: tuple[str, ...]
    shares: NDArray[np.float64]
    single: tuple[float, ...] = ()

    @classmethod
    def fit(cls, column: Column, reference: str) -> Levels:
        """Divide a column by what its seeds and its reference hold.

        Parameters
        ----------
        column
            The column.
        reference
            Which of its tables is the reference.
        """
        seeds, others = column.values["seeds"].drop_nulls(), column.values[reference].drop_nulls()
        cuts: tuple[float, ...] = ()
        single: tuple[float, ...] = ()
        texts: tuple[str, ...] = column.bands
        if column.kind == "number":
            cuts, single = _cuts(seeds.to_numpy(), others.to_numpy())
        elif column.kind == "text":
            texts = _frequent(seeds, others)
        unshared = cls(column.name, column.kind, cuts, texts, np.empty(0), single)
        counts = np.bincount(unshared.codes(column.values[reference]), minlength=unshared.size)
        return cls(column.name, column.kind, cuts, texts, counts / counts.sum(), single)

    @property
    def size(self) -> int:
        """Number of levels."""
        return {"number": len(self.cuts) + 2, "bands": len(self.texts) + 1, "text": len(self.texts) + 2}[self.kind]

    @property
    def named(self) -> int:
        """Number of levels, from the first, that stand for values: all but "missing" and "other"."""
        return self.size - 1 if self.ordered else self.size - 2

    @property
    def ordered(self) -> bool:
        """Whether levels that follow each other are alike."""
        return self.kind != "text"

    def codes(self, values: pl.Series) -> Codes:
        """Return the level of each value."""
        missing = values.is_null().to_numpy()
        if self.kind == "number":
            found = np.searchsorted(np.array(self.cuts), values.fill_null(0.0).to_numpy(), side="right")
        else:
            other = max(self.size - 2, 0)
            numbers = dict(zip(self.texts, range(len(self.texts)), strict=True))
            found = values.replace_strict(numbers, default=other, return_dtype=pl.Int16).fill_null(0).to_numpy()
        return np.where(missing, self.size - 1, found).astype(np.int16)

    @cached_property
    def steps(self) -> NDArray[np.float64]:
        """The model's view, shape (size, width).

        An ordered level has 1 at every boundary that it lies above; missing has the reference's mean there and a
        column of its own, so that it says nothing of high or low. A text has 1 in its own column.
        """
        if not self.ordered:
            return np.eye(self.size)
        known = self.size - 1
        above = (np.arange(known)[:, None] > np.arange(known - 1)[None, :]).astype(np.float64)
        table = np.zeros((self.size, known))
        table[:known, : known - 1] = above
        shares = self.shares[:known]
        table[known, : known - 1] = shares @ above / max(shares.sum(), 1e-12)
        table[known, known - 1] = 1.0
        return table

    @cached_property
    def places(self) -> NDArray[np.float64]:
        """The view of distances, shape (size, width): rows lie at most 1 apart (Gower 1971).

        Two ordered levels are as far apart as the share of the reference between their middles; two texts are 1 apart,
        and a number and none from 0.87 to 1.
        """
        if not self.ordered:
            return np.eye(self.size) / math.sqrt(2)
        known = self.size - 1
        shares = self.shares[:known] / max(self.shares[:known].sum(), 1e-12)
        table = np.zeros((self.size, 2))
        table[:known, 0] = np.cumsum(shares) - shares / 2
        # Missing lies beside the middle of the line: no value is more than 1 away.
        table[known] = 0.5, math.sqrt(0.75)
        return table

    def label(self, code: int) -> Word:
        """Return what a level is called."""
        if code == self.size - 1:
            return MISSING
        if self.kind == "text" and code == self.size - 2:
            return OTHER
        if self.kind != "number":
            return Word(self.texts[code], self.texts[code])
        if self.single:
            return Word(_en(self.single[code]), _es(self.single[code]))
        low = self.cuts[code - 1] if code else None
        high = self.cuts[code] if code < len(self.cuts) else None
        if low is None and high is not None:
            return Word(f"under {_en(high)}", f"menos de {_es(high)}")
        if low is not None and high is None:
            return Word(f"{_en(low)} or more", f"{_es(low)} o más")
        if low is None or high is None:
            return Word("any number", "cualquier número")
        return Word(f"{_en(low)} to under {_en(high)}", f"de {_es(low)} a menos de {_es(high)}")


def encode(levels: Sequence[Levels], columns: Mapping[str, pl.Series]) -> Codes:
    """Return the levels of people, one row each, from the columns of their table."""
    return np.column_stack([each.codes(columns[each.name]) for each in levels])


def expand(codes: Codes, tables: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the rows of the levels' tables side by side, shape (people, widths together)."""
    return np.hstack([table[codes[:, index]] for index, table in enumerate(tables)])


def _cuts(seeds: NDArray[np.float64], others: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the boundaries of numbers, and the numbers themselves where there are few."""
    distinct = np.unique(np.concatenate([np.unique(seeds), np.unique(others)]))
    if distinct.size <= BANDS_OF_NUMBERS:
        return tuple(map(float, distinct[1:])), tuple(map(float, distinct))
    # Both weigh alike, however many more people the reference has. Only values that occur: no mean of two could
    # overflow, and a label shows a number that somebody has.
    grid = (np.arange(200) + 0.5) / 200
    both = np.concatenate([np.quantile(values, grid, method="inverted_cdf") for values in (seeds, others)])
    shares = np.arange(1, BANDS_OF_NUMBERS) / BANDS_OF_NUMBERS
    cuts = np.unique(np.quantile(both, shares, method="higher"))
    return tuple(map(float, cuts[cuts > distinct[0]])), ()


def _frequent(seeds: pl.Series, others: pl.Series) -> tuple[str, ...]:
    """Return the texts that are frequent enough for a level, in alphabetical order."""
    in_seeds, in_others = (_counts(values) for values in (seeds, others))
    weights = {}
    for text in {**in_seeds, **in_others}:
        rows = in_seeds.get(text, 0), in_others.get(text, 0)
        share = rows[0] / (2 * seeds.len()) + rows[1] / (2 * others.len())
        if sum(rows) >= FEWEST_ROWS and share >= FEWEST_SHARE:
            weights[text] = share
    return tuple(sorted(sorted(weights, key=lambda text: (-weights[text], text))[:MOST_TEXTS]))


def _counts(values: pl.Series) -> dict[str, int]:
    table = values.rename("text").value_counts(name="rows")
    return dict(zip(table["text"].to_list(), table["rows"].to_list(), strict=True))


def _en(value: float) -> str:
    return f"{value:,.10g}"


def _es(value: float) -> str:
    return f"{value:,.10g}".translate(str.maketrans(",.", ".,"))
