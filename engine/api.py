"""The notebook's entry: transactions in, a :class:`engine.segmentation.Segmentation` out.

>>> import engine, polars as pl
>>> sales = pl.DataFrame({
...     "customer_id": [1, 1, 1, 2, 3, 3, 4, 5, 5, 6],
...     "timestamp": pl.Series(["2024-01-05", "2024-02-03", "2024-03-01", "2024-01-09", "2024-02-20", "2024-03-02",
...                             "2024-01-02", "2024-02-11", "2024-03-03", "2024-01-20"]).str.to_datetime(),
...     "order_id": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"],
...     "amount": [120.0, 80.5, 99.5, 12.0, 150.0, 130.0, 9.5, 88.0, 142.0, 15.0],
... })
>>> s = engine.segment(sales, as_of="2024-03-04", k=2, features=["frequency", "monetary"])
>>> s.profile["customers"].to_list()
[3, 3]
>>> s.classify({"frequency": 3, "monetary": 300.0}).segment.rank
1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from engine.errors import DataError, SettingError
from engine.features.matrix import FeatureSet
from engine.features.sets import named_set
from engine.features.store import FEATURES, TransactionSource, customer_table
from engine.lake.frame import FrameSource
from engine.lake.recipe import CANONICAL, Recipe
from engine.lake.table import Lake
from engine.schema import check_language, require_columns
from engine.segmentation import Seconds, Segmentation, SegmentSettings, segment_customers, source_facts, timed
from engine.segments.model import SegmentModel

if TYPE_CHECKING:
    import pandas as pd

    from engine.recommend.recommender import CustomerRecommender
    from engine.segments.segment import Segment


def segment(
    transactions: pl.DataFrame | pl.LazyFrame | pd.DataFrame | Lake,
    *,
    columns: Mapping[str, str] | None = None,
    as_of: str | date | datetime | None = None,
    window_days: int | None = None,
    where: str | None = None,
    features: str | Sequence[str] | FeatureSet = "rfm",
    k: int | str | range = "auto",
    backend: str = "native",
    solver: str = "auto",
    seed: int = 0,
    threads: int | None = None,
    max_passes: int | None = None,
    max_seconds: float | None = None,
    device: str = "auto",
    min_segments: int = 3,
    max_segments: int = 8,
    min_share: float = 0.01,
    rules: str = "retail",
    language: str = "en",
) -> Segmentation:
    """Segment the customers behind some transactions.

    Parameters
    ----------
    transactions
        One row per transaction, in memory; or an open :class:`engine.lake.table.Lake`.
    columns
        Names of the columns: ``{"customer_id": "CustomerID", "timestamp": "InvoiceDate", …}``; canonical names need no
        entry. ``customer_id``, ``timestamp`` and ``amount`` (or ``quantity`` and ``unit_price``) are required.
    as_of
        Date of the analysis; rows before it count. ``None``: the midnight after the last row.
    window_days
        Period before ``as_of`` that counts; ``None``: the whole history.
    where
        SQL predicate that selects customers, such as ``monetary > 100``.
    features
        ``rfm``, ``rfm_units``, ``ticket``, ``behaviour``, a list of columns, or a
        :class:`engine.features.matrix.FeatureSet`.
    k, backend, solver, seed, threads, max_passes, max_seconds, device
        How customers are clustered; see :class:`SegmentSettings`.
    min_segments, max_segments, min_share, rules, language
        What is made of it; see :class:`SegmentSettings`.

    Raises
    ------
    DataError
        The data cannot be segmented; the message says what was expected and what came.
    SettingError
        A setting is unknown or impossible.
    """
    settings = SegmentSettings(
        features=named_set(features),
        k=k,
        backend=backend,
        solver=solver,
        seed=seed,
        threads=threads,
        max_passes=max_passes,
        max_seconds=max_seconds,
        device=device,
        min_segments=min_segments,
        max_segments=max_segments,
        min_share=min_share,
        rules=rules,
        language=language,
    )
    seconds: Seconds = {}
    with timed(seconds, "read"):
        source = transactions if isinstance(transactions, Lake) else _in_memory(transactions, columns or {})
    with timed(seconds, "features"):
        table = customer_table(
            source, columns=settings.features.columns, as_of=as_of, window_days=window_days, where=where
        )
    return segment_customers(table, settings, source=source_facts(source), seconds=seconds)


def classify_transactions(
    model: SegmentModel,
    transactions: pl.DataFrame | pl.LazyFrame | pd.DataFrame | Lake,
    *,
    columns: Mapping[str, str] | None = None,
    as_of: str | date | datetime | None = None,
    where: str | None = None,
    language: str = "en",
) -> pl.DataFrame:
    """Return the segments of the customers behind some transactions, one or millions.

    The model's variables are computed over the model's own period, so a customer without a sale in it gets no row.

    Parameters
    ----------
    model
        From :func:`engine.load`, or a segmentation's ``model``.
    transactions, columns, where
        As :func:`segment` takes them.
    as_of
        The model's period ends here; rows before it count. ``None``: the midnight after the last row.
    language
        Of the segment names: ``en`` or ``es``.

    Returns
    -------
    pl.DataFrame
        What :meth:`engine.segments.model.SegmentModel.assign` returns, a row per customer.

    Raises
    ------
    DataError
        No row can be used, or none is a sale in the model's period.
    SettingError
        ``model`` is none, a variable of it is no feature of transactions, or a setting is impossible.

    Examples
    --------
    >>> sales = pl.DataFrame({"customer_id": [1, 2, 2, 3], "timestamp": ["2024-01-05", "2024-01-09"] * 2,
    ...                       "order_id": ["a", "b", "c", "d"], "amount": [20.0, 80.5, 99.5, 12.0]})
    >>> model = segment(sales, k=2, features=["frequency", "monetary"]).model
    >>> new = pl.DataFrame({"customer_id": ["x", "x"], "timestamp": ["2024-05-02", "2024-05-30"],
    ...                     "order_id": ["e", "f"], "amount": [80.5, 99.5]})
    >>> classify_transactions(model, new).select("customer_id", "novel").rows()
    [('x', False)]
    """
    check_language(language)
    if not isinstance(model, SegmentModel):
        raise SettingError(
            f"model: expected a model, from engine.load(…) or as segmentation.model; got {type(model).__name__}."
        )
    source = transactions if isinstance(transactions, Lake) else _in_memory(transactions, columns or {})
    return model.assign(model_customers(model, source, as_of=as_of, where=where), language=language)


def recommender(
    transactions: pl.DataFrame | pl.LazyFrame | pd.DataFrame | Lake,
    *,
    columns: Mapping[str, str] | None = None,
    as_of: str | date | datetime | None = None,
    window_days: int | None = None,
    level: str = "product_id",
    basket: Literal["order", "day"] = "order",
    segments: Segmentation | pl.DataFrame | pd.DataFrame | None = None,
    products: pl.DataFrame | pd.DataFrame | None = None,
    name: str | None = None,
    category: str | None = None,
    repurchase: Mapping[str, bool] | None = None,
    once_below: float = 0.02,
    exclude: Sequence[str] | None = None,
    seed: int = 0,
) -> CustomerRecommender:
    """Return what recommends products to the customers behind some transactions.

    Parameters
    ----------
    transactions, columns, as_of
        As :func:`segment` takes them; rows of sales that name a product count.
    window_days
        Only purchases of the last so many days count; ``None``: all.
    level
        What counts as a product: ``product_id``, or for a lake a column of its products, such as a category.
    basket
        What makes a basket: an order, or all that one customer bought on one day.
    segments
        A segmentation, or a frame with ``customer_id`` and ``segment_id``; ``None``: no segments.
    products
        A Polars or pandas frame with ``product_id`` and what is known of each product; by default what a lake has.
    name
        Their column with what a product is called: ``name="product_type"`` for the demo's lake. By default ``name``,
        ``description`` or ``product_name``; where products have none of these, ``product`` is the id.
    category, repurchase, once_below, exclude, seed
        See :meth:`engine.recommend.recommender.CustomerRecommender.fit`.

    Returns
    -------
    engine.recommend.recommender.CustomerRecommender
        ``.recommend([ids], k)`` is for customers, ``.for_basket([products], segment_id=…)`` for somebody new,
        ``.customers_for(product_id)`` for a product; ``.save(folder)`` is for later, and :func:`engine.load` opens it.

    Raises
    ------
    DataError
        No purchase of a product, or nobody with two baskets to learn from.
    SettingError
        A setting is unknown or impossible.

    Examples
    --------
    >>> import random
    >>> draw = random.Random(0)
    >>> sales = pl.DataFrame([(c, f"{c}-{month}", date(2024, month, 1 + c % 28), product, 2.0)
    ...     for c in range(80) for month in range(1, 13) for product in ["bread", draw.choice("abcdef")]],
    ...     schema=["customer_id", "order_id", "timestamp", "product_id", "amount"], orient="row")
    >>> offers = recommender(sales).recommend([3], k=2)
    >>> offers.select("rank", "product", "why").row(0)
    (1, 'bread', 'bought every 4 weeks')

    From files, by way of a lake, which is read once and stays; what a customer has not bought yet:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from engine.lake.ingest import ingest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     at = Path(folder)
    ...     sales.write_csv(at / "sales.csv")
    ...     recipe = Recipe.from_mapping({"name": "shop", "path": str(at / "sales.csv")})
    ...     _ = ingest(recipe, at / "lake", rejects=at / "rejects.parquet")
    ...     of_lake = recommender(Lake.open(at / "lake"))
    >>> of_lake
    <CustomerRecommender: 80 customers, 7 products, 0 segments, for 2024-12-29>
    >>> set(of_lake.recommend(None, 5, only="new")["times_bought"])
    {0}
    """
    from engine.recommend.history import build_history
    from engine.recommend.kept_history import kept_history
    from engine.recommend.recommender import CustomerRecommender

    assignments = segments.assignments if isinstance(segments, Segmentation) else _table(segments, "segments")
    further = _table(products, "products")
    chosen: Any = {"as_of": as_of, "window_days": window_days, "level": level, "basket": basket}
    with TemporaryDirectory() as scratch:
        if isinstance(transactions, Lake):
            history = kept_history(transactions, **chosen)
        else:
            source = _in_memory(transactions, columns or {})
            history = build_history(source, Path(scratch) / "history", **chosen)
        bought, known = history.baskets(), history.products
    if further is not None:
        require_columns(further.columns, ["product_id"], where="products")
        further = further.with_columns(pl.col("product_id").cast(pl.String)).unique("product_id", keep="first")
        known = known.select("product_id", pl.exclude(further.columns)).join(
            further, on="product_id", how="left", maintain_order="left"
        )
    named = segments.model.segments if isinstance(segments, Segmentation) else ()
    return CustomerRecommender.fit(
        bought,
        as_of=history.as_of,
        products=known,
        name=name,
        category=category,
        repurchase=repurchase,
        once_below=once_below,
        exclude=exclude,
        assignments=assignments,
        segments=segment_names(named) if named else None,
        seed=seed,
    )


def segment_names(segments: Sequence[Segment]) -> pl.DataFrame:
    """Return the names of segments: ``segment_id``, ``name_en``, ``name_es``."""
    rows = [(each.segment_id, each.name.en, each.name.es) for each in segments]
    return pl.DataFrame(rows, schema=dict.fromkeys(("segment_id", "name_en", "name_es"), pl.String), orient="row")


def model_customers(
    model: SegmentModel,
    source: TransactionSource,
    *,
    as_of: str | date | datetime | None = None,
    where: str | None = None,
    cache: Path | None = None,
) -> pl.DataFrame:
    """Return the customers of a source with the model's variables, over the model's own period.

    Parameters
    ----------
    model
        Says which variables and which period.
    source, as_of, where, cache
        As :func:`engine.features.store.customer_table` takes them.

    Raises
    ------
    SettingError
        A variable of the model is no feature of transactions.
    DataError
        As :func:`engine.features.store.customer_table` raises it.
    """
    strange = [name for name in model.spec.names if name not in FEATURES]
    if strange:
        raise SettingError(
            f"transactions: this model needs {', '.join(strange)}, which cannot be computed from transactions. Give it "
            f"customers with values for {', '.join(model.spec.names)}."
        )
    return customer_table(
        source, columns=model.spec.names, as_of=as_of, window_days=model.window_days, where=where, cache=cache
    ).frame


def _table(given: Any, what: str) -> pl.DataFrame | None:
    """Return a small table that somebody gave, of Polars or pandas."""
    if given is None or isinstance(given, pl.DataFrame):
        return given
    if isinstance(given, pl.LazyFrame):
        return given.collect()
    if not hasattr(given, "to_dict") or not hasattr(given, "columns"):
        expected = "a segmentation, or a" if what == "segments" else "a"
        raise SettingError(f"{what}: expected {expected} Polars or pandas frame; got {type(given).__name__}.")
    return _from_pandas(given)


def _in_memory(transactions: Any, columns: Mapping[str, str]) -> FrameSource:
    frame = transactions
    if not isinstance(frame, pl.DataFrame | pl.LazyFrame):
        if not hasattr(frame, "to_dict") or not hasattr(frame, "columns"):
            raise SettingError(
                "transactions: expected a Polars or pandas frame, one row each, or an open Lake; got "
                f"{type(transactions).__name__}. Read files with `cartera ingest`, or with pl.read_csv first."
            )
        frame = _from_pandas(frame)
    if not isinstance(columns, Mapping):
        raise SettingError(f"columns: expected a mapping such as {{'customer_id': 'CustomerID'}}; got {columns!r}.")
    names = frame.collect_schema().names()
    mapped = {name: name for name in CANONICAL if name in names} | dict(columns)
    return FrameSource.from_frame(frame, Recipe(name="frame", columns=mapped))


def _from_pandas(frame: pd.DataFrame) -> pl.DataFrame:
    """Return a pandas frame as Polars', column by column: the conversion of a whole one would need pyarrow."""
    columns = {}
    for name in frame.columns:
        values = frame[name]
        if getattr(values.dtype, "tz", None) is not None:
            values = values.dt.tz_convert("UTC").dt.tz_localize(None)
        try:
            if values.dtype.kind in "iufbM":
                columns[str(name)] = pl.Series(values.to_numpy())
            else:
                known = values.astype(object)
                columns[str(name)] = pl.Series(known.where(known.notna(), None).tolist(), strict=True)
        except (pl.exceptions.PolarsError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"column {name!r}: expected values of one kind (numbers, texts or dates) in the pandas frame; got "
                f"{values.dtype} ({error}). Convert the column first."
            ) from None
    return pl.DataFrame(columns)
