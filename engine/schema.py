"""Canonical columns: names, types and units of the tables that pass between modules.

A *transaction* is one row of a receipt. Money and quantities are exact decimals (no float sum differs between two
runs); times are UTC microseconds, and a source without a zone is read as UTC, so a day is the day that the source
wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from engine.errors import ColumnsMissingError, SettingError

MONEY = pl.Decimal(18, 4)
"""Amounts, prices and quantities: up to 99,999,999,999,999.9999, summed exactly."""

TIMESTAMP = pl.Datetime("us", "UTC")
"""The one time type that Delta readers of every kind agree on."""

SALE = "sale"
RETURN = "return"

TRANSACTION: Mapping[str, pl.DataType] = {
    "order_id": pl.String(),
    "timestamp": TIMESTAMP,
    "product_id": pl.String(),
    "quantity": MONEY,
    "unit_price": MONEY,
    "amount": MONEY,
    "kind": pl.String(),
    "is_product": pl.Boolean(),
    "by_volume": pl.Boolean(),
}
"""Columns of the lake's ``transactions`` beside ``customer_id`` (Int64 or String, decided at the first ingest).

``amount`` is the row's value (quantity × unit price), ``kind`` is ``sale`` or ``return``, ``is_product`` is false for
postage, fees and the like, ``by_volume`` is true where ``quantity`` is a volume or a weight, so that the row counts
as one unit.
"""

SORT_KEYS = ("customer_id", "timestamp", "order_id")
"""Order of the rows inside a bucket."""


LANGUAGES = ("en", "es")
"""Every text that a reader sees exists in these."""


def check_language(language: str) -> str:
    """Return the language, or raise :class:`SettingError` unless it is one of :data:`LANGUAGES`.

    Examples
    --------
    >>> check_language("es")
    'es'
    """
    if language not in LANGUAGES:
        raise SettingError.from_unknown("language", language, LANGUAGES)
    return language


@dataclass(frozen=True, slots=True)
class Word:
    """A term or a text in both languages.

    Examples
    --------
    >>> Word("customers", "clientes").text("es")
    'clientes'
    """

    en: str
    es: str

    def text(self, language: str) -> str:
        """Return it in one language; another than :data:`LANGUAGES` raises :class:`SettingError`."""
        return self.es if check_language(language) == "es" else self.en

    def to_dict(self) -> dict[str, str]:
        """Return ``{"en": ..., "es": ...}``."""
        return {"en": self.en, "es": self.es}


def require_columns(available: Iterable[str], wanted: Iterable[str], *, where: str, hint: str = "") -> None:
    """Raise :class:`ColumnsMissingError` unless every wanted column is available.

    Examples
    --------
    >>> require_columns(["a", "b"], ["a"], where="customers")
    """
    there = list(available)
    missing = [name for name in wanted if name not in there]
    if missing:
        raise ColumnsMissingError.from_missing(missing, there, where=where, hint=hint)
