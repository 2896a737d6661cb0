"""``POST /v1/classify/batch`` and ``/v1/classify/transactions``: many customers in one request.

Nothing is half answered: a value that one customer could not have in ``/v1/classify`` refuses the whole batch and is
named by its row and column. The work is done in one thread of its own, so that single customers are answered meanwhile.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import time
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from engine.errors import DataError, SettingError
from engine.lake.frame import FrameSource
from engine.lake.recipe import CANONICAL, Recipe
from engine.serving import rows
from engine.serving.classify import check_encoding, read_body, refused
from engine.serving.problems import Problem
from engine.serving.query import AS_OF, IMPUTE, LANGUAGE, options

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.features.matrix import FeatureColumn
    from engine.segments.model import SegmentModel
    from engine.serving.access import Access
    from engine.serving.metrics import Metrics
    from engine.serving.state import State

BATCH_OPTIONS = {"impute": IMPUTE, "language": LANGUAGE}
TRANSACTION_OPTIONS = {"as_of": AS_OF, "language": LANGUAGE}

AT_ONCE = 8
"""Batches whose bodies are held at a time by one process; beyond it the next is told to come back."""

READ_AT_ONCE = AT_ONCE // 2
"""Of them, bodies still on their way under one token's name: who sends slowly keeps nobody else out."""

_SETTINGS = re.compile(r"\b(data|features|index)\.[a-z_]|\brecipe\b")
_OR_SETTING = re.compile(r",? or set (data|features|index)\.[^ ]+ to another one(?=\.)")

Period = dict[str, int | str | None]
Answer = tuple[pl.DataFrame, Period]

PERIOD_HEADERS = {"window_days": b"cartera-window-days", "as_of": b"cartera-as-of"}
"""Of every answer: the days that the values refer to (``null`` is the whole history), and where they end."""

FARTHEST = float(np.finfo(np.float32).max)


class Batches:
    """The endpoints, and the thread that works for them.

    Parameters
    ----------
    state, access, metrics
        What is served, to whom, and where it is counted.
    language
        Of an answer where none is asked for.
    max_rows
        Of one request.
    """

    def __init__(self, state: State, access: Access, metrics: Metrics, *, language: str, max_rows: int) -> None:
        self._state, self._access, self._metrics = state, access, metrics
        self._language, self._max_rows = language, max_rows
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="batch")
        # Batches whose bodies are there, and those still on their way by the token's name.
        self._held = 0
        self._reading: Counter[str] = Counter()

    async def customers(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer with the segment of each customer, in the order in which they came."""
        who = self._access.require(scope, "classify").name
        asked = options(scope["query_string"], BATCH_OPTIONS)

        def work(model: SegmentModel, body: bytes, form: str, language: str) -> Answer:
            frame = rows.customers(body, form, model.spec.names, most=self._max_rows)
            found = classified(frame, model, impute=asked["impute"], language=language)
            return found, {"window_days": model.window_days}

        await self._answer(scope, receive, send, work, asked["language"], who)

    async def transactions(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer with the segments of the customers behind transactions, by customer."""
        who = self._access.require(scope, "classify").name
        asked = options(scope["query_string"], TRANSACTION_OPTIONS)

        def work(model: SegmentModel, body: bytes, form: str, language: str) -> Answer:
            frame = rows.transactions(body, form, most=self._max_rows)
            return from_transactions(frame, model, as_of=asked["as_of"], language=language)

        await self._answer(scope, receive, send, work, asked["language"], who)

    def warm_up(self) -> None:
        """Load what the first batch would otherwise wait for: kernels, and machine code that is not there yet."""
        self._worker.submit(_warm_up, self._state.now.model)

    def close(self) -> None:
        """Let the thread end."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _answer(
        self,
        scope: Any,
        receive: Any,
        send: Any,
        work: Callable[[SegmentModel, bytes, str, str], Answer],
        language: str | None,
        who: str,
    ) -> None:
        headers = dict(reversed(scope["headers"]))
        check_encoding(scope)
        form = rows.form_of(headers.get(b"content-type", b"").decode("latin-1"))
        answer = rows.answer_form(headers.get(b"accept", b"").decode("latin-1"), form)
        body = await self._body(receive, who)
        self._held += 1
        try:
            task = functools.partial(self._work, work, self._state.now.model, body, form, language or self._language)
            found, content, period = await asyncio.get_running_loop().run_in_executor(self._worker, task, answer)
        finally:
            self._held -= 1
        self._metrics.classified(found)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", rows.MEDIA_TYPES[answer].encode()),
                    (b"content-length", str(len(content)).encode()),
                    *((PERIOD_HEADERS[name], json.dumps(value).strip('"').encode()) for name, value in period.items()),
                ],
            }
        )
        await send({"type": "http.response.body", "body": content})

    async def _body(self, receive: Any, who: str) -> bytes:
        """Return a body where there is room for it, before it is read and after."""
        self._check_room()
        if self._reading[who] >= READ_AT_ONCE:
            raise _busy(f"{READ_AT_ONCE} batches under this token's name are still on their way.")
        self._reading[who] += 1
        try:
            body = await read_body(receive)
        finally:
            self._reading[who] -= 1
            if not self._reading[who]:
                del self._reading[who]
        self._check_room()
        return body

    def _check_room(self) -> None:
        if self._held >= AT_ONCE:
            raise _busy(f"{AT_ONCE} batches are being worked on.")

    @staticmethod
    def _work(
        work: Callable[[SegmentModel, bytes, str, str], Answer],
        model: SegmentModel,
        body: bytes,
        form: str,
        language: str,
        answer: str,
    ) -> tuple[int, bytes, Period]:
        try:
            frame, period = work(model, body, form, language)
            return frame.height, rows.encode(frame, answer, period), period
        except pl.exceptions.PanicException as panic:
            # No Exception: it would pass by all who turn a fault into an answer.
            raise RuntimeError("Polars panicked") from panic


def classified(frame: pl.DataFrame, model: SegmentModel, *, impute: bool, language: str = "en") -> pl.DataFrame:
    """Return the segment of each row.

    Parameters
    ----------
    frame
        The model's variables, as numbers or as text that means numbers, and ``customer_id`` if any.
    model
        What is served.
    impute
        Whether values may be missing and are filled as at fit.
    language
        Of the names.

    Returns
    -------
    pl.DataFrame
        The columns of :meth:`engine.segments.model.SegmentModel.assign`, in the order of the rows; ``customer_id``
        only where it was given.

    Raises
    ------
    Problem
        422: a column is unknown or missing, or a value is missing or impossible; the first such row is named.
    """
    numbers = checked(frame, model, impute=impute)
    try:
        near = model.nearest(numbers)
    except DataError as error:
        raise refused(error, model) from None
    # Row numbers stand for ids here: `table` sorts by them, and ids may be missing or repeat.
    table = model.table(pl.Series("customer_id", np.arange(frame.height)), near, language=language)
    if "customer_id" not in frame.columns:
        return table.drop("customer_id")
    return table.with_columns(_ids(frame["customer_id"]))


def checked(frame: pl.DataFrame, model: SegmentModel, *, impute: bool) -> pl.DataFrame:
    """Return the model's variables as Float64, null where missing; see :func:`classified`."""
    names = model.spec.names
    unknown = [name for name in frame.columns if name not in (*names, "customer_id")]
    if unknown:
        raise Problem(
            422,
            "Unknown columns",
            f"Unknown {', '.join(map(repr, unknown))}; this model takes {', '.join(names)}, and customer_id beside "
            "them. Leave the others out.",
            variables=names,
        )
    absent = [name for name in names if name not in frame.columns]
    if absent and not impute:
        raise Problem(
            422,
            "Missing columns",
            f"No column for {', '.join(absent)}; this model needs {', '.join(names)}. With impute=true what is missing "
            "is filled as when the model was fitted.",
            variables=names,
        )
    columns, first = {}, frame.height
    for column in model.spec.columns:
        given = frame[column.name] if column.name in frame.columns else pl.Series([None] * frame.height)
        values = _floats(given, column.name)
        columns[column.name] = values
        first = min(first, _first_bad(given, values, column, impute=impute))
    if first < frame.height:
        _refuse(frame, first, model, impute=impute)
    return pl.DataFrame(columns)


def from_transactions(
    frame: pl.DataFrame, model: SegmentModel, *, as_of: str | None = None, language: str = "en"
) -> Answer:
    """Return the assignments of the customers behind transactions with canonical columns, and the period they are of.

    Raises
    ------
    Problem
        422: a row cannot be used, or the transactions cannot give the model's variables.
    """
    from engine.api import model_customers
    from engine.features.store import parse_as_of

    try:
        mapped = {name: name for name in CANONICAL if name in frame.columns}
        source = FrameSource.from_frame(frame, Recipe(name="transactions", columns=mapped))
        if source.rejects.height:
            row, reason = source.rejects.sort("row").select("row", "reason").row(0)
            raise Problem(
                422,
                "Unusable rows",
                f"{source.rejects.height:,} of {frame.height:,} rows cannot be used; the first is row {row} "
                f"({reason.replace('_', ' ')}). Correct or remove them.",
                row=row,
                reason=reason,
            )
        assigned = model.assign(model_customers(model, source, as_of=as_of), language=language)
        end = parse_as_of(as_of, source.last_timestamp())
        at_midnight = end.time() == time()
        return assigned, {
            "window_days": model.window_days,
            "as_of": (end.date() if at_midnight else end).isoformat(),
        }
    except (DataError, SettingError) as error:
        raise Problem(422, "Unusable transactions", without_settings(str(error))) from None


def without_settings(text: str) -> str:
    """Return an error's text less its advice on settings and recipes, which who asks over HTTP does not have.

    Examples
    --------
    >>> without_settings("2 of 6 rows cannot be read. Set decimal or columns in the recipe to how they are written.")
    '2 of 6 rows cannot be read. Correct the body.'
    """
    first, *others = re.split(r"(?<=\.)\s+(?=[A-Z])", _OR_SETTING.sub("", text))
    staying = [sentence for sentence in others if not _SETTINGS.search(sentence)]
    return " ".join([first, *staying, *(["Correct the body."] if len(staying) < len(others) else [])])


def _busy(why: str) -> Problem:
    return Problem(503, "Busy", f"{why} Try again.", headers={"Retry-After": "1"})


def _ids(given: pl.Series) -> pl.Series:
    if isinstance(given.dtype, pl.Categorical | pl.Enum):
        return given.cast(pl.String)
    if given.dtype == pl.String or given.dtype == pl.Null or given.dtype.is_integer():
        return given
    raise Problem(
        422,
        "Impossible column",
        f"customer_id: expected whole numbers or text; got a column of {given.dtype}.",
        variable="customer_id",
    )


def _floats(given: pl.Series, name: str) -> pl.Series:
    if given.dtype == pl.Null or given.dtype == pl.String or given.dtype.is_numeric():
        return given.cast(pl.Float64, strict=False).fill_nan(None)
    raise Problem(422, "Impossible column", f"{name}: expected numbers; got a column of {given.dtype}.", variable=name)


def _first_bad(given: pl.Series, values: pl.Series, column: FeatureColumn, *, impute: bool) -> int:
    """Return the first row whose value the model cannot take, or the number of rows."""
    low, high = column.limits
    known = values.to_numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        bad = (known < low) | (known > high) | np.isinf(known)
        # Of what remains, as far away as no float32 can say.
        bad |= np.abs(column.forward(np.where(bad, column.fill, known))) > FARTHEST
    missing = values.is_null()
    if not impute:
        bad |= missing.to_numpy()
    elif given.dtype == pl.String:
        bad |= (missing & given.is_not_null()).to_numpy()
    return int(bad.argmax()) if bad.any() else len(bad)


def _refuse(frame: pl.DataFrame, row: int, model: SegmentModel, *, impute: bool) -> None:
    """Say what is wrong with a row in the words that the customer alone would get."""
    values: dict[str, Any] = {}
    for name in model.spec.names:
        value = frame[name][row] if name in frame.columns else None
        if isinstance(value, str):
            number = pl.Series([value]).cast(pl.Float64, strict=False)[0]
            value = value if number is None else number
        if isinstance(value, int | float | str | None):
            values[name] = None if isinstance(value, float) and math.isnan(value) else value
        else:
            values[name] = float(value)
    try:
        model.spec.row(values, impute=impute)
    except DataError as error:
        found = refused(error, model, row=row + 1)
        found.detail = f"row {row + 1}: {found.detail.removeprefix('customer: ')}"
        raise found from None
    raise Problem(422, "Impossible values", f"row {row + 1}: a value cannot be.", row=row + 1)


def _warm_up(model: SegmentModel) -> None:
    import pyarrow.ipc  # type: ignore[import-untyped]  # noqa: F401

    from engine.clustering.nearest import FEW_ROWS, two_nearest

    two_nearest(np.zeros((FEW_ROWS + 1, model.spec.d), dtype=np.float32), model.centroids)
