"""The bucket of a customer never changes: not between releases, not between engines."""

from __future__ import annotations

import polars as pl
import pytest

from engine.errors import SettingError
from engine.lake.buckets import bucket_of, buckets_for, check_buckets
from tests.reference.lake_xxh64 import xxh64

# XXH64, seed 42, of the UTF-8 text: the low 16 bits.
VECTORS = {"1": 8592, "12345": 3415, "abc": 28902, "ñ": 8980, "00123": 36849, "": 59140}


def buckets(ids: list[str] | list[int], count: int) -> list[int]:
    return pl.DataFrame({"id": ids}).select(bucket_of("id", count)).to_series().to_list()


def test_written_down_vectors_hold() -> None:
    assert dict(zip(VECTORS, buckets(list(VECTORS), 65_536), strict=True)) == VECTORS


def test_hash_is_the_published_one() -> None:
    ids = [str(number * 7919) for number in range(500)] + ["cliente-ñandú-0001", "A" * 31]
    assert buckets(ids, 65_536) == [xxh64(text, 42) & 65_535 for text in ids]


def test_whole_numbers_and_their_text_share_a_bucket() -> None:
    assert buckets([1, 12345, -7], 64) == buckets(["1", "12345", "-7"], 64)


def test_bucket_is_a_signed_32_bit_number() -> None:
    # Unsigned partition columns commit to Delta and cannot be read back.
    assert pl.DataFrame({"id": [1]}).select(bucket_of("id", 8)).schema["bucket"] == pl.Int32


@pytest.mark.parametrize("count", [8, 64, 1024])
def test_doubling_splits_each_bucket_in_two(count: int) -> None:
    ids = list(range(5_000))
    assert all(new % count == old for old, new in zip(buckets(ids, count), buckets(ids, 2 * count), strict=True))


def test_buckets_are_even() -> None:
    sizes = pl.Series(buckets(list(range(80_000)), 8)).value_counts()["count"]
    # Binomial(80,000, 1/8) has a standard deviation of 94; five of them.
    assert sizes.min() > 10_000 - 470
    assert sizes.max() < 10_000 + 470


@pytest.mark.parametrize(("rows", "wanted"), [(0, 8), (16_000_000, 8), (16_000_001, 16), (100_000_000, 64)])
def test_number_of_buckets_follows_from_the_rows(rows: int, wanted: int) -> None:
    assert buckets_for(rows) == wanted


@pytest.mark.parametrize("bad", [0, -8, 6, 131_072])
def test_impossible_number_of_buckets(bad: int) -> None:
    with pytest.raises(SettingError, match="power of two"):
        check_buckets(bad)
