"""The report's content as one plain mapping: everything the templates show, and no customer's id."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from engine import __version__
from engine.features.store import FEATURES

if TYPE_CHECKING:
    from engine.segmentation import Segmentation

SAMPLE_CUSTOMERS = 1_500
"""Points on the map: enough to show the shape, few enough to stay readable and quick."""

MAP_AXES = ("frequency", "monetary")


def report_summary(segmentation: Segmentation, *, name: str = "") -> dict[str, Any]:
    """Return the JSON-able content of the report.

    Parameters
    ----------
    segmentation
        A finished run.
    name
        What the data are called, for the title.
    """
    s = segmentation
    measures = [column.removesuffix("_mean") for column in s.profile.columns if column.endswith("_mean")]
    frame = s.customers.frame
    kept = s.source["reconciliation"]
    return {
        "name": name,
        "version": __version__,
        "run": {
            **s.summary,
            "monetary_total": float(s.customers.monetary_total),
            "first_sale": s.customers.first_sale.date().isoformat(),
            "last_sale": s.customers.last_sale.date().isoformat(),
            "orders": s.customers.orders,
            "where": s.customers.where,
        },
        "verdict": {**s.verdict.to_dict(), "chosen_by": "auto" if len(s.trials) > 1 else "user"},
        "trials": [{"k": trial.k, "silhouette": None, **trial.figures()} for trial in s.trials],
        "segments": _segments(s),
        "population": {
            "means": {name: _number(frame[name].mean()) for name in measures},
            "medians": {name: _number(frame[name].median()) for name in measures},
        },
        "measures": [
            {
                "name": name,
                "label": FEATURES[name].label.to_dict(),
                "unit": FEATURES[name].unit.to_dict(),
                "definition": FEATURES[name].definition.to_dict(),
                "signed": FEATURES[name].minimum < 0,
            }
            for name in measures
        ],
        "features": [
            {
                "name": column.name,
                "transform": column.transform,
                "scale": column.scale,
                "weight": column.weight,
            }
            for column in s.model.spec.columns
        ],
        "sample": _sample(s),
        "notes": list(s.source["notes"]),
        "warnings": [warning.to_dict() for warning in [*s.correlated, *s.customers.warnings()]],
        "reconciliation": {
            **kept,
            "rows_analysed": s.customers.rows,
            "amount_analysed": str(s.customers.monetary_total),
            "rows_left_out": {
                reason: {"rows": part.rows, "amount": str(part.amount)}
                for reason, part in s.customers.rows_left_out.items()
                if part.rows
            },
            "customers_in_lake": frame.height + sum(s.customers.left_out.values()),
            "customers_segmented": frame.height,
            "customers_left_out": {reason: count for reason, count in s.customers.left_out.items() if count},
        },
    }


def _segments(s: Segmentation) -> list[dict[str, Any]]:
    centroids = s.model.spec.inverse(s.model.centroids)
    described = [
        {
            **segment.to_dict(),
            "centroid": dict(zip(s.model.spec.names, centroids[index].tolist(), strict=True)),
        }
        for index, segment in enumerate(s.model.segments)
    ]
    return sorted(described, key=lambda segment: segment["rank"])


def _sample(s: Segmentation) -> dict[str, Any]:
    x, y = MAP_AXES
    joined = s.assignments.select("customer_id", "segment_id").join(
        s.customers.frame.select("customer_id", x, y), on="customer_id", how="left", maintain_order="left"
    )
    # Every step-th customer: the ids say nothing about the customers, and no draw is needed.
    taken = np.unique(np.linspace(0, joined.height - 1, min(joined.height, SAMPLE_CUSTOMERS)).astype(np.int64))
    shown = joined[taken]
    points = []
    for segment in sorted(s.model.segments, key=lambda segment: segment.rank):
        rows = shown.filter(pl.col("segment_id") == segment.segment_id)
        points.append({"segment_id": segment.segment_id, "x": rows[x].to_list(), "y": rows[y].to_list()})
    return {"x": x, "y": y, "points": points}


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
