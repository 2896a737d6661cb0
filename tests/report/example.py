"""A summary as the engine hands it to the report: Complete Journey in four segments, figures from a real run."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

MEASURES = ("recency_days", "tenure_days", "frequency", "units", "monetary", "average_ticket")

# id, customers, share of revenue, means and medians in the order of MEASURES, drivers (feature, ratio, z)
SEGMENTS = (
    (
        "seg-k3vq7a",
        722,
        0.6603942866827965,
        (5.1136, 360.3033, 135.4626, 1713.8587, 4203.8757, 37.0794),
        (2.0, 363.0, 111.0, 1517.0, 3649.9, 32.28),
        (("frequency", 2.146, 1.04), ("monetary", 2.2583, 1.02), ("recency_days", 0.2343, -0.616)),
    ),
    (
        "seg-m2xw4d",
        921,
        0.28047707761472324,
        (11.6938, 350.0087, 49.5114, 610.2682, 1399.6566, 33.4099),
        (5.0, 359.0, 46.0, 570.0, 1297.24, 28.29),
        (("units", 0.7863, 0.218), ("recency_days", 0.5357, -0.154)),
    ),
    (
        "seg-p7hc2t",
        607,
        0.0552364194391903,
        (29.8072, 330.5799, 18.7133, 180.5387, 418.2352, 26.7032),
        (14.0, 348.0, 17.0, 167.0, 389.67, 21.71),
        (("frequency", 0.2965, -0.753), ("monetary", 0.2247, -0.746), ("recency_days", 1.3655, 0.458)),
    ),
    (
        "seg-z5ne6r",
        219,
        0.003892216263289882,
        (97.4521, 254.5297, 4.9543, 32.4384, 81.6839, 22.3817),
        (58.0, 287.0, 4.0, 31.0, 68.7, 14.97),
        (("units", 0.0418, -2.153), ("monetary", 0.0439, -2.124), ("tenure_days", 0.7491, -1.524)),
    ),
)

WORDS = (
    (
        ("Regular customers", "Clientes usuarios"),
        (
            "They buy often and bring most of the revenue. Losing one costs more than winning several new ones.",
            "Compran a menudo y aportan la mayor parte de la facturación. Perder a uno cuesta más que ganar"
            " varios nuevos.",
        ),
        (
            "Look after them: early access, a loyalty plan and a quick answer when something goes wrong.",
            "Cuidarlos: acceso anticipado, plan de fidelización y respuesta rápida cuando algo falla.",
        ),
    ),
    (
        ("Potential customers", "Clientes potenciales"),
        (
            "A large group that buys regularly, below the best but with room to grow.",
            "Un grupo amplio que compra con regularidad, por debajo de los mejores y con margen para crecer.",
        ),
        (
            "Campaigns that raise their frequency and their basket: bundles, related categories, goals.",
            "Campañas que suban su frecuencia y su cesta: lotes, categorías afines, metas.",
        ),
    ),
    (
        ("New or occasional customers", "Clientes nuevos o poco usuarios"),
        (
            "They came recently or come now and then, and spend little.",
            "Han llegado hace poco o vienen de vez en cuando, y gastan poco.",
        ),
        (
            "Win the second and third purchase: a welcome offer with an end date, reminders.",
            "Conseguir la segunda y la tercera compra: oferta de bienvenida con fecha límite, recordatorios.",
        ),
    ),
    (
        ("Low frequency, units and revenue", "Baja frecuencia, unidades y facturación"),
        (
            "They have almost stopped buying. Together they hardly weigh in revenue.",
            "Casi han dejado de comprar. Entre todos apenas pesan en la facturación.",
        ),
        (
            "One inexpensive attempt to win them back; then leave them out of paid campaigns.",
            "Un intento de recuperación de bajo coste; después, fuera de las campañas de pago.",
        ),
    ),
)

TRIALS = (
    (2, 2894.0, 0.7109, 0.3475, 0.6525, 0.246),
    (3, 1674.9, 0.652, 0.1458, 0.4459, 0.074),
    (4, 1192.0, 0.5929, 0.0887, 0.373, 0.062),
    (5, 936.3, 0.5617, 0.0478, 0.32, 0.065),
    (6, 784.3, 0.5216, 0.0458, 0.2701, 0.068),
    (7, 695.3, 0.4854, 0.0397, 0.2321, 0.067),
    (8, 634.1, 0.481, 0.0397, 0.1952, 0.07),
    (9, 574.3, 0.4762, 0.0397, 0.1592, 0.068),
    (10, 526.5, 0.4654, 0.0332, 0.1515, 0.068),
)

DEFINITIONS = {
    "recency_days": (
        ("Recency", "Recencia"),
        ("days", "días"),
        (
            "Whole days between the customer's last purchase and the date of the analysis.",
            "Días completos entre la última compra del cliente y la fecha del análisis.",
        ),
    ),
    "tenure_days": (
        ("Tenure", "Antigüedad"),
        ("days", "días"),
        (
            "Whole days between the customer's first known purchase and the date of the analysis.",
            "Días completos entre la primera compra conocida del cliente y la fecha del análisis.",
        ),
    ),
    "frequency": (
        ("Frequency", "Frecuencia"),
        ("orders", "pedidos"),
        (
            "Number of distinct orders of the customer in the period.",
            "Número de pedidos distintos del cliente en el periodo.",
        ),
    ),
    "units": (
        ("Units", "Unidades"),
        ("units", "unidades"),
        (
            "Units bought in the period. A line sold by volume or weight counts as one unit.",
            "Unidades compradas en el periodo. Una línea vendida por volumen o peso cuenta como una unidad.",
        ),
    ),
    "monetary": (
        ("Revenue", "Facturación"),
        ("money", "importe"),
        (
            "Total billed to the customer in the period. Returns are not deducted.",
            "Total facturado al cliente en el periodo. No se descuentan las devoluciones.",
        ),
    ),
    "average_ticket": (
        ("Average order value", "Importe medio por pedido"),
        ("money", "importe"),
        ("Revenue divided by the number of orders.", "Facturación dividida entre el número de pedidos."),
    ),
}


def word(pair: tuple[str, str]) -> dict[str, str]:
    return {"en": pair[0], "es": pair[1]}


def segment(rank: int, total: int = 2469) -> dict[str, Any]:
    segment_id, customers, revenue, means, medians, drivers = SEGMENTS[rank - 1]
    name, description, action = (word(pair) for pair in WORDS[rank - 1])
    return {
        "segment_id": segment_id,
        "rank": rank,
        "name": name,
        "description": description,
        "action": action,
        "customers": customers,
        "share_customers": customers / total,
        "share_monetary": revenue,
        "means": dict(zip(MEASURES, means, strict=True)),
        "medians": dict(zip(MEASURES, medians, strict=True)),
        "drivers": [
            {"feature": feature, "ratio": ratio, "z": z, "direction": "high" if z > 0 else "low"}
            for feature, ratio, z in drivers
        ],
        "centroid": {"frequency": medians[2], "units": medians[3], "monetary": medians[4]},
    }


def sample(segments: list[dict[str, Any]], customers: int = 1500) -> dict[str, Any]:
    """Customers around each segment's medians, orders and revenue rising together."""
    draw = np.random.default_rng(0)
    points = []
    for one in segments:
        n = round(customers * one["share_customers"])
        shared, own = draw.normal(0, 0.42, n), draw.normal(0, 0.3, n)
        points.append(
            {
                "segment_id": one["segment_id"],
                "x": np.maximum(1, np.round(one["medians"]["frequency"] * np.exp(shared))).tolist(),
                "y": np.round(one["medians"]["monetary"] * np.exp(0.85 * shared + own), 2).tolist(),
            }
        )
    return {"x": "frequency", "y": "monetary", "points": points}


def _complete_journey() -> dict[str, Any]:
    segments = [segment(rank) for rank in (1, 2, 3, 4)]
    keys = ("k", "inertia", "silhouette", "smallest_share", "largest_share", "seconds")
    return {
        "name": "complete_journey",
        "version": "0.1.0",
        "run": {
            "customers": 2469,
            "rows": 1_469_307,
            "features": ["frequency", "units", "monetary"],
            "k": 4,
            "inertia": 1192.0,
            "silhouette": 0.5929,
            "backend": "native",
            "solver": "full",
            "seed": 0,
            "lake_version": 1,
            "as_of": "2018-01-02",
            "window_days": None,
            "seconds": {"ingest": 3.42, "features": 0.61, "clustering": 0.92, "segments": 0.04},
            "peak_memory_mb": 512.3,
            "monetary_total": 4596039.58,
            "first_sale": "2017-01-01",
            "last_sale": "2018-01-01",
            "orders": 155_848,
            "where": None,
        },
        "verdict": {
            "k": 4,
            "clear": True,
            "chosen_by": "auto",
            "reason": word(
                (
                    "Beyond four the segments stop growing much more alike, and each one is still large enough"
                    " to act on.",
                    "A partir de cuatro, los segmentos apenas ganan en parecido interno, y cada uno sigue siendo"
                    " lo bastante grande para actuar sobre él.",
                )
            ),
            "warnings": [
                word(
                    (
                        "Two segments would be better separated (silhouette 0.711), but three is the fewest allowed.",
                        "Con dos segmentos la separación sería mayor (silueta 0,711), pero el mínimo permitido es"
                        " tres.",
                    )
                )
            ],
            "knee": 4,
            "knee_strength": 0.46,
            "silhouette_best": 3,
            "limits": [3, 8],
        },
        "trials": [dict(zip(keys, trial, strict=True)) for trial in TRIALS],
        "segments": segments,
        "population": {
            "means": dict(zip(MEASURES, (21.8295, 339.7736, 63.1219, 776.0851, 1861.4984, 31.8559), strict=True)),
            "medians": dict(zip(MEASURES, (6.0, 359.0, 43.0, 541.0, 1210.02, 27.3), strict=True)),
        },
        "measures": [
            {"name": name, "label": word(label), "unit": word(unit), "definition": word(definition)}
            for name, (label, unit, definition) in DEFINITIONS.items()
        ],
        "features": [
            {"name": name, "transform": "log", "scale": "standard", "weight": 1.0}
            for name in ("frequency", "units", "monetary")
        ],
        "sample": sample(segments),
        "notes": [
            word(
                (
                    "Fuel and miscellaneous goods are sold by volume: each of their rows counts as one unit.",
                    "El combustible y los artículos varios se venden por volumen: cada una de sus filas cuenta"
                    " como una unidad.",
                )
            ),
            word(
                (
                    "The whole history counts, so frequency also grows with the time someone has been a customer.",
                    "Cuenta todo el histórico, así que la frecuencia también crece con la antigüedad del cliente.",
                )
            ),
        ],
        "reconciliation": {
            "rows_read": 1_469_307,
            "rows_kept": 1_469_307,
            "rejected": {},
            "amount_read": "4596039.5800",
            "amount_kept": "4596039.5800",
            "amount_rejected": {},
            "customers_in_lake": 2469,
            "customers_segmented": 2469,
            "customers_left_out": {},
        },
    }


_SUMMARY = _complete_journey()


def complete_journey() -> dict[str, Any]:
    """Return a fresh copy, so that a test may change it."""
    return copy.deepcopy(_SUMMARY)


def many_segments(k: int) -> dict[str, Any]:
    """Return the same run cut into ``k`` segments, with long names."""
    summary = complete_journey()
    segments = []
    for rank in range(1, k + 1):
        one = segment(1 + (rank - 1) % 4)
        size = 2.0 * rank / (k * (k + 1))
        worth = 2.0 * (k + 1 - rank) / (k * (k + 1))
        fade = 6.0 / (rank + 1)
        one |= {
            "segment_id": f"seg-aaaa{rank:02d}",
            "rank": rank,
            "name": {
                "en": f"{one['name']['en']} · who buy many units, number {rank}",
                "es": f"{one['name']['es']} · con muchas unidades, número {rank}",
            },
            "customers": round(2469 * size),
            "share_customers": size,
            "share_monetary": worth,
            "means": {name: mean * fade for name, mean in summary["population"]["means"].items()},
            "medians": {name: value * fade for name, value in summary["population"]["medians"].items()},
        }
        segments.append(one)
    summary["segments"] = segments
    summary["sample"] = sample(segments)
    summary["run"]["k"] = summary["verdict"]["k"] = k
    return summary


def dirty_till() -> dict[str, Any]:
    """Return a run with a fixed k, rejected rows, no silhouette, a measure that is always zero, and a filter."""
    summary = complete_journey()
    summary["name"] = "online_retail"
    summary["run"] |= {"silhouette": None, "window_days": 365, "where": "monetary > 0 AND units < 90000"}
    summary["verdict"] |= {
        "chosen_by": "user",
        "clear": False,
        "warnings": [],
        "knee": None,
        "reason": word(("No other number was compared.", "No se ha comparado ningún otro número.")),
    }
    summary["trials"] = [summary["trials"][2] | {"silhouette": None}]
    summary["notes"] = []
    summary["measures"].append(
        {
            "name": "web_visits",
            "label": word(("Web visits", "Visitas web")),
            "unit": word(("visits", "visitas")),
            "definition": word(("Visits to the shop's site.", "Visitas a la web de la tienda.")),
        }
    )
    for holder in (summary["population"], *summary["segments"]):
        holder["means"]["web_visits"] = 0.0
        holder["medians"]["web_visits"] = None
    summary["segments"][3]["drivers"].append({"feature": "web_visits", "ratio": None, "z": 0.0, "direction": "low"})
    summary["sample"]["points"][3]["y"][0] = 0.0
    summary["reconciliation"] = {
        "rows_read": 541_909,
        "rows_kept": 406_829,
        "rejected": {"missing_customer_id": 135_037, "zero_price": 40, "till_was_offline": 3},
        "amount_read": "9747747.9340",
        "amount_kept": "8300065.8140",
        "amount_rejected": {"missing_customer_id": "1447682.1200", "zero_price": "0.0000"},
        "customers_in_lake": 2503,
        "customers_segmented": 2469,
        "customers_left_out": {"where": 30, "returns_only": 4},
    }
    return summary
