"""Which bucket a customer's rows live in: the same on every machine, release and engine.

The bucket of a customer is the XXH64 hash (seed 42) of the UTF-8 text of the id, whole numbers in plain decimal
digits, masked to the number of buckets. That number is a power of two, so that doubling it splits each bucket in
two and moves no row elsewhere.
"""

from __future__ import annotations

import polars as pl

from engine.errors import SettingError

HASH_NAME = "xxh64"
HASH_SEED = 42
ROWS_PER_BUCKET = 2_000_000
FEWEST_BUCKETS = 8
MOST_BUCKETS = 65_536


def bucket_of(customer_id: str | pl.Expr, buckets: int) -> pl.Expr:
    """Return the bucket number of each customer, as Int32 in [0, buckets).

    Parameters
    ----------
    customer_id
        A column name or an expression; whole numbers and text give the same bucket for the same digits.
    buckets
        A power of two.

    Examples
    --------
    >>> import polars as pl
    >>> frame = pl.DataFrame({"customer_id": [1, 12345]})
    >>> frame.select(bucket_of("customer_id", 8)).to_series().to_list()
    [0, 7]
    """
    import polars_hash  # noqa: F401  registers the expression namespace

    text = (pl.col(customer_id) if isinstance(customer_id, str) else customer_id).cast(pl.String)
    hashed: pl.Expr = text.nchash.xxhash64(seed=HASH_SEED)  # type: ignore[attr-defined]
    return (hashed & (buckets - 1)).cast(pl.Int32).alias("bucket")


def buckets_for(estimated_rows: int) -> int:
    """Return the smallest power of two that keeps buckets at two million rows or fewer, at least eight.

    Examples
    --------
    >>> buckets_for(1_500_000), buckets_for(50_000_000)
    (8, 32)
    """
    buckets = FEWEST_BUCKETS
    while buckets * ROWS_PER_BUCKET < estimated_rows and buckets < MOST_BUCKETS:
        buckets *= 2
    return buckets


def check_buckets(buckets: int) -> int:
    """Return ``buckets`` when it is a power of two from 1 to 65,536, else raise.

    Raises
    ------
    SettingError
        It is not.
    """
    whole = isinstance(buckets, int) and not isinstance(buckets, bool)
    if not whole or not 1 <= buckets <= MOST_BUCKETS or buckets & (buckets - 1):
        raise SettingError(
            f"data.buckets: expected a power of two from 1 to {MOST_BUCKETS}; got {buckets!r}. "
            "Leave it out to have it chosen from the number of rows."
        )
    return buckets
