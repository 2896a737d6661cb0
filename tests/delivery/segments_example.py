"""Segments with nothing in them that a test would look at, for models of a few lines."""

from __future__ import annotations

from engine.schema import Word
from engine.segments.segment import Driver, Segment


def make_segments(
    k: int, drivers: tuple[Driver, ...] = (Driver("frequency", 0.5, -1.0, "low"),)
) -> tuple[Segment, ...]:
    """Return k segments with the ids ``seg-000000``, ``seg-000001``, ..."""
    return tuple(
        Segment(
            segment_id=f"seg-{index:06d}",
            name=Word(f"Name {index}", f"Nombre {index}"),
            description=Word("What", "Qué"),
            action=Word("Do", "Hacer"),
            rank=index + 1,
            customers=10,
            share_customers=0.1,
            share_monetary=0.2,
            means={"frequency": 1.0},
            medians={"frequency": 1.0},
            drivers=drivers,
        )
        for index in range(k)
    )
