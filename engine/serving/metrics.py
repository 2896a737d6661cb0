"""What the server counts about itself, for Prometheus: by route template, never by who or what was asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from engine.serving.state import Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable: a folder through which the workers add up their figures. Set before this module is imported."""

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The figures of one process, or of all workers together where they share a folder.

    Examples
    --------
    >>> metrics = Metrics()
    >>> metrics.request("/v1/classify", "POST", 200, 0.0004)
    >>> "cartera_requests_total" in metrics.text().decode()
    True
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "cartera_requests", "Requests answered.", ["route", "method", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "cartera_request_seconds",
            "Time to answer, by route.",
            ["route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._rows = Counter(
            "cartera_classified", "Customers classified, one by one or in batches.", registry=self._registry
        )
        self._reloads = Counter(
            "cartera_reloads", "New models taken in (ok), files refused (failed).", ["result"], registry=self._registry
        )
        self._model = Gauge(
            "cartera_model_loaded_timestamp_seconds",
            "When the model was taken in, by the digest of its bundle.",
            ["digest"],
            registry=self._registry,
            multiprocess_mode="livemostrecent",
        )
        self._customers = Gauge(
            "cartera_customers",
            "Customers at hand beside the model.",
            registry=self._registry,
            multiprocess_mode="livemostrecent",
        )
        # Children by their labels: looking one up through the library costs more than the count itself.
        self._request_counts: dict[tuple[str, str, int], Counter] = {}
        self._request_times: dict[str, Histogram] = {}
        self._served: str | None = None

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (route, method, status)
        count = self._request_counts.get(key)
        if count is None:
            count = self._request_counts[key] = self._requests.labels(route, method, str(status))
        count.inc()
        times = self._request_times.get(route)
        if times is None:
            times = self._request_times[route] = self._seconds.labels(route)
        times.observe(seconds)

    def classified(self, rows: int) -> None:
        """Count customers that were classified."""
        self._rows.inc(rows)

    def told(self, snapshot: Snapshot | None) -> None:
        """Count a new model that was taken in, or (``None``) files that were refused."""
        if snapshot is None:
            self._reloads.labels("failed").inc()
            return
        # The same model beside other customers is no new one.
        if snapshot.digest != self._served:
            self._reloads.labels("ok").inc()
        self.serves(snapshot)

    def serves(self, snapshot: Snapshot) -> None:
        """Note which model is served."""
        # Workers together cannot take a label back: of several digests the latest counts.
        if self._served not in (None, snapshot.digest) and SHARED_FOLDER not in os.environ:
            self._model.remove(self._served)
        self._served = snapshot.digest
        self._model.labels(snapshot.digest).set(snapshot.loaded_at.timestamp())
        self._customers.set(0 if snapshot.base is None else snapshot.base.n)

    def text(self) -> bytes:
        """Return all figures as Prometheus reads them."""
        if SHARED_FOLDER not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
