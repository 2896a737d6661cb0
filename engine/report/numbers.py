"""Numbers and dates as a reader of English or Spanish expects them.

English writes 4,596,039.58 and 29.2%; Spanish writes 4.596.039,58 and 29,2 % with a non-breaking space.
Spanish spelling leaves four-digit figures unseparated in running text; here they carry the point too, so that the
columns of a table line up. A figure that is missing, not a number or infinite is a dash.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation

from engine.schema import check_language

MISSING = "–"
"""What stands where there is no figure."""

NO_BREAK = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"

Number = int | float | Decimal | str
"""A figure; text is read as an exact decimal, since money travels as text."""

_MONTHS = {
    "en": (
        *("January", "February", "March", "April", "May", "June", "July"),
        *("August", "September", "October", "November", "December"),
    ),
    "es": (
        *("enero", "febrero", "marzo", "abril", "mayo", "junio", "julio"),
        *("agosto", "septiembre", "octubre", "noviembre", "diciembre"),
    ),
}


def known(value: Number | None) -> bool:
    """Tell whether there is a finite figure to show.

    Examples
    --------
    >>> known(0.0), known(None), known(float("nan"))
    (True, False, False)
    """
    return value is not None and Decimal(value).is_finite()


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """Writes figures in one language.

    Attributes
    ----------
    language
        ``en`` or ``es``.

    Examples
    --------
    >>> en, es = NumberFormat("en"), NumberFormat("es")
    >>> en.decimal("4596039.58"), es.decimal("4596039.58")
    ('4,596,039.58', '4.596.039,58')
    >>> en.percent(0.2924), es.date("2018-01-02")
    ('29.2%', '2 de enero de 2018')
    """

    language: str

    def __post_init__(self) -> None:
        check_language(self.language)

    @property
    def separators(self) -> str:
        """Decimal mark, then thousands mark, as Plotly's ``layout.separators`` wants them."""
        return ".," if self.language == "en" else ",."

    def decimal(self, value: Number | None, places: int = 2) -> str:
        """Write with thousands marks and a fixed number of decimals, ties to the even digit."""
        if value is None or not known(value):
            return MISSING
        rounded = round_half_even(value, places)
        text = f"{rounded.copy_abs():,.{places}f}"
        if self.language == "es":
            text = text.translate(str.maketrans(",.", ".,"))
        return MINUS + text if rounded < 0 else text

    def whole(self, value: Number | None) -> str:
        """Write without decimals.

        Examples
        --------
        >>> NumberFormat("es").whole(2469)
        '2.469'
        """
        return self.decimal(value, 0)

    def percent(self, share: Number | None, places: int = 1) -> str:
        """Write a share (1 is the whole) in percent; one too small to show is ``< 0.1%``, not 0.

        Examples
        --------
        >>> [NumberFormat("en").percent(s).replace(NO_BREAK, " ") for s in (0.0004, 0, 1)]
        ['< 0.1%', '0.0%', '100.0%']
        """
        if share is None or not known(share):
            return MISSING
        percent = Decimal(share) * 100
        step = Decimal(1).scaleb(-places)
        sign = "%" if self.language == "en" else NO_BREAK + "%"
        if 0 < percent < step / 2:
            return f"<{NO_BREAK}{self.decimal(step, places)}{sign}"
        return self.decimal(percent, places) + sign

    def times(self, ratio: Number | None) -> str:
        """Write a factor with about two digits that matter.

        Examples
        --------
        >>> [NumberFormat("en").times(r) for r in (0.043, 0.5, 2.26, 14.2, 1200)]
        ['0.04×', '0.50×', '2.3×', '14×', '1,200×']
        """
        factor = self.factor(ratio)
        return factor if factor == MISSING else f"{factor}×"

    def factor(self, ratio: Number | None) -> str:
        """Write the figure of :meth:`times` without the sign, for use inside a sentence."""
        if ratio is None or not known(ratio):
            return MISSING
        size = abs(float(ratio))
        return self.decimal(ratio, 0 if size >= 9.95 else 1 if size >= 0.995 else 2)

    def date(self, iso: str | None) -> str:
        """Write an ISO date (its day, where it carries a time) in words.

        Raises
        ------
        ValueError
            The text is no ISO date.
        """
        if iso is None:
            return MISSING
        day = date.fromisoformat(iso[:10])
        month = _MONTHS[self.language][day.month - 1]
        return f"{day.day} {month} {day.year}" if self.language == "en" else f"{day.day} de {month} de {day.year}"

    def seconds(self, value: Number | None) -> str:
        """Write a duration: seconds below two minutes, minutes below two hours, then hours.

        Examples
        --------
        >>> [NumberFormat("en").seconds(s).replace(NO_BREAK, " ") for s in (0.004, 3.21, 600, 9000)]
        ['0.00 s', '3.21 s', '10.0 min', '2.5 h']
        """
        if value is None or not known(value):
            return MISSING
        length = float(value)
        if length < 120:
            return f"{self.decimal(length, 2)}{NO_BREAK}s"
        if length < 7200:
            return f"{self.decimal(length / 60, 1)}{NO_BREAK}min"
        return f"{self.decimal(length / 3600, 1)}{NO_BREAK}h"


def round_half_even(value: Number, places: int) -> Decimal:
    """Round the exact value to ``places`` decimals; a negative that rounds to nothing is plain zero.

    Raises
    ------
    ValueError
        The text is no number.

    Examples
    --------
    >>> round_half_even("0.125", 2), round_half_even(-0.001, 1)
    (Decimal('0.12'), Decimal('0.0'))
    """
    try:
        exact = Decimal(value)
    except InvalidOperation as error:
        raise ValueError(f"expected a number; got {value!r}.") from error
    # Formatting rounds at any size, where quantize stops at 28 digits.
    rounded = Decimal(f"{exact:.{places}f}")
    return rounded if rounded else rounded.copy_abs()


def decimals_for(values: list[float]) -> int:
    """Decimals that a column of such figures deserves, the same for the whole column so that it lines up.

    Examples
    --------
    >>> decimals_for([135.4, 4.95]), decimals_for([1.3, 4.2]), decimals_for([0.31, 0.02])
    (1, 2, 3)
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return 1 if largest >= 10 else 2 if largest >= 1 or largest == 0 else 3
