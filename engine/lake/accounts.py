"""The accounts of an ingest: what was read, kept and rejected, in rows and in money.

The same record goes into the commit, where :meth:`engine.lake.table.Lake.reconciliation` finds it, and into
``ingest.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from engine.lake import quality
from engine.lake.columns import filled_columns, unmapped_beside_price
from engine.lake.source import Source
from engine.lake.stage import Tally, Totals
from engine.schema import Word

# A share of all rows, and a number of rows, from which one id is more likely a till than a person.
_GIANT_SHARE = 0.05
_GIANT_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did; ``to_dict()`` is the content of ``ingest.json``.

    Attributes
    ----------
    recipe
        Name of the recipe.
    lake_version
        Version of the table after the ingest.
    buckets, customer_id_type
        Of the lake.
    rows_read, rows_kept, rejected
        Rows of the new files; ``rejected`` by reason. Read = kept + rejected.
    amount_read, amount_kept, amount_rejected
        Their amounts as exact decimal text. Rows whose amount cannot be read are in ``rows_without_amount``.
    customers, customers_with_sales
        Distinct ids of the kept rows, and of those that are sales.
    return_rows, by_volume_rows, non_product_rows
        Kept rows of that kind.
    first_timestamp, last_timestamp
        Of the kept rows, ISO 8601 in UTC; None when nothing was added.
    files
        One record per new file.
    skipped
        Names of the files that the lake already holds, or that were named twice.
    warnings
        What the reader should look at, in English and Spanish.
    lake
        The same accounts of the whole lake, all its ingests together: ``Lake.reconciliation()``.
    """

    recipe: str
    lake_version: int
    buckets: int
    customer_id_type: str
    rows_read: int = 0
    rows_kept: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    rows_without_amount: int = 0
    amount_read: str = "0"
    amount_kept: str = "0"
    amount_rejected: dict[str, str] = field(default_factory=dict)
    customers: int = 0
    customers_with_sales: int = 0
    return_rows: int = 0
    by_volume_rows: int = 0
    non_product_rows: int = 0
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    files: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    warnings: list[dict[str, str]] = field(default_factory=list)
    lake: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def ingest_record(
    sources: Sequence[Source],
    tallies: Sequence[Tally],
    totals: Totals,
    checks: Sequence[quality.Check],
    token: str,
) -> dict[str, Any]:
    """Return what the commit says of this ingest."""
    files = []
    reasons: dict[str, tuple[int, Decimal, int]] = {}
    for source, tally in zip(sources, tallies, strict=True):
        files.append(
            {
                "file": source.name,
                "hash": source.sha256,
                "encoding": None if source.text is None else source.text.encoding,
                "rows_read": tally.rows_read,
                "rows_kept": tally.rows_kept,
                "rows_rejected": tally.rows_rejected,
                "amount_kept": str(tally.amount_kept),
            }
        )
        for reason, (rows, amount, without) in tally.rejected.items():
            before = reasons.get(reason, (0, Decimal(0), 0))
            reasons[reason] = (before[0] + rows, before[1] + amount, before[2] + without)
    ordered = {reason: reasons[reason] for reason in quality.REASONS if reason in reasons}
    resolved = [check.columns for check in checks]
    kept = sum((tally.amount_kept for tally in tallies), Decimal(0))
    return {
        "token": token,
        "rows_read": sum(tally.rows_read for tally in tallies),
        "rows_kept": sum(tally.rows_kept for tally in tallies),
        "rejected": {reason: rows for reason, (rows, _, _) in ordered.items()},
        "rows_without_amount": sum(without for _, _, without in ordered.values()),
        "amount_read": str(kept + sum((amount for _, amount, _ in ordered.values()), Decimal(0))),
        "amount_kept": str(kept),
        "amount_rejected": {reason: str(amount) for reason, (_, amount, _) in ordered.items()},
        "by_volume_rows": totals.by_volume_rows,
        "non_product_rows": totals.non_product_rows,
        "filled": filled_columns(resolved),
        "price_only": unmapped_beside_price([list(source.columns) for source in sources], resolved),
        "currencies": sorted({sign for check in checks for sign in check.currencies}),
        "files": files,
    }


def giant_warnings(rows: int, totals: Totals) -> list[dict[str, str]]:
    """Warn of an id that is more likely a till than a person."""
    largest = totals.largest_customer_rows
    if largest < _GIANT_ROWS and (largest < _GIANT_SHARE * rows or totals.customers < 100):
        return []
    share = f"{100 * largest / rows:.1f}"
    count, cuenta = f"{largest:,}", f"{largest:,}".replace(",", ".")
    return [
        Word(
            en=f"One customer id holds {count} rows ({share} % of all): is it a walk-in or wholesale account?",
            es=f"Un solo identificador de cliente reúne {cuenta} filas ({share.replace('.', ',')} % del total): "
            "¿es una cuenta de mostrador o de mayorista?",
        ).to_dict()
    ]
