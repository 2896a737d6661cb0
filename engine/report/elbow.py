"""The elbow as a picture file, for places that show pictures and run no script, such as MLflow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from engine.clustering.trial import Trial


def elbow_png(trials: Sequence[Trial], chosen: int, path: Path) -> Path:
    """Draw inertia and silhouette against k, the chosen k marked, and return the path of the PNG."""
    # The object interface: pyplot would choose a backend for the whole process and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    curves = {
        "inertia": [trial.inertia for trial in trials],
        "silhouette (squared Euclidean)": [math.nan if t.silhouette is None else t.silhouette for t in trials],
    }
    for place, (title, values) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(1, 2, place)
        axes.plot([trial.k for trial in trials], values, marker="o", color="#1f6f78")
        axes.axvline(chosen, color="#d1495b", linestyle="--", linewidth=1)
        axes.set(title=title, xlabel=f"number of segments k (chosen: {chosen})")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path
