from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest

from engine.errors import ColumnsMissingError, DataError, SettingError
from engine.recommend.baskets import Baskets, ranges
from tests.recommend.test_synthetic import odd_shop
from tests.reference.next_basket_twin import baskets_of, customers_of

DAY = (date(2024, 5, 1) - date(1970, 1, 1)).days


def rows(*purchases: tuple[object, object, object, object]) -> pl.DataFrame:
    return pl.DataFrame(purchases, ["customer_id", "order_id", "timestamp", "product_id"], orient="row")


def day(number: int) -> date:
    return date(2024, 5, number)


def test_orders_by_hand() -> None:
    # The second order of customer 7 has the lower id; a product twice in an order counts once.
    history = Baskets.from_frame(
        rows(
            (7, "b", day(1), "x"),
            (7, "a", day(4), "y"),
            (9, "a", day(2), "y"),
            (7, "b", day(1), "z"),
            (7, "b", day(1), "x"),
            (9, "a", day(2), "z"),
        )
    )
    history.check()
    # Two customers bought y and two z, one x: of equals the lower id first.
    assert history.products.to_list() == ["y", "z", "x"]
    assert history.customer_ids.to_list() == [7, 9]
    assert list(history.each()) == [[[1, 2], [0]], [[0, 1]]]
    assert history.day.tolist() == [DAY, DAY + 3, DAY + 1]
    assert history.owners().tolist() == [0, 0, 0, 1, 1]
    assert history.basket_of().tolist() == [0, 0, 1, 2, 2]
    assert (history.n, history.m, history.baskets) == (2, 3, 3)


def test_days_join_orders_and_split_none() -> None:
    frame = pl.DataFrame(
        {
            "customer_id": ["c", "c", "c", "c"],
            "timestamp": [
                datetime(2024, 5, 1, 23, 59),
                datetime(2024, 5, 2, 0, 0),
                datetime(2024, 5, 1, 8, 0),
                datetime(2024, 5, 2, 9, 0),
            ],
            "product_id": ["x", "y", "y", "y"],
        }
    )
    history = Baskets.from_frame(frame, basket="day")
    assert customers_of(history) == [[(DAY, [0, 1]), (DAY + 1, [1])]]
    assert history.customer_ids.to_list() == ["c"]
    assert history.day.dtype == np.int32


def test_an_order_begins_with_its_first_row_and_equal_times_are_ordered_by_id() -> None:
    history = Baskets.from_frame(
        rows(
            (1, "late", datetime(2024, 5, 3, 10), "x"),
            (1, "early", datetime(2024, 5, 2, 10), "y"),
            # The order that began first goes on after the other.
            (1, "early", datetime(2024, 5, 4, 10), "z"),
            (2, "b", datetime(2024, 5, 2, 10), "x"),
            (2, "a", datetime(2024, 5, 2, 10), "y"),
        )
    )
    x, y, z = (history.products.to_list().index(name) for name in "xyz")
    assert customers_of(history) == [[(DAY + 1, [y, z]), (DAY + 2, [x])], [(DAY + 1, [y]), (DAY + 1, [x])]]


def test_two_customers_may_have_orders_of_one_name() -> None:
    history = Baskets.from_frame(rows((1, "a", day(1), "x"), (2, "a", day(1), "x"), (2, "a", day(1), "y")))
    assert list(history.each()) == [[[0]], [[0, 1]]]


def test_rows_without_a_customer_a_product_or_a_time_are_left_out() -> None:
    history = Baskets.from_frame(
        rows((1, "a", day(1), "x"), (None, "b", day(1), "x"), (1, "c", None, "x"), (1, "d", day(2), None))
    )
    assert customers_of(history) == [[(DAY, [0])]]


def test_products_that_are_numbered_already() -> None:
    given = pl.Series(["q", "x", "never"])
    history = Baskets.from_frame(
        rows((1, "a", day(1), "x"), (1, "a", day(1), "y"), (2, "b", day(1), "y")), products=given
    )
    assert history.products.to_list() == ["q", "x", "never"]
    # Who bought only others is nobody here.
    assert history.customer_ids.to_list() == [1]
    assert list(history.each()) == [[[1]]]


def test_product_numbers_are_read_as_names() -> None:
    history = Baskets.from_frame(rows((1, "a", day(1), 10), (1, "a", day(1), 9)))
    assert history.products.to_list() == ["10", "9"]


def test_no_rows() -> None:
    schema = {"customer_id": pl.Int64, "order_id": pl.String, "timestamp": pl.Datetime("us"), "product_id": pl.String}
    for basket in ("order", "day"):
        history = Baskets.from_frame(pl.DataFrame(schema=schema), basket=basket)  # type: ignore[arg-type]
        history.check()
        assert (history.n, history.m, history.baskets) == (0, 0, 0)
        before, targets = history.without_last()
        assert before.n == len(targets.customers) == 0
        assert history.take(np.array([], np.int64)).n == 0


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_the_rows_does_not_matter(seed: int) -> None:
    customers, m = odd_shop(seed)
    history = baskets_of(customers, m)
    basket = history.basket_of()
    frame = pl.DataFrame(
        {
            "customer_id": history.owners(),
            "order_id": pl.Series(basket).cast(pl.String).str.zfill(6),
            "timestamp": pl.Series(history.day[basket]).cast(pl.Date),
            "product_id": history.products.gather(history.item),
        }
    )
    found = Baskets.from_frame(frame.sample(fraction=1.0, shuffle=True, seed=seed), products=history.products)
    there = [own for own in customers if own]
    assert customers_of(found) == there
    assert found.customer_ids.to_list() == [c for c, own in enumerate(customers) if own]
    # Baskets of one day become one.
    joined = Baskets.from_frame(frame, basket="day", products=history.products)
    by_day = [{d: sorted({i for when, items in own if when == d for i in items}) for d, _ in own} for own in there]
    assert customers_of(joined) == [list(days.items()) for days in by_day]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("last", "least"), [(1, 1), (1, 0), (2, 1), (3, 2), (3, 0)])
def test_targets_and_what_came_before(seed: int, last: int, least: int) -> None:
    customers, m = odd_shop(seed)
    before, targets = baskets_of(customers, m).without_last(last, least=least)
    before.check()
    assert customers_of(before) == [own[: max(len(own) - last, 0)] for own in customers]
    expected = {c: own[-last] for c, own in enumerate(customers) if len(own) - last >= least}
    assert targets.customers.tolist() == list(expected)
    assert targets.day.tolist() == [when for when, _ in expected.values()]
    found = [targets.item[start:end].tolist() for start, end in zip(targets.start[:-1], targets.start[1:], strict=True)]
    assert found == [items for _, items in expected.values()]


@pytest.mark.parametrize("seed", range(8))
def test_parts_of_a_history(seed: int) -> None:
    customers, m = odd_shop(seed)
    history = baskets_of(customers, m)
    rng = np.random.default_rng(seed)
    # In any order, and one of them twice.
    wanted = rng.integers(0, history.n, 12)
    part = history.take(wanted)
    part.check()
    assert customers_of(part) == [customers[c] for c in wanted.tolist()]
    assert part.customer_ids.to_list() == wanted.tolist()
    for when in (-5, 40, 200, 999):
        cut = history.before(when)
        cut.check()
        assert customers_of(cut) == [[(d, items) for d, items in own if d < when] for own in customers]
        assert cut.customer_ids.equals(history.customer_ids)
    start, item, count = history.counts()
    for c, own in enumerate(customers):
        expected = {i: sum(i in items for _, items in own) for i in sorted({i for _, items in own for i in items})}
        here = slice(start[c], start[c + 1])
        assert dict(zip(item[here].tolist(), count[here].tolist(), strict=True)) == expected
        assert item[here].tolist() == list(expected)


def test_ranges_with_nothing_in_some() -> None:
    assert ranges(np.array([4, 4, 0]), np.array([4, 6, 1])).tolist() == [4, 5, 0]
    assert ranges(np.array([], np.int64), np.array([], np.int64)).tolist() == []


def broken() -> dict[str, dict[str, np.ndarray]]:
    return {
        "a customer too many": {"basket_start": np.array([0, 2, 3, 3])},
        "baskets that end before": {"basket_start": np.array([0, 4, 3])},
        "a basket without an owner": {"basket_start": np.array([0, 2, 2])},
        "a first customer later": {"basket_start": np.array([1, 2, 3])},
        "a basket too few": {"item_start": np.array([0, 2, 4])},
        "purchases that end before": {"item_start": np.array([0, 3, 2, 4])},
        "purchases of nobody": {"item_start": np.array([0, 2, 3, 3])},
        "no such product": {"item": np.array([0, 1, 2, 3], np.int32)},
        "a product below none": {"item": np.array([0, 1, 2, -1], np.int32)},
        "days that fall": {"day": np.array([20, 10, 5], np.int32)},
        "products that fall": {"item": np.array([1, 0, 2, 0], np.int32)},
        "a product twice": {"item": np.array([1, 1, 2, 0], np.int32)},
    }


@pytest.mark.parametrize("case", broken())
def test_arrays_that_do_not_fit_are_refused(case: str) -> None:
    good = baskets_of([[(10, [0, 1]), (20, [2])], [(5, [0])]], 3)
    good.check()
    with pytest.raises(DataError, match="do not fit together"):
        replace(good, **broken()[case]).check()


def test_what_is_asked_for_wrongly() -> None:
    frame = rows((1, "a", day(1), "x"))
    with pytest.raises(SettingError, match="basket"):
        Baskets.from_frame(frame, basket="week")  # type: ignore[arg-type]
    with pytest.raises(ColumnsMissingError, match="order_id"):
        Baskets.from_frame(frame.drop("order_id"))
    assert Baskets.from_frame(frame.drop("order_id"), basket="day").n == 1
    history = Baskets.from_frame(frame)
    for last, least in ((0, 1), (-1, 0), (1, -1)):
        with pytest.raises(SettingError, match="last, least"):
            history.without_last(last, least=least)
