"""Texts that are ranges of numbers, such as ``25-34``, ``Under 15K`` or ``más de 65``: put in their order."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from itertools import pairwise

_NO_VALUE = ("", "-", "?", "na", "n/a", "n.a.", "nan", "null", "unknown", "none/unknown", "missing", "not available")
_NINGUN_VALOR = ("desconocido", "desconocida", "sin dato", "sin datos", "no disponible", "ns/nc")
MISSING_WORDS = frozenset((*_NO_VALUE, *_NINGUN_VALOR))
"""What stands for "no value" among numbers and ranges, in lower case. In any other text it is a value like others."""

FEWEST_BANDS = 3
_NUMBER = r"(?:usd|eur|[$€£])?\s*(\d[\d.,]*)\s*(k|m|mil)?\s*(?:usd|eur|[$€£])?"
_UNDER = r"under|below|less than|up to|menos de|hasta|<=?|≤"
_OVER = r"over|above|more than|from|desde|más de|mas de|>=?|≥"
_MORE = r"\+|plus|or more|and over|and more|o más|o mas|y más|y mas"
_BAND = re.compile(
    rf"(?:\d+\)\s*)?(?P<under>{_UNDER})?(?P<over>{_OVER})?\s*{_NUMBER}"
    rf"(?:\s*(?:-|–|—|to|a|y|and)\s*{_NUMBER})?\s*(?P<more>{_MORE})?\s*(?:years?|años?)?"
)
_FACTOR = {None: 1.0, "k": 1e3, "mil": 1e3, "m": 1e6}


def parse_band(text: str) -> tuple[float, float] | None:
    """Return the lower and the upper end of a range, or ``None`` where the text is none.

    Examples
    --------
    >>> [parse_band(text) for text in ("25-34", "Under 15K", "100-124K", "65+", "más de 2.000 €", "3", "2 Adults")]
    [(25.0, 34.0), (-inf, 15000.0), (100000.0, 124000.0), (65.0, inf), (2000.0, inf), (3.0, 3.0), None]
    """
    found = _BAND.fullmatch(text.strip().lower())
    if found is None:
        return None
    first, first_unit, second, second_unit = found.group(3, 4, 5, 6)
    low = _number(first)
    high = low if second is None else _number(second)
    if low is None or high is None:
        return None
    # In 100-124K the unit stands once for both.
    low, high = low * _FACTOR[first_unit or second_unit], high * _FACTOR[second_unit or first_unit]
    under, over = found["under"] is not None, found["over"] is not None or found["more"] is not None
    if high < low or (under and over) or ((under or over) and second is not None):
        return None
    return (-math.inf if under else low), (math.inf if over else high)


def ordered_bands(texts: Iterable[str]) -> list[str] | None:
    """Return the texts from the lowest range to the highest, or ``None`` unless all are ranges that do not overlap.

    Words for "no value" (:data:`MISSING_WORDS`) are passed over and are not in the result. Fewer than three ranges,
    or numbers alone, have no need of this.

    Examples
    --------
    >>> ordered_bands(["65+", "Under 25", "25-44", "Unknown", "45-64"])
    ['Under 25', '25-44', '45-64', '65+']
    >>> ordered_bands(["Homeowner", "Renter", "Unknown"]) is None
    True
    """
    ends: dict[str, tuple[float, float]] = {}
    for text in texts:
        if text.strip().lower() in MISSING_WORDS:
            continue
        band = parse_band(text)
        if band is None:
            return None
        ends[text] = band
    ordered = sorted(ends, key=lambda text: ends[text])
    if len(ordered) < FEWEST_BANDS or all(low == high for low, high in ends.values()):
        return None
    for lower, upper in pairwise(ordered):
        if ends[lower][0] == ends[upper][0] or ends[lower][1] > ends[upper][0]:
            return None
    return ordered


def _number(digits: str) -> float | None:
    """Return a number whose points and commas either separate groups of three or mark the decimals."""
    bare = re.sub(r"[.,](?=\d{3}(?:\D|$))", "", digits) if re.fullmatch(r"\d{1,3}([.,]\d{3})+", digits) else digits
    try:
        return float(bare.replace(",", "."))
    except ValueError:
        return None
