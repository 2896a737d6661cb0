"""The elbow as a picture file, for places that show pictures and run no script, such as MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.clustering.sweep import Trial


def elbow_png(trials: Sequence[Trial], chosen: int, path: Path) -> Path:
    """Draw inertia and silhouette against k, the chosen k marked, and return the path of the PNG."""
    # The object interface: pyplot would choose a backend for the whole process and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    ks = [trial.k for trial in trials]
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    for axes, title, values in zip(
        (left, right),
        ("inertia", "silhouette (squared Euclidean)"),
        ([trial.inertia for trial in trials], [trial.silhouette for trial in trials]),
        strict=True,
    ):
        axes.plot(ks, [float("nan") if value is None else value for value in values], marker="o", color="#1f6f78")
        axes.axvline(chosen, color="#d1495b", linestyle="--", linewidth=1)
        axes.set(title=title, xlabel=f"number of segments k (chosen: {chosen})")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path
