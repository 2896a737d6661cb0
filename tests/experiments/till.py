"""A small till log for the tests of the command line."""

from __future__ import annotations

import random
from pathlib import Path

COLUMNS = "customer_id,order_id,timestamp,product_id,quantity,unit_price"


def sales_csv(path: Path, customers: int = 60, seed: int = 0, extra: tuple[str, ...] = ()) -> Path:
    """Write a small till log: half of the customers buy often and much, half rarely and little."""
    draw = random.Random(seed)
    lines = [COLUMNS]
    for customer in range(1, customers + 1):
        often = customer % 2 == 0
        for order in range(draw.randint(8, 14) if often else draw.randint(1, 2)):
            day = draw.randint(1, 28)
            price = draw.randint(3_000, 9_000) / 100 if often else draw.randint(100, 900) / 100
            lines.append(
                f"{customer},o{customer}-{order},2024-{draw.randint(1, 6):02d}-{day:02d},p,{draw.randint(1, 4)},{price}"
            )
    path.write_text("\n".join([*lines, *extra]) + "\n", encoding="utf-8")
    return path
