from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import engine
from engine.errors import ColumnsMissingError, DataError, SettingError
from engine.features.matrix import feature_set
from engine.segmentation import parse_k


def make_sales(seed: int = 0, customers: int = 80) -> pl.DataFrame:
    """Return sales of frequent and of rare customers, and a few returns."""
    draw = random.Random(seed)
    rows = []
    for customer in range(1, customers + 1):
        often = customer % 2 == 0
        for order in range(draw.randint(10, 20) if often else draw.randint(1, 3)):
            when = datetime(2024, 1, 1) + timedelta(days=draw.randint(0, 180), minutes=draw.randint(0, 1000))
            rows.append(
                {
                    "customer_id": customer,
                    "order_id": f"{customer}-{order}",
                    "timestamp": when,
                    "quantity": draw.randint(1, 5),
                    "unit_price": round(draw.uniform(20, 60) if often else draw.uniform(1, 9), 2),
                }
            )
    rows.append({**rows[0], "quantity": -1, "order_id": "back"})
    return pl.DataFrame(rows)


@pytest.fixture(scope="module")
def segmentation() -> engine.Segmentation:
    return engine.segment(make_sales(), k=2)


def test_a_notebook_shows_a_line_and_a_table(segmentation: engine.Segmentation) -> None:
    assert repr(segmentation) == "<Segmentation: 80 customers in 2 segments>"
    assert "<table" in segmentation._repr_html_()
    assert repr(segmentation.model) == "<SegmentModel: 2 segments on recency_days, frequency, monetary>"


def test_a_number_of_segments_outside_the_limits_is_said() -> None:
    s = engine.segment(make_sales(), k=2, min_segments=3, max_segments=4)
    assert s.model.k == 2
    assert any("3" in warning.en and "4" in warning.en for warning in s.warnings)
    with pytest.raises(SettingError, match=r"segments\.min=5 is above segments\.max=4"):
        engine.segment(make_sales(), k=2, min_segments=5, max_segments=4)


def test_a_lonely_date_is_said(segmentation: engine.Segmentation) -> None:
    sales = make_sales()
    slip = sales.with_columns(
        timestamp=pl.when(pl.int_range(pl.len()) == 5).then(datetime(2091, 3, 5)).otherwise("timestamp")
    )
    assert not segmentation.customers.warnings()
    (warning,) = engine.segment(slip, k=2).customers.warnings()
    assert "2091-03-05" in warning.en
    assert "2091-03-05" in warning.es
    (short,) = engine.segment(sales, k=2, window_days=3652).customers.warnings()
    assert "3652" in short.en


def test_public_names() -> None:
    assert engine.__all__ == sorted(engine.__all__)
    assert all(getattr(engine, name) is not None for name in engine.__all__)
    with pytest.raises(AttributeError, match="no attribute 'segmnt'"):
        engine.segmnt  # noqa: B018


def test_customers_and_money_are_all_there(segmentation: engine.Segmentation) -> None:
    s = segmentation
    sales = make_sales().filter(pl.col("quantity") > 0)
    assert s.assignments["customer_id"].to_list() == list(range(1, 81))
    assert s.summary["customers"] == s.assignments.height == s.profile["customers"].sum() == 80
    amount = (sales["quantity"] * (sales["unit_price"] * 100).round().cast(pl.Int64)).sum()
    assert s.customers.monetary_total * 100 == amount
    billed = (s.profile["customers"] * s.profile["monetary_mean"]).sum()
    assert billed == pytest.approx(amount / 100, rel=1e-12)
    assert s.profile["share_customers"].sum() == pytest.approx(1, abs=1e-12)
    assert s.profile["share_monetary"].sum() == pytest.approx(1, abs=1e-12)


def test_the_known_groups_are_found(segmentation: engine.Segmentation) -> None:
    best = segmentation.profile.row(0, named=True)
    members = segmentation.assignments.filter(pl.col("segment_id") == best["segment_id"])["customer_id"]
    assert set(members) == set(range(2, 81, 2))


def test_inertia_is_that_of_the_assignments(segmentation: engine.Segmentation) -> None:
    squares = (segmentation.assignments["distance"] ** 2).sum()
    assert squares == pytest.approx(segmentation.trial.inertia, rel=1e-6)


def test_classify_agrees_with_the_assignment(segmentation: engine.Segmentation) -> None:
    assigned = dict(segmentation.assignments.select("customer_id", "segment_id").iter_rows())
    for row in segmentation.customers.frame.to_dicts():
        values = {name: row[name] for name in segmentation.model.spec.names}
        assert segmentation.classify(values).segment_id == assigned[row["customer_id"]]


def test_saved_and_loaded(segmentation: engine.Segmentation, tmp_path: Path) -> None:
    model = engine.load(segmentation.save(tmp_path / "model"))
    assert model.assign(segmentation.customers.frame).equals(segmentation.assignments)


@pytest.mark.parametrize("language", ["en", "es"])
def test_report_in_both_languages(segmentation: engine.Segmentation, tmp_path: Path, language: str) -> None:
    text = segmentation.report(tmp_path / "deep" / "r.html", language=language, name="My shop").read_text("utf-8")
    assert f'lang="{language}"' in text
    assert "My shop" in text
    for segment in segmentation.model.segments:
        assert segment.name.text(language) in text


def test_no_customer_is_named_in_report_or_bundle(tmp_path: Path) -> None:
    sales = make_sales().with_columns(customer_id=pl.format("PERSON-{}", "customer_id"))
    s = engine.segment(sales, k=2)
    s.save(tmp_path / "bundle")
    s.report(tmp_path / "report.html")
    assert s.assignments["customer_id"].str.starts_with("PERSON-").all()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"PERSON-" not in path.read_bytes()


def test_pandas_and_own_column_names_give_the_same(segmentation: engine.Segmentation) -> None:
    sales = make_sales()
    renamed = sales.rename({"customer_id": "CustomerID", "timestamp": "InvoiceDate"})
    columns = {"customer_id": "CustomerID", "timestamp": "InvoiceDate"}
    assert engine.segment(renamed, columns=columns, k=2).assignments.equals(segmentation.assignments)
    import pandas as pd

    frame = pd.DataFrame({name: sales[name].to_numpy() for name in sales.columns})
    assert engine.segment(frame, k=2).assignments.equals(segmentation.assignments)
    assert engine.segment(sales.lazy(), k=2).assignments.equals(segmentation.assignments)


def test_auto_tries_several_and_says_why() -> None:
    s = engine.segment(make_sales(), k="auto", min_segments=2, max_segments=5)
    assert [trial.k for trial in s.trials] == list(range(2, 11))
    assert 2 <= s.model.k <= 5
    assert str(s.model.k) in s.verdict.reason.en
    assert str(s.model.k) in s.verdict.reason.es


def test_window_and_where_and_features(segmentation: engine.Segmentation) -> None:
    s = engine.segment(
        make_sales(),
        as_of="2024-06-01",
        window_days=90,
        where="monetary > 5",
        features=feature_set(["frequency", "units"], scale="robust", transform="none"),
        k=2,
        backend="sklearn",
    )
    assert s.summary["window_days"] == 90
    assert s.summary["as_of"] == "2024-06-01"
    assert s.model.window_days == s.classify({"frequency": 3, "units": 8}).window_days == 90
    assert s.customers.frame["monetary"].min() > 5
    assert s.summary["backend"] == "sklearn"


def test_the_callers_frame_is_left_alone() -> None:
    sales = make_sales()
    before = sales.clone()
    engine.segment(sales, k=2)
    assert sales.equals(before)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"k": 0}, SettingError, "clustering.k"),
        ({"k": True}, SettingError, "clustering.k"),
        ({"k": 2.5}, (SettingError, TypeError), "clustering.k"),
        ({"k": "5..3"}, SettingError, "clustering.k"),
        ({"k": 1000}, DataError, "1000|80"),
        ({"features": "rmf"}, SettingError, "features"),
        ({"backend": "kmeanz"}, SettingError, "clustering.backend"),
        ({"language": "pt"}, SettingError, "language"),
        ({"rules": "nothing"}, Exception, "nothing"),
        ({"columns": {"amount": "Total"}}, ColumnsMissingError, "Total"),
    ],
)
def test_mistakes_say_what_was_expected(change: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        engine.segment(make_sales(), **{"k": 2, **change})


def test_something_that_is_no_frame() -> None:
    with pytest.raises(SettingError, match="expected a Polars or pandas frame"):
        engine.segment("sales.csv")


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (3, [3]),
        ("3", [3]),
        ("2..4", [2, 3, 4]),
        (range(2, 5), [2, 3, 4]),
        ([5, 3], [3, 5]),
        (np.int64(3), [3]),
    ],
)
def test_k_may_be_written_in_several_ways(k: object, expected: list[int]) -> None:
    assert parse_k(k) == expected


def test_the_same_seed_and_any_threads_give_the_same_segments() -> None:
    one, two = (engine.segment(make_sales(3), k=3, seed=7, threads=threads) for threads in (1, 2))
    assert one.assignments.equals(two.assignments)
    assert one.profile.equals(two.profile)
