"""What a feature is: an expression over a customer's rows, and the words that explain it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from engine.schema import Word


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the customer table.

    Attributes
    ----------
    name
        Column name, with its unit where it has one (``recency_days``).
    reads
        Transaction columns that the expression needs.
    expression
        From ``as_of`` to the aggregation over one customer's rows, which come sorted by time.
    label, unit, definition
        What a reader sees, in both languages.
    rows
        Which rows the expression sees: ``sales``, or ``all`` for sales and returns. Those from ``as_of`` on never.
    whole_history
        True where the window does not apply: everything before ``as_of`` counts.
    minimum, maximum
        Smallest and largest value that can occur; one outside, given for classification, is refused. With a minimum
        below 0 the feature is not taken to a logarithm with the others.
    requires
        Transaction columns without which the feature means nothing: data that have no value in them are refused.
    """

    name: str
    reads: tuple[str, ...]
    expression: Callable[[datetime], pl.Expr]
    label: Word
    unit: Word
    definition: Word
    rows: Literal["sales", "all"] = "sales"
    whole_history: bool = False
    minimum: float = 0.0
    maximum: float = math.inf
    requires: tuple[str, ...] = ()
