"""A sweep's findings as one plain mapping: what ``verdict.json`` holds and the report shows. No customer is in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine import __version__
from engine.sweeps.leaderboard import Leaderboard, Standing
from engine.sweeps.run import Configuration, Sweep


def sweep_summary(sweep: Sweep, board: Leaderboard, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON-able content of a sweep.

    Parameters
    ----------
    sweep, board
        What was found, and how it was judged.
    facts
        What the caller knows of the run: ``name`` of the data, ``as_of``, ``where``, ``lake_version``, ``segments``
        (limits), ``warnings``, ``command`` that makes the proposed segmentation, ``seconds`` by step,
        ``peak_memory_mb``.
    """
    grid = sweep.grid
    return {
        **facts,
        "version": __version__,
        "customers": dict(sweep.customers),
        "trials": {
            "asked": grid.trials,
            "done": grid.trials - len(sweep.failed),
            "failed": len(sweep.failed),
            "resumed": sweep.resumed,
        },
        "grid": {
            "features": {name: list(one.columns) for name, one in grid.feature_sets.items()},
            "transforms": list(dict.fromkeys(cell.transform for cell in grid.cells)),
            "backends": list(grid.backends),
            "k": list(grid.ks),
            "seeds": list(grid.seeds),
            "solver": grid.solver,
        },
        "proposed": _proposed(board),
        "verdicts": [
            {
                "features": one.features,
                "transform": one.transform,
                "backend": one.backend,
                **one.verdict.to_dict(),
            }
            for one in board.verdicts
        ],
        "leaderboard": [_standing(one) for one in board.standings],
        "failures": [{"trial": outcome.plan.name, "error": outcome.error} for outcome in sweep.failed],
    }


def _proposed(board: Leaderboard) -> dict[str, Any] | None:
    if board.proposed is None or board.reason is None:
        return None
    return {**_names(board.proposed), "seed": board.proposed.best.seed, "reason": board.reason.to_dict()}


def _names(one: Configuration) -> dict[str, Any]:
    return {"features": one.features, "transform": one.transform, "backend": one.backend, "k": one.k}


def _standing(standing: Standing) -> dict[str, Any]:
    one = standing.configuration
    done = one.trials
    figures = one.best.figures() if done else {}
    inertias = [trial.inertia for trial in done]
    return {
        "rank": standing.rank,
        **_names(one),
        "seeds": len(one.outcomes),
        "failed": len(one.outcomes) - len(done),
        "stability": one.stability,
        "inertia_ratio": standing.inertia_ratio,
        "inertia_worst": max(inertias) if inertias else None,
        "usable": standing.usable,
        "pareto": standing.pareto,
        "chosen": standing.chosen,
        **{**figures, **({"seconds": one.seconds} if done else {})},
        "sizes": sorted(one.best.sizes.tolist(), reverse=True) if done else [],
    }
