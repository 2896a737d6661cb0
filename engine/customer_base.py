"""The customers at hand beside a model: looked up by id, and asked who is like whom.

::

    customers/
      manifest.json    format, version, the model's digest, counts, and every file with what it is known by
      customers.arrow  one row per customer, sorted by id: values, segment, distance, margin
      matrix.npy       float32, shape (n, d): the same customers in the scaled space
      index/           the neighbour index; its ids are the row numbers

A bundle holds no person; this holds every one of them. Keep it where the customers may be kept, and erase with
:meth:`CustomerBase.remove` and :meth:`CustomerBase.save`. Files are mapped, not read: millions of customers are ready
in a moment, and processes that serve the same folder share the memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.customer_rows import SortedIds, assigned
from engine.errors import BundleError, DataError, SettingError
from engine.neighbours.exact import distances_to, exact_neighbours
from engine.neighbours.folder import new_folder, read_manifest, write_manifest
from engine.neighbours.index import NeighbourIndex
from engine.plane import Plane
from engine.segments.model import SegmentModel

FORMAT = "cartera-customers"
VERSION = 1

NEIGHBOURS = 25
"""Known customers that vote on a segment."""

WIDE = 1024
"""Neighbours among which those of a segment are sought, before the whole segment is looked at."""

REMEDY = "Write them anew with `cartera score … index=true`."


class CustomerBase:
    """Customers of a model, in memory or mapped from a folder.

    Customers have a row, 0 … n - 1 in the order of their ids. Questions may be asked side by side; a removal must be
    alone.

    Attributes
    ----------
    model
        What the customers were assigned with.
    index
        Who is near whom; its ids are the rows.
    digest
        Of the model, see :func:`model_digest`: a base is opened with the model it was built with, and no other.
    plane
        The flat map of these customers.
    """

    def __init__(
        self, frame: pl.DataFrame, matrix: NDArray[np.float32], index: NeighbourIndex, model: SegmentModel, plane: Plane
    ) -> None:
        self.model = model
        self.index = index
        self.digest = model_digest(model)
        self.plane = plane
        self._take(frame, matrix)

    def _take(self, frame: pl.DataFrame, matrix: NDArray[np.float32]) -> None:
        self._frame = frame
        self._matrix = matrix
        self._clusters: NDArray[np.int16] = frame["cluster"].to_numpy()
        self._ids = SortedIds(frame["customer_id"])

    @classmethod
    def build(
        cls,
        customers: pl.DataFrame,
        model: SegmentModel,
        *,
        kind: str = "auto",
        memory_mib: float | None = None,
        threads: int | None = None,
    ) -> CustomerBase:
        """Assign customers to their segments and index them.

        Parameters
        ----------
        customers
            ``customer_id`` (whole numbers or text, each once), the model's variables in business units, and further
            columns. Numbers, text, dates and truth values are kept, lists and the like are not.
        model
            The model.
        kind, memory_mib, threads
            As :meth:`engine.neighbours.NeighbourIndex.build` takes them.

        Raises
        ------
        ColumnsMissingError
            ``customer_id`` or a variable is not there.
        DataError
            No customers, ids that are missing or repeat, values that cannot be, or a column named as one of ours.
        """
        frame, matrix = assigned(customers, model)
        index = NeighbourIndex.build(matrix, kind=kind, memory_mib=memory_mib, threads=threads)
        return cls(frame, matrix, index, model, Plane.fit(matrix))

    def save(self, folder: Path | str) -> Path:
        """Write the base as a folder; a base that stands there is replaced whole.

        Raises
        ------
        OutputExistsError
            The folder holds something that is not a base of customers.
        """
        target = Path(folder)
        with new_folder(target, format=FORMAT) as partial:
            # In one piece, so that a column is one array when it is mapped.
            self._frame.write_ipc(
                partial / "customers.arrow", compression="uncompressed", record_batch_size=max(1, self.n)
            )
            np.save(partial / "matrix.npy", self._matrix, allow_pickle=False)
            self.index.save(partial / "index")
            body = {
                "model": self.digest,
                "n": self.n,
                "d": self.model.spec.d,
                "columns": self.columns,
                "counts": self.counts,
                "plane": self.plane.to_dict(),
            }
            write_manifest(partial, format=FORMAT, version=VERSION, body=body)
        return target

    @classmethod
    def open(cls, folder: Path | str, model: SegmentModel) -> CustomerBase:
        """Map a base that :meth:`save` wrote.

        Raises
        ------
        SourceNotFoundError
            There is no base in the folder.
        BundleError
            A file is missing, cut or changed, or the base is of another model or version.
        """
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.ipc  # type: ignore[import-untyped]

        path = Path(folder)
        body = read_manifest(path, format=FORMAT, version=VERSION, name="customers", remedy=REMEDY)
        if body["model"] != model_digest(model):
            raise BundleError(f"customers={path}: these customers were assigned with another model. {REMEDY}")
        try:
            # Polars would copy the file; this maps it.
            frame = pl.from_arrow(pyarrow.ipc.open_file(pa.memory_map(str(path / "customers.arrow"))).read_all())
            matrix = np.asarray(np.load(path / "matrix.npy", mmap_mode="r", allow_pickle=False))
            plane = Plane.from_dict(body["plane"])
            index = NeighbourIndex.load(path / "index")
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise BundleError(f"customers={path}: its files do not hold customers ({error}). {REMEDY}") from error
        shape = (body["n"], model.spec.d)
        if not isinstance(frame, pl.DataFrame) or (frame.columns, frame.height) != (body["columns"], shape[0]):
            raise BundleError(f"customers={path}: customers.arrow is not what the manifest says. {REMEDY}")
        if matrix.shape != shape or (index.n, index.d) != shape:
            raise BundleError(f"customers={path}: its files are of different customers. {REMEDY}")
        return cls(frame, matrix, index, model, plane)

    def __repr__(self) -> str:
        """Return one line."""
        return f"<CustomerBase: {self.n:,} customers, {self.index!r}>"

    @property
    def n(self) -> int:
        """Number of customers."""
        return self._frame.height

    @property
    def columns(self) -> list[str]:
        """Names of the columns, ``customer_id`` first and those that say the segment last."""
        return self._frame.columns

    @property
    def counts(self) -> dict[str, int]:
        """Customers by ``segment_id``."""
        counts = np.bincount(self._clusters, minlength=self.model.k).tolist()
        return {segment.segment_id: count for segment, count in zip(self.model.segments, counts, strict=True)}

    def row(self, customer_id: int | str) -> int | None:
        """Return a customer's row, ``None`` where nobody has the id; microseconds, by halving the sorted ids.

        Where ids are numbers, the text of one will do (``"42"``); where they are text, a number stands for its digits.
        """
        return self._ids.row(customer_id)

    def customer(self, row: int) -> dict[str, Any]:
        """Return one customer's values by :attr:`columns`.

        ``cluster`` and ``second`` are places in the model's segments, ``second`` -1 where there is only one.
        """
        return self._frame.row(self._checked_row(row), named=True)

    def coordinates(self, rows: Any) -> NDArray[np.float32]:
        """Return the coordinates of some rows in the scaled space, shape (m, d)."""
        return self._matrix[np.asarray(rows, dtype=np.int64)]

    def _checked_row(self, row: int) -> int:
        if isinstance(row, bool) or not isinstance(row, int | np.integer) or not 0 <= row < self.n:
            raise DataError(f"row: expected a whole number from 0 to {self.n - 1}; got {row!r}.")
        return int(row)

    def similar(
        self, who: int | Mapping[str, Any] | NDArray[Any], k: int, *, segment: int | str | None = None
    ) -> pl.DataFrame:
        """Return the k customers most like one of these, or like somebody given by values.

        Distances are exact: the index proposes, and the coordinates decide. The similarity is ``1 / (1 + distance)``,
        the usual way from a distance to a share: 1 for the same values in every variable, a half for one standard
        deviation apart in one of them (under ``features.scale=standard`` and a weight of 1).

        Parameters
        ----------
        who
            A customer's row, who is not among the answers; values for the model's variables, in business units; or
            coordinates in the scaled space, shape (d,).
        k
            Customers to return, at least 1.
        segment
            Only customers of this one: its ``segment_id``, or its place in the model's segments.

        Returns
        -------
        pl.DataFrame
            ``customer_id, segment_id, distance, similarity``, the most similar first, of equal ones the lower id; fewer
            rows than k where there are no more.

        Raises
        ------
        DataError
            There is no such row, or a value is missing, unknown or impossible.
        SettingError
            There is no such segment, or k is below 1.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise SettingError(f"k: expected a whole number of at least 1; got {k!r}.")
        cluster = None if segment is None else self._cluster(segment)
        own = None
        if isinstance(who, Mapping):
            query = self.model.spec.row(who)[None]
        elif isinstance(who, np.ndarray):
            query = np.asarray(who, dtype=np.float32)[None]
        else:
            own = self._checked_row(who)
            query = self._matrix[own][None]
        rows, distances = self._near(query, int(k), own, cluster)
        return pl.DataFrame(
            {
                "customer_id": self._frame["customer_id"].gather(rows),
                "segment_id": self._segment_ids().gather(self._clusters[rows]),
                "distance": distances.astype(np.float64),
                "similarity": 1.0 / (1.0 + distances.astype(np.float64)),
            }
        )

    def _near(
        self, query: NDArray[np.float32], k: int, own: int | None, cluster: int | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and distances of the k nearest, of all customers or of a cluster."""
        # Codes of one byte a column put near neighbours in the wrong order; others need no spare ones.
        asked = min(4 * k if self.index.kind == "ivf_pq" or cluster is not None else k, self.n)
        while True:
            exclude = None if own is None else [own]
            found = self.index.search(query, max(1, asked), exclude=exclude).ids[0]
            rows = found[found >= 0]
            if cluster is not None:
                rows = rows[self._clusters[rows] == cluster]
            if cluster is None or len(rows) >= k or asked == self.n:
                break
            if asked >= WIDE:
                # The segment lies far off: among all customers its own would come late.
                rows = np.flatnonzero(self._clusters == cluster)
                rows = rows[rows != own] if own is not None else rows
                distances, places = exact_neighbours(query, self._matrix[rows], min(k, len(rows)))
                return rows[places[0]], distances[0]
            asked = min(4 * asked, self.n)
        distances = distances_to(query, self._matrix[rows][None])[0]
        order = np.lexsort((rows, distances))[:k]
        return rows[order], distances[order]

    def _cluster(self, segment: int | str) -> int:
        ids = [each.segment_id for each in self.model.segments]
        if isinstance(segment, str) and segment in ids:
            return ids.index(segment)
        if isinstance(segment, int) and not isinstance(segment, bool) and 0 <= segment < len(ids):
            return segment
        raise SettingError.from_unknown("segment", segment, ids)

    def _segment_ids(self) -> pl.Series:
        return pl.Series([segment.segment_id for segment in self.model.segments], dtype=pl.String)

    def agreement(
        self,
        coordinates: NDArray[Any],
        clusters: NDArray[Any],
        neighbours: int = NEIGHBOURS,
        *,
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Return which share of the nearest known customers belong to the same segment, 0 to 1, shape (m,).

        High in the middle of a segment, about a half where two of them meet.

        Parameters
        ----------
        coordinates
            Shape (m, d), in the scaled space.
        clusters
            Shape (m,): each one's place in the model's segments.
        neighbours
            How many vote.
        rows
            Shape (m,): the row of each who is a customer here, -1 for others. Without it a known customer votes for
            itself. Where nobody else is there to vote, the share is not a number.
        """
        found = self.index.search(coordinates, neighbours, exclude=rows).ids
        there = found >= 0
        same = (self._clusters[found] == np.asarray(clusters)[:, None]) & there
        with np.errstate(invalid="ignore"):
            share: NDArray[np.float64] = same.sum(axis=1) / there.sum(axis=1)
        return share

    def place_of(self, coordinates: NDArray[Any]) -> NDArray[np.float64]:
        """Return where coordinates, shape (m, d), lie on the flat map, shape (m, 2)."""
        return self.plane.place(coordinates)

    def sample(self, m: int, seed: int = 0) -> pl.DataFrame:
        """Return points for the map: ``x, y, cluster`` of up to m customers drawn at random, without their ids."""
        chosen = np.sort(np.random.default_rng(seed).choice(self.n, min(m, self.n), replace=False))
        x, y = self.place_of(self._matrix[chosen]).T
        return pl.DataFrame({"x": x, "y": y, "cluster": self._clusters[chosen]})

    def remove(self, ids: Iterable[int | str]) -> int:
        """Forget customers; return how many there were. The folder holds them until :meth:`save` replaces it.

        Raises
        ------
        DataError
            An id is neither a whole number nor text, or there is one alone instead of a list; nobody was forgotten.
        """
        if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
            # The letters of a text would be taken for ids.
            raise DataError(f"ids: expected a list of customer ids; got {type(ids).__name__}. One id: remove([id]).")
        rows = sorted({row for row in map(self.row, ids) if row is not None})
        if rows:
            staying = np.ones(self.n, dtype=bool)
            staying[rows] = False
            self.index.remove(rows)
            self.index.renumber(np.cumsum(staying) - 1)
            self._take(self._frame.filter(pl.Series(staying)).rechunk(), self._matrix[staying])
        return len(rows)


def model_digest(model: SegmentModel) -> str:
    """Return a SHA-256 of what decides about assignments: treatment, centroids, segments' ids, fitted distances.

    Two bundles of one model have the same; another name for a segment changes nothing.
    """
    content = {"spec": model.spec.to_dict(), "segments": [segment.segment_id for segment in model.segments]}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for array in (model.centroids, model.distances.quantiles):
        digest.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return digest.hexdigest()
