"""The purchase histories of a lake's customers as a folder: read whole, by bucket, or for a few customers.

::

    history/
      manifest.json        format, version, what was counted and left out, and every file with what it is known by
      products.parquet     one row per product, by code
      bucket-00000/        the baskets of one bucket; none for a bucket without purchases
        customers.parquet  ids, ascending
        basket_start.npy  day.npy  item_start.npy  item.npy    as engine.recommend.baskets.Baskets has them

It names persons. One made from a lake stands in the lake's inventory (:mod:`engine.lake.inventory`), so that who
erases a person finds it; :meth:`History.erase` takes persons out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from engine.compute import Compute, LocalCompute
from engine.errors import DataError
from engine.lake import inventory
from engine.lake.buckets import bucket_of
from engine.lake.frame import FrameSource
from engine.lake.table import Lake
from engine.neighbours.folder import new_folder, write_manifest
from engine.recommend.baskets import Baskets
from engine.recommend.history_files import (
    FORMAT,
    PRODUCTS,
    SIZES,
    VERSION,
    alone,
    damaged,
    joined,
    link,
    link_bucket,
    manifest,
    nobody,
    read_bucket,
    sizes_of,
    write_bucket,
)
from engine.recommend.purchases import PRODUCT_LEVEL, Choice, counting, encoding, no_purchases, products_table

KIND = "history"
"""What a history is called in a lake's inventory."""

_ID_TYPES: dict[str, pl.DataType] = {"Int64": pl.Int64(), "String": pl.String()}


def build_history(
    source: Lake | FrameSource,
    folder: str | Path,
    *,
    as_of: str | date | datetime | None = None,
    window_days: int | None = None,
    level: str = PRODUCT_LEVEL,
    basket: Literal["order", "day"] = "order",
    compute: Compute | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> History:
    """Write what each customer bought as a folder, bucket by bucket.

    A purchase is a row of a sale of a product before ``as_of``. Returns, postage and the like and rows that name no
    product are left out and counted by reason; customers without a purchase are not in the history. Two reads of the
    lake: the first numbers the products, the second writes the baskets. Memory holds as many buckets as work at a time,
    and the products with their prices. The files are the same for any number of threads.

    Parameters
    ----------
    source
        A lake, or checked transactions in memory.
    folder
        Where to write; a history that stands there is replaced whole.
    as_of
        Date or moment (UTC); rows strictly before it count. By default the midnight after the last row.
    window_days
        Only purchases of the last so many days count; at least 1. By default all.
    level
        What counts as a product: ``product_id``; a column of the lake's products, such as a category; or a further
        column of the transactions (the products' where both have it). Purchases of products without a value there
        are left out: nobody can be offered what has no name.
    basket
        What makes a basket: an order, or all that one customer bought on one day.
    compute
        Who works on the buckets; threads of this process by default.
    progress
        Called with ``(done, parts)`` after each part of the work.

    Returns
    -------
    History
        The history, opened.

    Raises
    ------
    SettingError
        An unknown level or basket, an impossible date or window.
    DataError
        No purchase before ``as_of``, or none with a value at the level.
    OutputExistsError
        The folder holds something that is not a history.

    Examples
    --------
    >>> import tempfile
    >>> import polars as pl
    >>> rows = pl.DataFrame({
    ...     "customer_id": [7, 7, 7, 9], "order_id": ["a", "a", "b", "c"], "product_id": ["x", "y", "x", "x"],
    ...     "timestamp": ["2024-05-01", "2024-05-01", "2024-05-09", "2024-05-02"], "amount": [2, 3, 2, 2]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = build_history(FrameSource.from_frame(rows), folder + "/history")
    ...     history.products.rows(), list(history.of([9, 7]).each())
    ([('x', 2, Decimal('2.0000')), ('y', 1, Decimal('3.0000'))], [[[0]], [[0, 1], [0]]])
    """
    choice = Choice.of(source, as_of=as_of, window_days=window_days, level=level, basket=basket)
    target = Path(folder)
    compute = compute or LocalCompute()
    parts = range(source.buckets)
    counted = compute.map(counting(source, choice), parts, progress=_steps(progress, 0, 2 * len(parts)))
    known = source.products() if level == PRODUCT_LEVEL else None
    products, purchases, left_out = products_table(counted, known)
    if not purchases:
        raise no_purchases(source, choice, left_out)
    with new_folder(target, format=FORMAT) as partial:
        products.write_parquet(partial / PRODUCTS)
        ids = products["product_id"]
        step = _steps(progress, len(parts), 2 * len(parts))
        encoded = compute.map(encoding(source, choice, ids), parts, progress=step)
        sizes = [write_bucket(partial, number, baskets) for number, baskets in enumerate(encoded)]
        body = {
            "lake_version": source.version,
            "customer_id": str(source.customer_id_dtype),
            "as_of": choice.as_of.isoformat(),
            "window_days": choice.window_days,
            "level": level,
            "basket": basket,
            "products": products.height,
            "rows": {"lake": source.rows, "purchases": purchases, "left_out": left_out},
            "erased": 0,
            "buckets": sizes,
        }
        write_manifest(partial, format=FORMAT, version=VERSION, body=body)
        if isinstance(source, Lake):
            # Before it stands in its place: an entry without a file does no harm.
            inventory.note(source.path, KIND, target, made=choice.as_of, version=source.version)
    return History.open(target)


class History:
    """Purchase histories in a folder that :func:`build_history` wrote.

    Customers are in the order of their buckets, inside a bucket by ascending id. Files are mapped, not read, where a
    few customers are asked for.

    Attributes
    ----------
    folder
        Where it lies.
    products
        One row per product, by code: ``product_id`` (at another level than the product the value there); at the
        level of products the columns that the lake has of them; ``customers`` who bought it, ``median_unit_price``
        (exact; of two middle prices the lower; null where no purchase has one). Erasing leaves these figures as they
        were.
    as_of
        Purchases before this moment count.
    window_days
        Days before it that count, None for all.
    level, basket
        What counts as a product and as a basket.
    lake_version
        Version of the lake that was read, 0 for a frame.
    rows
        The account of the lake's rows: ``lake`` = ``purchases`` + the sum of ``left_out`` by reason, see
        :data:`engine.recommend.purchases.REASONS`. As it was when built.
    """

    def __init__(self, folder: Path, body: dict[str, Any], products: pl.DataFrame) -> None:
        self.folder = folder
        self.products = products
        self._take(body)

    def _take(self, body: dict[str, Any]) -> None:
        self._body = body
        self.as_of = datetime.fromisoformat(body["as_of"])
        self.window_days: int | None = body["window_days"]
        self.level: str = body["level"]
        self.basket: str = body["basket"]
        self.lake_version: int = body["lake_version"]
        self.rows: dict[str, Any] = body["rows"]
        self._id_type = _ID_TYPES[body["customer_id"]]
        self._sizes: list[dict[str, int]] = [{name: int(each[name]) for name in SIZES} for each in body["buckets"]]
        self._mapped: dict[int, Baskets] = {}

    @classmethod
    def open(cls, folder: str | Path) -> History:
        """Open a history; its buckets are read when they are asked for.

        Raises
        ------
        SourceNotFoundError
            There is no history in the folder.
        BundleError
            A file is missing, cut or changed, or the history is of another version.
        """
        path = Path(folder)
        body = manifest(path)
        try:
            products = pl.read_parquet(path / PRODUCTS)
            history = cls(path, body, products)
            fits = products.height == body["products"] and products.columns[0] == "product_id"
        except (pl.exceptions.PolarsError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise damaged(path, f"its files do not hold one ({error})") from error
        if not fits or products["product_id"].n_unique() != products.height:
            raise damaged(path, f"{PRODUCTS} is not what the manifest says")
        return history

    def __repr__(self) -> str:
        """Return one line."""
        return f"<History: {self.n:,} customers, {self.m:,} products, before {self.as_of.date()}>"

    @property
    def buckets(self) -> int:
        """Number of buckets: the lake's."""
        return len(self._sizes)

    @property
    def n(self) -> int:
        """Number of customers."""
        return sum(each["customers"] for each in self._sizes)

    @property
    def m(self) -> int:
        """Number of products."""
        return self.products.height

    def bucket(self, number: int) -> Baskets:
        """Return the histories of one bucket, in memory.

        Raises
        ------
        DataError
            There is no such bucket.
        BundleError
            A file of the bucket is missing or damaged.
        """
        return self._read(number, mapped=False)

    def baskets(self) -> Baskets:
        """Return all histories, in memory.

        Peak memory is what is returned and the largest bucket: 8 bytes per customer and the ids, 12 per basket, 4 per
        product of a basket. The ids are there twice for a moment.
        """
        return self._joined((self._read(number, mapped=True) for number in range(self.buckets)), self._sizes)

    def find(self, customer_id: int | str) -> tuple[int, int] | None:
        """Return a customer's bucket and row in it, ``None`` where nobody has the id.

        Where ids are numbers, the text of one will do (``"42"``); where they are text, a number stands for its digits.
        """
        found = self._places([customer_id])
        bucket, row = found.row(0)[1:]
        return None if row is None else (bucket, row)

    def of(self, customer_ids: Iterable[int | str]) -> Baskets:
        """Return the histories of some customers in the order given, each once; one not known here has no basket.

        Raises
        ------
        DataError
            One is no id: neither a whole number nor text, or text where ids are whole numbers.
        """
        places = self._places(customer_ids).unique("text", keep="first", maintain_order=True)
        ids = places["text"].cast(self._id_type, strict=False).alias("customer_id")
        if ids.null_count():
            raise DataError(
                f"customer_ids: the ids of this history are whole numbers; {ids.null_count():,} of {len(ids):,} given "
                "are not."
            )
        places = places.with_row_index("place")
        known, unknown = places.drop_nulls("row").sort("bucket", "row"), places.filter(pl.col("row").is_null())
        parts = [
            self._map(int(bucket)).take(rows["row"].to_numpy())
            for (bucket,), rows in known.group_by("bucket", maintain_order=True)
        ]
        parts.append(nobody(ids.gather(unknown["place"]), self.products["product_id"]))
        order = np.argsort(pl.concat([known["place"], unknown["place"]]).to_numpy())
        return self._joined(parts, [sizes_of(part) for part in parts]).take(order)

    def erase(self, customer_ids: Iterable[int | str]) -> int:
        """Take customers out of the folder; return how many there were.

        Their buckets are written anew and the folder is replaced whole, so it holds them all or none of them; others
        may erase at the same time. Who has the folder open must open it again. The figures in :attr:`products` and
        :attr:`rows` stay as they were: they name nobody.

        Raises
        ------
        DataError
            An id is neither a whole number nor text, or there is one alone instead of a list; nobody was erased.
        BundleError
            The history is damaged.
        """
        wanted = self._places(customer_ids)["text"]
        with alone(self.folder):
            # Another process may have erased since this one looked.
            self._take(manifest(self.folder))
            found = self._places(wanted).drop_nulls("row").unique("text")
            if not found.height:
                return 0
            touched = {int(bucket): rows["row"] for (bucket,), rows in found.group_by("bucket")}
            with new_folder(self.folder, format=FORMAT) as partial:
                sizes = [dict(each) for each in self._sizes]
                link(self.folder / PRODUCTS, partial / PRODUCTS)
                for number in range(self.buckets):
                    if number in touched:
                        whole = self._read(number, mapped=True)
                        rows = np.delete(np.arange(whole.n), touched[number].to_numpy())
                        sizes[number] = write_bucket(partial, number, whole.take(rows))
                    else:
                        link_bucket(self.folder, number, sizes[number], partial)
                body = {**self._body, "buckets": sizes, "erased": self._body["erased"] + found.height}
                write_manifest(partial, format=FORMAT, version=VERSION, body=body)
            self._take(body)
        return found.height

    def _map(self, number: int) -> Baskets:
        if number not in self._mapped:
            self._mapped[number] = self._read(number, mapped=True)
        return self._mapped[number]

    def _read(self, number: int, *, mapped: bool) -> Baskets:
        if isinstance(number, bool) or not 0 <= number < self.buckets:
            raise DataError(f"bucket {number}: this history has the buckets 0 to {self.buckets - 1}.")
        products = self.products["product_id"]
        sizes = self._sizes[number]
        return read_bucket(self.folder, number, sizes, products=products, ids=self._id_type, mapped=mapped)

    def _joined(self, parts: Iterable[Baskets], sizes: list[dict[str, int]]) -> Baskets:
        return joined(parts, sizes, products=self.products["product_id"], ids=self._id_type)

    def _places(self, customer_ids: Iterable[int | str]) -> pl.DataFrame:
        """Return each id as ``text`` with its ``bucket`` and its ``row`` there, null where nobody has it."""
        text = _texts(customer_ids)
        own = text if self._id_type == pl.String else text.cast(pl.Int64, strict=False)
        # "042" is another id than 42.
        own = own.set(own.cast(pl.String).ne_missing(text), None)
        asked = pl.DataFrame({"text": text, "own": own}).with_columns(bucket_of("text", self.buckets))
        rows = pl.Series("row", [None], dtype=pl.Int64).new_from_index(0, asked.height)
        for (bucket,), part in asked.with_row_index("place").group_by("bucket"):
            rows = rows.scatter(part["place"], _rows(self._map(int(str(bucket))).customer_ids, part["own"]))
        return asked.select("text", "bucket", rows)


def _steps(progress: Callable[[int, int], None] | None, done: int, parts: int) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda further, _parts: progress(done + further, parts)


def _texts(customer_ids: Iterable[int | str]) -> pl.Series:
    """Return ids as text, as the lake's buckets are told from."""
    if isinstance(customer_ids, str | bytes) or not isinstance(customer_ids, Iterable):
        # The letters of a text would be taken for ids.
        raise DataError(f"customer_ids: expected a list of ids; got {type(customer_ids).__name__}. One id: [id].")
    if isinstance(customer_ids, pl.Series) and (customer_ids.dtype.is_integer() or customer_ids.dtype == pl.String):
        customer_ids = customer_ids.to_list()
    texts = []
    for each in customer_ids:
        if isinstance(each, bool) or not isinstance(each, int | str | np.integer):
            raise DataError(f"customer_ids: expected whole numbers or text; got {each!r:.80}.")
        texts.append(str(each))
    return pl.Series("text", texts, dtype=pl.String)


def _rows(ids: pl.Series, asked: pl.Series) -> pl.Series:
    """Return where each id is among ascending ones, null where it is not."""
    if not len(ids):
        return asked.new_from_index(0, 0).cast(pl.Int64).extend_constant(None, len(asked))
    at = ids.search_sorted(asked).cast(pl.Int64)
    found = ids.gather(at.clip(0, len(ids) - 1)) == asked
    return at.set(~found.fill_null(False), None)
