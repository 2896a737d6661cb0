"""``sweep.parity``: every backend on the choice that a sweep proposes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from engine.errors import CarteraError, SettingError, TrackingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from engine.clustering.parity_result import Parity
    from engine.features.table import CustomerTable
    from engine.sweeps.leaderboard import Leaderboard
    from engine.sweeps.run import Sweep
    from engine.tracking import Tracker
    from experiments.progress import Progress

FILES = ("parity.json", "parity.csv")


def wanted(value: Any) -> tuple[str, ...]:
    """Return the backends that ``sweep.parity`` asks for; none where it is false.

    Examples
    --------
    >>> wanted(False), wanted(True), wanted(["native", "faiss"])
    ((), ('native', 'faiss', 'sklearn', 'dask_ml'), ('native', 'faiss'))
    """
    from engine.clustering.backends import BACKENDS
    from engine.clustering.parity import check_backends

    if value is None or value is False:
        return ()
    if value is True:
        return tuple(BACKENDS)
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in names):
        raise SettingError(f"sweep.parity: expected true, false, or a list such as [native,faiss]; got {value!r}.")
    try:
        return check_backends(names)
    except SettingError as error:
        raise SettingError(f"sweep.{error}") from None


def compare(
    backends: Sequence[str],
    found: Sweep,
    board: Leaderboard,
    tables: Mapping[str, CustomerTable],
    *,
    threads: int | None,
    progress: Progress,
) -> tuple[Parity | None, str]:
    """Compare the backends on the proposed matrix, number of segments and seed.

    Returns
    -------
    parity : Parity or None
        None where they could not be compared.
    reason : str
        What was not done, and why; empty where every backend finished. The sweep stands all the same.
    """
    from engine.clustering.parity import parity

    one = board.proposed
    if one is None:
        return None, "the backends were not compared, for there is no proposal"
    with progress.step("parity") as advance:
        table = tables[one.features]
        order, bucket_rows = table.bucket_order()
        matrix = found.specs[one.features, one.transform].transform(table.frame)[order]
        try:
            compared = parity(
                matrix,
                one.k,
                backends=backends,
                seed=one.best.seed,
                threads=threads,
                bucket_rows=bucket_rows,
                on_line=lambda _, done, lines: advance(done / lines),
            )
        except (CarteraError, OSError) as error:  # such as a temporary folder that filled up meanwhile
            return None, f"the backends were not compared: {error}"
    failed = [f"{line.label.en} ({line.error})" for line in compared.lines if line.error]
    return compared, f"of the backends compared, not all finished: {', '.join(failed)}" if failed else ""


def write(compared: Parity, folder: Path) -> None:
    """Leave ``parity.json`` and ``parity.csv``, a row for each backend."""
    import polars as pl

    text = json.dumps(compared.to_dict(), ensure_ascii=False, indent=1, allow_nan=False)
    (folder / "parity.json").write_text(text + "\n", encoding="utf-8")
    pl.DataFrame(compared.to_rows(), infer_schema_length=None).write_csv(folder / "parity.csv")


def track(compared: Parity, tracker: Tracker, folder: Path) -> TrackingError | None:
    """Log figures and files under the run of the sweep; a store that fails is returned, for the results stand."""
    try:
        tracker.metrics(compared.figures())
        for name in FILES:
            tracker.artifacts(folder / name)
    except TrackingError as error:
        return error
    return None
