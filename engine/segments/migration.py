"""Where customers went from one division into segments to another, and which segment is the heir of which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.clustering.agreement import adjusted_rand, match_clusters
from engine.errors import DataError

NEW, GONE = "new", "gone"
"""Stand in place of a segment's id for customers who are in one run only."""


def join_customers(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Return every customer of either run with the segment in each.

    Parameters
    ----------
    before, after
        ``customer_id`` and ``segment_id``, every customer once.

    Returns
    -------
    pl.DataFrame
        ``customer_id, from_segment_id, to_segment_id``; null where the customer is not in that run.

    Raises
    ------
    DataError
        The ids are whole numbers in one run and text in the other, or neither.

    Examples
    --------
    >>> before = pl.DataFrame({"customer_id": [1, 2], "segment_id": ["a", "b"]})
    >>> after = pl.DataFrame({"customer_id": [2, 3], "segment_id": ["b", "b"]})
    >>> sorted(join_customers(before, after).rows())
    [(1, 'a', None), (2, 'b', 'b'), (3, None, 'b')]
    """
    kinds = {}
    for side, table in (("before", before), ("after", after)):
        kind = table["customer_id"].dtype
        if not (kind.is_integer() or kind == pl.String):
            raise DataError(f"{side}: customer_id should be whole numbers or text; it is {kind}.")
        kinds[side] = "whole numbers" if kind.is_integer() else "text"
    if kinds["before"] != kinds["after"]:
        raise DataError(
            f"customer_id: expected the same type in both runs; it is {kinds['before']} before and {kinds['after']} "
            "after, so no customer can be found again. Ingest both data sets into one lake, or write the ids alike."
        )
    sides = [
        table.select(
            pl.col("customer_id").cast(pl.Int64 if kinds["before"] != "text" else pl.String),
            pl.col("segment_id").alias(f"{column}_segment_id"),
        )
        for column, table in (("from", before), ("to", after))
    ]
    return sides[0].join(sides[1], on="customer_id", how="full", coalesce=True)


def count_moves(both: pl.DataFrame, before: Sequence[str], after: Sequence[str]) -> NDArray[np.int64]:
    """Return the customers of :func:`join_customers` by segment before and after.

    Returns
    -------
    NDArray
        Shape (len(before) + 1, len(after) + 1): a row for each segment before and one for new customers, a column for
        each segment after and one for customers who are gone.
    """
    rows, columns = [*before, NEW], [*after, GONE]
    filled = both.select(pl.col("from_segment_id").fill_null(NEW), pl.col("to_segment_id").fill_null(GONE))
    counts = np.zeros((len(rows), len(columns)), dtype=np.int64)
    for start, end, customers in filled.group_by("from_segment_id", "to_segment_id").len().iter_rows():
        counts[rows.index(start), columns.index(end)] = customers
    return counts


def match_segments(both: pl.DataFrame, before: Sequence[str], after: Sequence[str]) -> dict[str, str]:
    """Match segments one to one: the same id first, then such that most customers are in matched segments.

    Parameters
    ----------
    both
        Of :func:`join_customers`.
    before, after
        Ids of the segments.

    Returns
    -------
    dict
        Id after by id before, in the order of ``before``. Segments that share no customer are matched only by their id.

    Examples
    --------
    >>> moves = {("a", "c"): 9, ("a", "d"): 5, ("a", "e"): 4, ("b", "d"): 6}
    >>> both = pl.DataFrame(
    ...     [(*move, copy) for move, customers in moves.items() for copy in range(customers)],
    ...     schema=["from_segment_id", "to_segment_id", "customer_id"], orient="row",
    ... )
    >>> match_segments(both, ["a", "b", "c"], ["c", "d", "e"])
    {'a': 'e', 'b': 'd', 'c': 'c'}
    """
    first, second = _labels(both, before, after)
    same = {row: after.index(key) for row, key in enumerate(before) if key in after}
    free = ~np.isin(first, list(same)) & ~np.isin(second, list(same.values()))
    found = dict(match_clusters(first[free], second[free]).pairs) if free.any() else {}
    matches = same | found
    return {key: after[matches[row]] for row, key in enumerate(before) if row in matches}


def likeness(both: pl.DataFrame, before: Sequence[str], after: Sequence[str]) -> float | None:
    """Return the adjusted Rand index over the customers in both runs; ``None`` for fewer than two of them.

    One customer makes no pair, and the index counts pairs.
    """
    first, second = _labels(both, before, after)
    return adjusted_rand(first, second) if len(first) > 1 else None


def migration_table(counts: NDArray[np.int64], before: Sequence[str], after: Sequence[str]) -> pl.DataFrame:
    """Write the counts of :func:`count_moves` as a table.

    Returns
    -------
    pl.DataFrame
        A row for each two segments, :data:`NEW` and :data:`GONE` included: ``from_segment_id, to_segment_id,
        customers, share`` (of everybody in either run), ``share_of_from``, ``share_of_to`` (0 to 1, null where the
        segment has nobody).

    Examples
    --------
    >>> migration_table(np.array([[3, 1], [0, 0]]), ["a"], ["b"]).rows()
    [('a', 'b', 3, 0.75, 0.75, 1.0), ('a', 'gone', 1, 0.25, 0.25, 1.0), ('new', 'b', 0, 0.0, None, 0.0)]
    """
    rows, columns = [*before, NEW], [*after, GONE]
    cells = [
        (i, j) for i in range(len(rows)) for j in range(len(columns)) if (i, j) != (len(rows) - 1, len(columns) - 1)
    ]
    everybody, by_row, by_column = int(counts.sum()), counts.sum(axis=1), counts.sum(axis=0)
    types = {"from_segment_id": pl.String(), "to_segment_id": pl.String(), "customers": pl.Int64()}
    return pl.DataFrame(
        [
            {
                "from_segment_id": rows[i],
                "to_segment_id": columns[j],
                "customers": int(counts[i, j]),
                "share": _share(counts[i, j], everybody),
                "share_of_from": _share(counts[i, j], by_row[i]),
                "share_of_to": _share(counts[i, j], by_column[j]),
            }
            for i, j in cells
        ],
        schema=types | {name: pl.Float64() for name in ("share", "share_of_from", "share_of_to")},
    )


def _share(part: Any, whole: Any) -> float | None:
    return int(part) / int(whole) if whole else None


def _labels(
    both: pl.DataFrame, before: Sequence[str], after: Sequence[str]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the place of each common customer's segment among those before, and among those after."""
    common = both.drop_nulls()
    first, second = (
        common[f"{side}_segment_id"].replace_strict(list(ids), list(range(len(ids))), return_dtype=pl.Int32).to_numpy()
        for side, ids in (("from", before), ("to", after))
    )
    return first, second
