"""What a feature is: an expression over a customer's sales, and the words that explain it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

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
        From ``as_of`` to the aggregation over one customer's sale rows.
    label, unit, definition
        What a reader sees, in both languages.
    whole_history
        True where the window does not apply: all sales before ``as_of`` count.
    minimum
        Smallest value that can occur; a smaller one given for classification is refused.
    """

    name: str
    reads: tuple[str, ...]
    expression: Callable[[datetime], pl.Expr]
    label: Word
    unit: Word
    definition: Word
    whole_history: bool = False
    minimum: float = 0.0
