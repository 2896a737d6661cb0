"""The parts that ``cartera recommend`` is made of: kept histories, tables for a spreadsheet, and the notebook's way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import engine
from engine.errors import ColumnsMissingError, DataError, SettingError
from engine.lake import inventory
from engine.lake.ingest import ingest
from engine.lake.recipe import Recipe
from engine.recommend.baskets import Baskets
from engine.recommend.kept_history import kept_history
from engine.schema import Word
from experiments.reader_csv import write_reader_csv
from experiments.recommend_figures import REASONS
from experiments.recommend_tables import HEADINGS, QUICKEST, days_until_next
from tests.experiments.recommend_shop import CUSTOMERS, shop_lake, shop_run


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    shop_lake(folder)
    return folder


def test_a_history_is_built_once_and_anew_when_the_lake_changed(tmp_path: Path) -> None:
    lake = shop_lake(tmp_path)
    first = kept_history(lake)
    made = (first.folder / "manifest.json").stat().st_mtime_ns
    again = kept_history(lake)
    assert (again.folder, (again.folder / "manifest.json").stat().st_mtime_ns) == (first.folder, made)
    folders = {
        kept_history(lake, **choice).folder
        for choice in ({"level": "category"}, {"basket": "day"}, {"window_days": 90})
    }
    assert len(folders | {first.folder}) == 4
    # The inventory knows of each, so that who erases a person finds it.
    assert set(inventory.listed(lake.path)["path"]) == {str(each.resolve()) for each in folders | {first.folder}}
    sales = pl.read_csv(tmp_path / "sales.csv").head(1).with_columns(order_id=pl.lit("new"), customer_id=9_999)
    sales.write_csv(tmp_path / "more.csv")
    ingest(
        Recipe.from_mapping({"name": "shop", "path": str(tmp_path / "more.csv")}),
        lake.path,
        rejects=tmp_path / "rejects.parquet",
    )
    later = kept_history(engine.Lake.open(lake.path))
    assert later.folder != first.folder
    assert (first.n, later.n) == (CUSTOMERS, CUSTOMERS + 1)


def test_a_damaged_history_is_built_anew(tmp_path: Path) -> None:
    lake = shop_lake(tmp_path)
    first = kept_history(lake)
    whole = first.baskets()
    file = next(first.folder.rglob("item.npy"))
    file.write_bytes(file.read_bytes()[:-4])
    mended = kept_history(lake).baskets()
    assert np.array_equal(mended.item, whole.item)
    assert mended.customer_ids.equals(whole.customer_ids)


def test_a_table_for_each_spreadsheet(tmp_path: Path) -> None:
    frame = pl.DataFrame({"año": ["a;b", "c"], "parte": [0.5, float("inf")], "n": [1, None]})
    write_reader_csv(frame, tmp_path / "es.csv", "es")
    write_reader_csv(frame, tmp_path / "en.csv", "en")
    assert (tmp_path / "es.csv").read_text("utf-8-sig") == 'año;parte;n\n"a;b";0,5;1\nc;;\n'
    assert (tmp_path / "es.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert (tmp_path / "en.csv").read_text("utf-8") == "año,parte,n\na;b,0.5,1\nc,,\n"


def test_what_a_spreadsheet_would_run_is_text(tmp_path: Path) -> None:
    write_reader_csv(
        pl.DataFrame({"product": ["=1+1", "@cmd", "tea"], "lift": [-2.5, 1.0, 3.0]}), tmp_path / "t.csv", "en"
    )
    assert (tmp_path / "t.csv").read_text("utf-8") == "product,lift\n'=1+1,-2.5\n'@cmd,1.0\ntea,3.0\n"


def test_words_are_there_in_both_languages() -> None:
    from engine.recommend import reasons

    assert set(REASONS) == set(reasons.REASONS)
    for words in (HEADINGS, REASONS):
        assert all(isinstance(word, Word) and word.en and word.es and word.en != word.es for word in words.values())
        for language in ("en", "es"):
            # Two columns of one table cannot be called alike.
            assert len({word.text(language) for word in words.values()}) == len(words)


def baskets(days: list[list[int]]) -> Baskets:
    rows = [(c, day, "x") for c, own in enumerate(days) for day in own]
    frame = pl.DataFrame(
        rows, schema={"customer_id": pl.Int64, "timestamp": pl.Int32, "product_id": pl.String}, orient="row"
    )
    return Baskets.from_frame(frame.with_columns(pl.col("timestamp").cast(pl.Date)), basket="day")


def test_days_until_the_next_basket() -> None:
    # Ten gaps within customers: nine of 20 days, one of 100; from one customer's last day to another's first is none.
    steady = [list(range(0, 200, 20))]
    assert days_until_next(baskets([*steady, [0, 100]])) == 20
    assert days_until_next(baskets(steady)) == 20
    # A week at least, half of the history at most, a day where there is less.
    assert days_until_next(baskets([[0, 1, 2, 60]] * 3 + [list(range(0, 60))] * 9)) == QUICKEST
    assert days_until_next(baskets([[0, 50]])) == 25
    assert days_until_next(baskets([[3], [4]])) == 1
    assert days_until_next(baskets([])) == QUICKEST


def sales_of(shop: Path) -> pl.DataFrame:
    return pl.read_csv(shop / "sales.csv", try_parse_dates=True).with_columns(
        pl.col("timestamp").cast(pl.Datetime("us"))
    )


def test_a_notebook_gets_what_the_lake_gives(shop: Path) -> None:
    about = pl.read_csv(shop / "products.csv").rename({"code": "product_id"})
    found = engine.recommender(sales_of(shop), products=about, category="category", repurchase={"BREAD": True})
    lake = engine.recommender(engine.Lake.open(shop / "lake"), category="category", repurchase={"BREAD": True})
    offers, same = (one.recommend(None, 3).sort("customer_id", "rank") for one in (found, lake))
    assert offers.drop("score").equals(same.drop("score"))
    assert found.products["name"].str.starts_with("Café").all()
    assert found.products.height == lake.products.height == 24
    assert {"customers", "median_unit_price"} <= set(found.products.columns)


def test_a_notebook_with_tables_of_all_kinds(shop: Path) -> None:
    import pandas as pd

    rows = pl.read_csv(shop / "products.csv").rename({"code": "product_id"}).to_dict(as_series=False)
    given = {"category": "category", "exclude": ["GRILLS"]}
    found, same = (
        engine.recommender(sales_of(shop), products=one(rows), **given) for one in (pl.DataFrame, pd.DataFrame)
    )
    assert found.recommend(None, 3).equals(same.recommend(None, 3))
    assert found.products.filter(found.excluded)["product_id"].sort().to_list() == ["p20", "p21"]
    for key in ("products", "segments"):
        with pytest.raises(SettingError, match=f"{key}: expected .*a Polars or pandas frame; got str"):
            engine.recommender(sales_of(shop), **{key: "file.csv"})
    with pytest.raises(SettingError, match="transactions: expected a Polars or pandas frame"):
        engine.recommender("sales.csv")


def test_a_notebook_with_segments(shop: Path) -> None:
    run = shop_run(shop)
    found = engine.recommender(sales_of(shop), segments=run)
    assert dict(found.segments.select("segment_id", "name_es").iter_rows()) == {
        one.segment_id: one.name.es for one in run.model.segments
    }
    assert (found.segment_of >= 0).all()
    frame = engine.recommender(sales_of(shop), segments=run.assignments)
    assert frame.segments["name_en"].to_list() == frame.segments["segment_id"].to_list()
    assert json.loads(json.dumps(found.facts)) == found.facts


def test_a_notebook_with_bad_input(shop: Path) -> None:
    with pytest.raises(ColumnsMissingError, match="product_id"):
        engine.recommender(sales_of(shop), products=pl.DataFrame({"code": ["p01"]}))
    with pytest.raises(DataError, match="two baskets"):
        engine.recommender(sales_of(shop).unique("customer_id", keep="first"))
