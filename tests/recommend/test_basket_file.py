from __future__ import annotations

import gzip
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from engine.errors import ColumnsMissingError, DataError, SourceNotFoundError
from engine.recommend.basket_file import least_baskets, least_rows, read_baskets, read_rows, without_hyper_frequent

NAMES = {"customer": "who", "product": "what", "time": "when"}
WHO, WHAT = [7, 7, 7, 8, 8], ["10", "11", "10", "11", "9"]


def history_of(path: Path, **names: str) -> tuple[list, list]:
    history = read_baskets(path, **{**NAMES, **names})
    history.check()
    products = history.products.to_list()
    return history.customer_ids.to_list(), [[[products[i] for i in b] for b in own] for own in history.each()]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv", "parquet"])
@pytest.mark.parametrize(
    "when",
    [
        ["2024-05-01", "2024-05-01", "2024-05-03", "2024-05-02", "2024-05-02"],
        ["2024-05-01 10:00:00", "2024-05-01 11:30:00", "2024-05-03 09:00:00", "2024-05-02 01:00:00"] * 1
        + ["2024-05-02 23:59:59"],
        [1, 1, 3, 2, 2],
    ],
)
def test_any_file_of_baskets(tmp_path: Path, ending: str, when: list) -> None:
    frame = pl.DataFrame({"who": WHO, "what": WHAT, "when": when})
    path = tmp_path / f"baskets.{ending}"
    if ending == "parquet":
        frame.write_parquet(path)
    else:
        text = frame.write_csv(separator="\t" if ending == "tsv" else ",").encode()
        path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    ids, baskets = history_of(path)
    assert ids == [7, 8]
    # Most customers bought 11; the ids of products are text.
    assert baskets == [[["11", "10"], ["10"]], [["11", "9"]]]


def test_orders_of_one_day_are_baskets_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "orders.parquet"
    day = [datetime(2024, 5, 1, 10), datetime(2024, 5, 1, 9), datetime(2024, 5, 1, 12), None, datetime(2024, 5, 2)]
    pl.DataFrame({"who": WHO, "what": WHAT, "when": day, "order": ["b", "a", "b", "c", "d"]}).write_parquet(path)
    # "b" was begun at ten, after "a"; the row without a time is left out.
    assert history_of(path, order="order")[1] == [[["11"], ["10"]], [["9"]]]
    assert history_of(path)[1] == [[["10", "11"]], [["9"]]]


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("who,what,day\n1,2,2024-05-01\n", ColumnsMissingError, "no column 'when'"),
        ("who,what,when\n1,2,last May\n", DataError, "when: expected dates or times .* got 'last May'"),
        ("who,what,when\n1,2,1.5\n", DataError, "when: expected dates, times or whole numbers; got Float64"),
        ("", DataError, "cannot be read as a table"),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str, error: type, says: str) -> None:
    path = tmp_path / "baskets.csv"
    path.write_text(text)
    with pytest.raises(error, match=says):
        read_rows(path, **NAMES)


def test_no_file_and_one_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="no such file"):
        read_rows(tmp_path / "baskets.csv", **NAMES)
    (tmp_path / "baskets.xlsx").write_bytes(b"x")
    with pytest.raises(DataError, match=r"ending in one of \.parquet"):
        read_rows(tmp_path / "baskets.xlsx", **NAMES)


def rows_of(*rows: tuple[int, str, int]) -> pl.DataFrame:
    who, what, day = zip(*rows, strict=True)
    return pl.DataFrame({"customer_id": who, "product_id": what, "timestamp": [date(2024, 5, d) for d in day]})


def test_filters_count_where_they_are_told_to() -> None:
    rows = rows_of((1, "x", 1), (1, "y", 1), (1, "x", 2), (2, "y", 5), (2, "y", 5), (3, "x", 5), (3, "x", 6))
    assert least_baskets(rows, 2)["customer_id"].unique().sort().to_list() == [1, 3]
    # Alone among those who stay "y" has one row, in all it has three.
    stay = least_baskets(rows, 2)
    assert least_rows(stay, 3)["product_id"].unique().to_list() == ["x"]
    assert least_rows(stay, 3, counted=rows).height == stay.height
    with_orders = rows.with_columns(order_id=pl.Series(["a", "b", "c", "d", "e", "f", "f"]))
    assert least_baskets(with_orders, 2)["customer_id"].unique().sort().to_list() == [1, 2]


def test_hyper_frequent_customers_by_hand() -> None:
    # Paces: 2 rows in 2 days for five customers, 12 rows in 2 days, and 3 rows on one day. Mean (5 + 6 + 3) / 7 = 2,
    # population deviation sqrt((5 + 16 + 1) / 7) = 1.773: out is who has 5.55 or more, and who came on one day.
    rows = [(c, "x", d) for c in range(5) for d in (1, 2)]
    rows += [(5, f"p{number}", 1 + number % 2) for number in range(12)] + [(6, "x", 9)] * 3
    frame = rows_of(*rows)
    assert without_hyper_frequent(frame)["customer_id"].unique().sort().to_list() == [0, 1, 2, 3, 4]
    # The deviation of a sample, 1.915, would let 6 pass here.
    assert without_hyper_frequent(frame, deviations=2.2)["customer_id"].max() == 4
    assert without_hyper_frequent(frame, deviations=2.3)["customer_id"].unique().sort().to_list() == [0, 1, 2, 3, 4, 5]
