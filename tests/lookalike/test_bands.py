from __future__ import annotations

import math
import random

import pytest

from engine.lookalike.bands import ordered_bands, parse_band

INCOME = ["Under 15K", "15-24K", "25-34K", "35-49K", "50-74K", "75-99K", "100-124K", "125-149K", "150-174K", "250K+"]


@pytest.mark.parametrize(
    "bands",
    [
        INCOME,  # dunnhumby
        ["19-24", "25-34", "35-44", "45-54", "55-64", "65+"],
        ["0", "1", "2", "3+"],
        ["menos de 1.000 €", "1.000 a 1.999 €", "2.000 a 2.999 €", "más de 3.000 €"],
        ["1) $0 - $100", "2) $100 - $200", "3) $200 - $350", "7) $1,000 +"],  # Hillstrom
        ["<18", "18–30", ">=31"],
        ["hasta 24 años", "25-64 años", "65 y más años"],
    ],
)
def test_ranges_are_put_in_order(bands: list[str]) -> None:
    for seed in range(5):
        mixed = random.Random(seed).sample(bands, len(bands))
        assert ordered_bands([*mixed, "Unknown"]) == bands


@pytest.mark.parametrize(
    "texts",
    [
        ["Homeowner", "Renter", "Unknown"],
        ["2 Adults No Kids", "1 Adult No Kids", "2 Adults Kids"],
        ["25-34", "35-44", "other people"],
        ["25-40", "35-44", "45-54"],  # they overlap
        ["5", "5+", "1-4"],  # twice the same beginning
        ["25-34", "35-44"],  # two: high and low, with or without an order
        ["1", "2", "3"],  # numbers, no ranges
        ["34-25", "24-15", "14-5"],
        [],
    ],
)
def test_other_texts_have_no_order(texts: list[str]) -> None:
    assert ordered_bands(texts) is None


def test_the_ends_of_a_range_by_hand() -> None:
    assert parse_band("15-24K") == (15_000, 24_000)
    assert parse_band("500-1K") is None  # 500K to 1K
    assert parse_band("1,5 - 2,5") == (1.5, 2.5)
    assert parse_band("≤ 1.500.000") == (-math.inf, 1_500_000)
    assert parse_band("over 9") == (9, math.inf)
    assert parse_band("under 9 and over") is None
