"""Purchase histories from a lake: every row accounted for, every basket as it was, and nobody left after an erasure."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.compute import LocalCompute
from engine.errors import BundleError, DataError, OutputExistsError, SettingError, SourceNotFoundError
from engine.lake.buckets import bucket_of
from engine.lake.frame import FrameSource
from engine.lake.ingest import ingest
from engine.lake.inventory import listed
from engine.lake.recipe import Recipe
from engine.lake.table import Lake
from engine.neighbours.folder import MANIFEST
from engine.recommend import history as module
from engine.recommend.baskets import Baskets
from engine.recommend.history import History, build_history
from tests.reference.purchases_twin import Histories, histories

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
PRODUCTS = pl.DataFrame(
    {
        "code": [f"P{n}" for n in range(9)],
        "name": [f"Product {n}" for n in range(9)],
        # Three of them have no category, and P9 to P11 are in no list.
        "category": ["bread", "milk", None, "bread", " ", "milk", "fish", None, "fish"],
    }
)


def till(seed: int, *, text_ids: bool = False, rows: int = 400, customers: int = 37) -> pl.DataFrame:
    """Return a till log with all that goes wrong: returns, postage, nameless and repeated lines, orders in parts."""
    rng = np.random.default_rng(seed)
    who = rng.integers(1, customers + 1, rows)
    day = rng.integers(0, 60, rows)
    product = [f"P{n}" if n < 12 else None for n in rng.integers(0, 13, rows)]
    product = ["POST" if drawn < 0.05 else name for name, drawn in zip(product, rng.random(rows), strict=True)]
    frame = pl.DataFrame(
        {
            "customer_id": [f"c{n}" for n in who] if text_ids else who,
            # Some orders go on after another one, and some numbers are used by several customers.
            "order_id": [f"o{n}" for n in rng.integers(0, 3, rows) + 3 * (day // 2)],
            "timestamp": [
                FIRST + timedelta(days=int(d), hours=int(h))
                for d, h in zip(day, rng.integers(9, 12, rows), strict=True)
            ],
            "product_id": product,
            "quantity": rng.choice([-1, 0, 1, 2, 3], rows, p=[0.05, 0.02, 0.6, 0.2, 0.13]),
            "amount": [Decimal(int(cents)) / 100 for cents in rng.integers(0, 900, rows)],
            "aisle": [None if n == 0 else f"aisle {n}" for n in rng.integers(0, 5, rows)],
        }
    )
    return pl.concat([frame, frame.head(20)])


def recipe(folder: Path, path: Path | None = None) -> Recipe:
    PRODUCTS.write_parquet(folder / "products.parquet")
    names = ["customer_id", "order_id", "timestamp", "product_id", "quantity", "amount", "aisle"]
    return Recipe.from_mapping(
        {
            "name": "till",
            "path": str(path or "frame"),
            "columns": {name: name for name in names},
            "products": {"path": str(folder / "products.parquet"), "key": "code", "columns": ["name", "category"]},
            "rules": {"non_products": ["POST"], "by_volume_where": "category = 'fish'"},
        }
    )


def lake_of(folder: Path, *frames: pl.DataFrame, buckets: int = 8, name: str = "lake") -> Lake:
    for number, frame in enumerate(frames):
        path = folder / f"{name}-{number}.parquet"
        frame.write_parquet(path)
        ingest(recipe(folder, path), folder / name, rejects=folder / "rejects.parquet", buckets=buckets)
    return Lake.open(folder / name)


def all_rows(source: Lake | FrameSource) -> pl.DataFrame:
    return pl.concat([source.bucket(number) for number in range(source.buckets)])


def shown(baskets: Baskets) -> dict[Any, list[tuple[date, list[str]]]]:
    """Return what each customer bought, in words."""
    named = baskets.products.to_list()
    days = [date(1970, 1, 1) + timedelta(days=int(day)) for day in baskets.day]
    owner = np.repeat(np.arange(baskets.n), np.diff(baskets.basket_start))
    customers: dict[Any, list[tuple[date, list[str]]]] = {each: [] for each in baskets.customer_ids.to_list()}
    flat = [own for each in baskets.each() for own in each]
    for who, day, items in zip(owner, days, flat, strict=True):
        customers[baskets.customer_ids[int(who)]].append((day, sorted(named[item] for item in items)))
    return customers


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def agree(history: History, twin: Histories, source: Lake | FrameSource) -> None:
    assert shown(history.baskets()) == twin.baskets
    assert history.products.select("product_id", "customers", "median_unit_price").rows() == twin.products
    counted = history.rows
    assert {reason: rows for reason, rows in counted["left_out"].items() if rows} == twin.left_out
    assert counted["purchases"] == twin.purchases
    assert counted["lake"] == source.rows == counted["purchases"] + sum(counted["left_out"].values())


@pytest.mark.parametrize("basket", ["order", "day"])
@pytest.mark.parametrize("seed", range(4))
def test_the_history_of_a_frame_is_what_its_rows_say(tmp_path: Path, seed: int, basket: Any) -> None:
    source = FrameSource.from_frame(till(seed, text_ids=seed % 2 == 1), recipe(tmp_path))
    as_of = FIRST + timedelta(days=45)
    history = build_history(source, tmp_path / "history", as_of=as_of, window_days=30, basket=basket)
    rows = all_rows(source).to_dicts()
    twin = histories(rows, as_of=as_of, start=FIRST + timedelta(days=15), basket=basket)
    # The draw has rows of every kind.
    assert set(twin.left_out) == {"on_or_after_as_of", "before_window", "returns", "non_products", "no_product"}
    agree(history, twin, source)
    assert history.as_of == as_of
    assert listed(tmp_path).is_empty()


@pytest.mark.parametrize(("seed", "text_ids"), [(10, False), (11, True)])
def test_the_history_of_a_lake_is_that_of_its_frame(tmp_path: Path, seed: int, text_ids: bool) -> None:
    frame = till(seed, text_ids=text_ids)
    source = FrameSource.from_frame(frame, recipe(tmp_path))
    lake = lake_of(tmp_path, frame)
    whole = build_history(source, tmp_path / "whole")
    parts = build_history(lake, tmp_path / "parts", compute=LocalCompute(1))
    assert whole.as_of == parts.as_of == FIRST + timedelta(days=60)
    assert shown(whole.baskets()) == shown(parts.baskets())
    assert whole.products.equals(parts.products)
    assert whole.rows == parts.rows
    # By bucket, then by id.
    ids = parts.baskets().customer_ids
    assert ids.dtype == (pl.String if text_ids else pl.Int64)
    placed = ids.to_frame("id").with_columns(bucket_of("id", lake.buckets))
    assert placed.equals(placed.sort("bucket", "id"))
    # The obvious way to the same arrays.
    rows = all_rows(lake).filter((pl.col("kind") == "sale") & pl.col("is_product"))
    twin = Baskets.from_frame(rows)
    order = twin.customer_ids.to_frame("id").with_row_index().join(placed.with_row_index("at"), on="id").sort("at")
    got, expected = parts.baskets(), twin.take(order["index"].to_numpy().astype(np.int64))
    for name in ("basket_start", "day", "item_start", "item"):
        assert np.array_equal(getattr(got, name), getattr(expected, name)), name
        assert getattr(got, name).dtype == getattr(expected, name).dtype
    assert got.products.equals(expected.products)


def test_threads_and_ingests_change_no_byte(tmp_path: Path) -> None:
    frame = till(20)
    once = lake_of(tmp_path, frame, name="once")
    again = lake_of(
        tmp_path, frame.filter(pl.col("quantity") == 1), frame.filter(pl.col("quantity") != 1), name="again"
    )
    first = content(build_history(once, tmp_path / "a", compute=LocalCompute(1)).folder)
    second = content(build_history(once, tmp_path / "b", compute=LocalCompute(4)).folder)
    third = content(build_history(again, tmp_path / "c").folder)
    assert first == second
    # The manifest says another version of the lake.
    assert first.pop(MANIFEST) != third.pop(MANIFEST)
    assert first == third


@pytest.mark.parametrize("column", ["category", "aisle"])
def test_products_at_a_level(tmp_path: Path, column: str) -> None:
    source = FrameSource.from_frame(till(30), recipe(tmp_path))
    rows = all_rows(source).to_dicts()
    if column == "category":
        level = {code: (name or "").strip() or None for code, _, name in PRODUCTS.rows()}
        twin = histories(rows, as_of=FIRST + timedelta(days=60), level=level)
    else:
        # A value on the row itself names what was bought, with a product id or without.
        named = [{**row, "product_id": row["aisle"] or row["product_id"]} for row in rows]
        level = {row["aisle"]: row["aisle"] for row in rows}
        twin = histories(named, as_of=FIRST + timedelta(days=60), level=level)
    assert twin.left_out["no_level"] > 0
    history = build_history(source, tmp_path / "history", level=column)
    agree(history, twin, source)
    assert history.products.columns == ["product_id", "customers", "median_unit_price"]
    assert history.level == column


def test_products_carry_what_the_lake_knows_of_them(tmp_path: Path) -> None:
    products = build_history(FrameSource.from_frame(till(31), recipe(tmp_path)), tmp_path / "history").products
    assert products.columns == ["product_id", "name", "category", "customers", "median_unit_price"]
    names = dict(products.select("product_id", "name").rows())
    assert names["P3"] == "Product 3"
    assert names["P11"] is None
    assert products.schema["median_unit_price"] == pl.Decimal(18, 4)


def test_a_case_by_hand(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "customer_id": [1, 1, 1, 1, 1, 2, 2],
            "order_id": ["a", "b", "a", "a", "z", "a", "a"],
            # Order a goes on after b, on the next day; z is of the date itself.
            "timestamp": [
                "2024-03-01 10:00",
                "2024-03-01 11:00",
                "2024-03-02 09:00",
                "2024-03-02 09:00",
                "2024-03-05 00:00",
            ]
            + ["2024-03-04 23:59"] * 2,
            "product_id": ["x", "y", "y", "y", "x", "x", "w"],
            "quantity": [3, 1, 2, 4, 1, 1, 0],
            "amount": ["10.00", "2.50", "4.00", "9.00", "1.00", "3.00", "1.00"],
        }
    )
    history = build_history(FrameSource.from_frame(frame), tmp_path / "history", as_of=date(2024, 3, 5))
    assert history.products.rows() == [
        # 3.00 and 10.00 / 3: the lower of two.
        ("x", 2, Decimal("3.0000")),
        # No quantity, no price.
        ("w", 1, None),
        # 2.00, 2.25 and 2.50.
        ("y", 1, Decimal("2.2500")),
    ]
    assert list(history.baskets().each()) == [[[0, 2], [2]], [[0, 1]]]
    assert history.baskets().day.tolist() == [19783, 19783, 19786]
    assert history.rows["left_out"]["on_or_after_as_of"] == 1


def test_customers_without_a_purchase_are_not_there(tmp_path: Path) -> None:
    frame = till(40, customers=400, rows=120)
    lake = lake_of(tmp_path, frame, buckets=64)
    history = build_history(lake, tmp_path / "history", as_of="2024-01-10")
    early = frame.filter((pl.col("timestamp") < datetime(2024, 1, 10, tzinfo=UTC)) & (pl.col("quantity") >= 0))
    early = early.filter(pl.col("product_id").is_not_null() & (pl.col("product_id") != "POST"))
    assert history.n == early["customer_id"].n_unique() < frame["customer_id"].n_unique()
    # Most buckets are empty now.
    empty = next(number for number in range(64) if not history.bucket(number).n)
    assert history.bucket(empty).customer_ids.dtype == pl.Int64
    assert sum(history.bucket(number).baskets for number in range(64)) == history.baskets().baskets
    late = next(each for each in frame["customer_id"] if each not in set(early["customer_id"]))
    assert history.find(late) is None


def test_a_customer_is_found_by_id(tmp_path: Path) -> None:
    for text_ids in (False, True):
        history = build_history(lake_of(tmp_path, till(50, text_ids=text_ids), name=f"lake{text_ids}"), tmp_path / "h")
        everybody = shown(history.baskets())
        for each in everybody:
            bucket, row = history.find(each) or (-1, -1)
            assert history.bucket(bucket).customer_ids[row] == each
        asked = [*reversed(everybody), *everybody]
        assert shown(history.of(asked)) == everybody
        assert history.of(asked).customer_ids.to_list() == list(reversed(everybody))
        unknown = "c999" if text_ids else 999
        few = history.of([unknown, asked[0]])
        assert shown(few) == {unknown: [], asked[0]: everybody[asked[0]]}
        assert few.customer_ids.dtype == history.baskets().customer_ids.dtype
        few.check()
        assert history.of([]).n == 0


def test_ids_may_be_numbers_or_their_digits(tmp_path: Path) -> None:
    history = build_history(lake_of(tmp_path, till(51)), tmp_path / "history")
    assert history.find("7") == history.find(7) == history.find(np.int64(7)) is not None
    assert history.find("007") is history.find("seven") is history.find(2**70) is None
    with pytest.raises(DataError, match="whole numbers; 1 of 2 given are not"):
        history.of([7, "seven"])
    for wrong in ("77", 7, [True], [7.0], [None]):
        with pytest.raises(DataError, match="customer_ids: expected"):
            history.of(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [60, 61])
def test_erased_customers_are_gone_and_others_are_untouched(tmp_path: Path, seed: int) -> None:
    lake = lake_of(tmp_path, till(seed, text_ids=seed == 61))
    history = build_history(lake, tmp_path / "history")
    everybody = shown(history.baskets())
    before = content(history.folder)
    leaving = list(everybody)[3:6]
    assert history.erase([*leaving, leaving[0], "nobody", 10**9]) == 3
    for opened in (history, History.open(history.folder)):
        assert shown(opened.baskets()) == {who: own for who, own in everybody.items() if who not in leaving}
        assert opened.n == len(everybody) - 3
        assert all(opened.find(who) is None for who in leaving)
        assert all(opened.find(who) for who in everybody if who not in leaving)
    assert history.products.equals(History.open(history.folder).products)
    # Only the buckets of the three are other files.
    after = content(history.folder)
    touched = {
        f"bucket-{number:05d}" for number in pl.DataFrame({"id": leaving}).select(bucket_of("id", 8)).to_series()
    }
    assert {path.split("/")[0] for path in after if after[path] != before[path]} == {*touched, MANIFEST}
    assert history.erase(leaving) == 0
    assert content(history.folder) == after
    assert [path.name for path in tmp_path.glob(".*")] == []
    # The last customer of all.
    assert history.erase(list(everybody)) == len(everybody) - 3
    assert (history.baskets().n, history.baskets().m) == (0, history.m)
    assert history.of(leaving).baskets == 0


def test_erasing_side_by_side_forgets_nobody(tmp_path: Path) -> None:
    history = build_history(lake_of(tmp_path, till(62)), tmp_path / "history")
    everybody = history.baskets().customer_ids.to_list()
    opened = [History.open(history.folder) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        gone = list(pool.map(lambda number: opened[number].erase(everybody[number::5]), range(4)))
    assert gone == [len(everybody[number::5]) for number in range(4)]
    assert sorted(History.open(history.folder).baskets().customer_ids) == sorted(everybody[4::5])


def test_an_erasure_that_fails_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = build_history(lake_of(tmp_path, till(63)), tmp_path / "history")
    before = content(history.folder)

    def fails(*_args: Any, **_kwargs: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(module, "write_manifest", fails)
    with pytest.raises(OSError, match="disk full"):
        history.erase([1, 2, 3])
    assert content(history.folder) == before
    assert history.find(1) is not None
    with pytest.raises(OSError, match="disk full"):
        build_history(Lake.open(tmp_path / "lake"), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_history_stands_in_the_inventory(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, till(70))
    build_history(lake, tmp_path / "lake" / "history", as_of="2024-02-01")
    build_history(lake, tmp_path / "other")
    build_history(lake, tmp_path / "other", level="category")
    assert listed(lake.path).rows() == [
        ("history", str(tmp_path / "lake" / "history"), datetime(2024, 2, 1, tzinfo=UTC), lake.version),
        ("history", str(tmp_path / "other"), datetime(2024, 3, 1, tzinfo=UTC), lake.version),
    ]


def test_progress_counts_both_reads(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    build_history(lake_of(tmp_path, till(71)), tmp_path / "h", progress=lambda done, parts: seen.append((done, parts)))
    assert seen == [(done, 16) for done in range(1, 17)]


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        (
            {"level": "categori"},
            SettingError,
            "level: expected one of product_id, name, category, aisle.*did you mean 'cat",
        ),
        ({"level": "amount"}, SettingError, "level: expected one of"),
        ({"basket": "week"}, SettingError, "basket: expected one of order, day"),
        ({"window_days": 0}, SettingError, "window_days: expected a whole number of days from 1"),
        ({"window_days": True}, SettingError, "window_days"),
        ({"as_of": "yesterday"}, SettingError, "as_of: expected a date"),
        ({"as_of": "2020-01-01"}, DataError, r"no purchase of a product before that date \(on_or_after_as_of 420\)"),
    ],
)
def test_what_cannot_be_built(tmp_path: Path, settings: dict[str, Any], error: type[Exception], says: str) -> None:
    source = FrameSource.from_frame(till(80), recipe(tmp_path))
    with pytest.raises(error, match=says):
        build_history(source, tmp_path / "history", **settings)
    assert not (tmp_path / "history").exists()


def test_a_level_without_any_value(tmp_path: Path) -> None:
    frame = till(81).with_columns(pl.lit(None, pl.String).alias("aisle"))
    with pytest.raises(DataError, match="level=aisle: no purchase has a value there"):
        build_history(FrameSource.from_frame(frame, recipe(tmp_path)), tmp_path / "history", level="aisle")


def test_another_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OutputExistsError, match="something else is there"):
        build_history(FrameSource.from_frame(till(82)), tmp_path / "mine")
    with pytest.raises(SourceNotFoundError, match="history="):
        History.open(tmp_path / "mine")


@pytest.mark.parametrize("file", ["products.parquet", MANIFEST, "customers.parquet", "item.npy", "basket_start.npy"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_history_is_said_to_be_one(tmp_path: Path, file: str, damage: str) -> None:
    history = build_history(FrameSource.from_frame(till(83)), tmp_path / "history")
    path = next(history.folder.rglob(file))
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    expected = SourceNotFoundError if (file, damage) == (MANIFEST, "gone") else BundleError
    with pytest.raises(expected, match="history="):
        History.open(history.folder)


def test_files_that_do_not_fit_together_are_found_behind_a_right_checksum(tmp_path: Path) -> None:
    history = build_history(FrameSource.from_frame(till(84)), tmp_path / "history")
    good = history.bucket(0)
    for name, array in (("item", good.item + history.m), ("day", good.day[1:]), ("item_start", good.item_start[::-1])):
        file = next(history.folder.rglob(f"{name}.npy"))
        kept = file.read_bytes()
        np.save(file, array)
        with pytest.raises(BundleError, match="Build it anew from the lake"):
            history.bucket(0)
        file.write_bytes(kept)
    assert shown(history.bucket(0)) == shown(good)
    with pytest.raises(DataError, match="this history has the buckets 0 to 0"):
        history.bucket(1)


def test_a_history_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERSION", 2)
    with pytest.raises(BundleError, match="of version 2, but this release reads version 1"):
        build_history(FrameSource.from_frame(till(85)), tmp_path / "history")
    manifest = json.loads((tmp_path / "history" / MANIFEST).read_bytes())
    # Nobody is named where everybody may look.
    assert "customer_id" in manifest["body"]
    assert not any("c1" in str(value) for value in manifest["body"].values())
