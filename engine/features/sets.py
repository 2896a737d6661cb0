"""Named feature sets: what ``features="rfm"`` means from a notebook; the command line has them in ``conf/features``."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import SettingError
from engine.features.matrix import FeatureSet

SETS: dict[str, FeatureSet] = {
    "rfm": FeatureSet(("recency_days", "frequency", "monetary")),
    "rfm_units": FeatureSet(("frequency", "units", "monetary")),
    "ticket": FeatureSet(("recency_days", "frequency", "average_ticket")),
    "behaviour": FeatureSet(
        ("recency_days", "frequency", "basket_units", "distinct_products", "gap_days_median", "trend_quarter")
    ),
}
"""Each named set: its columns and their treatment, the same as in ``conf/features``."""


def named_set(features: str | Sequence[str] | FeatureSet) -> FeatureSet:
    """Return the feature set for a name, a list of columns, or a set that is ready.

    Examples
    --------
    >>> named_set("rfm_units").columns
    ('frequency', 'units', 'monetary')
    """
    if isinstance(features, FeatureSet):
        return features
    if isinstance(features, str):
        if features not in SETS:
            raise SettingError.from_unknown("features", features, SETS)
        return SETS[features]
    if not isinstance(features, Sequence) or not all(isinstance(name, str) for name in features):
        raise SettingError(f"features: expected one of {', '.join(SETS)}, or a list of columns; got {features!r}.")
    return FeatureSet(tuple(features))
