from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.errors import BundleError, DataError, SettingError
from engine.neighbours.folder import write_manifest
from engine.recommend import recommender_folder
from engine.recommend.baskets import Baskets
from engine.recommend.recommender import CustomerRecommender
from engine.recommend.synthetic import habits

AS_OF = datetime(1971, 1, 1, tzinfo=UTC)
HISTORY = habits(customers=200, products=40, seed=3)


@pytest.fixture(scope="module")
def recommender() -> CustomerRecommender:
    ids = HISTORY.customer_ids
    assignments = pl.DataFrame({"customer_id": ids, "segment_id": [f"seg-{i % 3}" for i in range(len(ids))]})
    products = pl.DataFrame({"product_id": HISTORY.products, "name": [" " if i == 0 else f"n{i}" for i in range(40)]})
    return CustomerRecommender.fit(HISTORY, as_of=AS_OF, assignments=assignments, products=products)


@pytest.fixture
def folder(recommender: CustomerRecommender, tmp_path: Path) -> Path:
    recommender.save(tmp_path / "recommender")
    return tmp_path / "recommender"


def test_what_is_opened_answers_as_what_was_saved(recommender: CustomerRecommender, folder: Path) -> None:
    opened = CustomerRecommender.open(folder)
    assert opened.recommend(k=7).equals(recommender.recommend(k=7))
    assert opened.for_basket(["p0003"], segment_id="seg-1") == recommender.for_basket(["p0003"], segment_id="seg-1")


def test_many_and_one_say_the_same(recommender: CustomerRecommender) -> None:
    for language in ("en", "es"):
        rows = recommender.recommend(k=5, language=language).to_dicts()
        ids = HISTORY.customer_ids.to_list()
        alone = [
            {"customer_id": customer, **offer}
            for customer in ids
            for offer in recommender.for_customer(customer, k=5, language=language)
        ]
        assert alone == rows


def test_a_product_without_a_name_is_called_by_its_id(recommender: CustomerRecommender) -> None:
    assert recommender.products["name"].head(2).to_list() == [HISTORY.products[0], "n1"]


def test_what_is_no_id_is_nobody(recommender: CustomerRecommender) -> None:
    known = HISTORY.customer_ids[0]
    assert recommender.rows_of([float(known), known + 0.5]).tolist() == [0, -1]
    assert recommender.rows_of([True]).tolist() == [-1]
    assert recommender.row_of(np.int64(known)) == 0
    assert recommender.row_of(True) is recommender.row_of(10**30) is recommender.row_of(object()) is None
    with pytest.raises(DataError, match="1 of 2 customers are not known here, such as 1000000000: they bought nothing"):
        recommender.recommend([known, 10**9])
    with pytest.raises(DataError, match="customer_id: 1000000000 is not known here"):
        recommender.for_customer(10**9)


@pytest.mark.parametrize("text", [False, True])
def test_one_id_is_read_as_many_are(recommender: CustomerRecommender, text: bool) -> None:
    if text:
        ids = HISTORY.customer_ids.cast(pl.String)
        history = Baskets(ids, *(getattr(HISTORY, name) for name in HISTORY.__slots__[1:]))
        recommender = CustomerRecommender.fit(history, as_of=AS_OF)
    known = int(HISTORY.customer_ids[5])
    odd = [known, str(known), f"0{known}", float(known), known + 0.5, np.int32(known), np.str_(known), None, "x", ""]
    for one in odd:
        row = int(recommender.rows_of([one])[0])
        assert recommender.row_of(one) == (None if row < 0 else row), one
    assert recommender.row_of(str(known)) == recommender.row_of(known) == 5
    assert recommender.for_customer(str(known), k=3) == recommender.for_customer(known, k=3)


def test_text_ids_that_are_odd() -> None:
    text = pl.DataFrame({"customer_id": HISTORY.customer_ids, "text": HISTORY.customer_ids.cast(pl.String)})
    history = type(HISTORY)(text["text"], *(getattr(HISTORY, name) for name in HISTORY.__slots__[1:]))
    recommender = CustomerRecommender.fit(history, as_of=AS_OF)
    assert recommender.row_of("7") == HISTORY.customer_ids.index_of(7)
    assert recommender.row_of(7) == recommender.row_of("7")
    assert [recommender.row_of(odd) for odd in ("07", "7\0", "\ud800", None)] == [None] * 4


def test_nothing_after_as_of_is_taken() -> None:
    with pytest.raises(DataError, match="expected no purchase after it"):
        CustomerRecommender.fit(HISTORY, as_of=datetime(1970, 3, 1, tzinfo=UTC))
    # Without a zone it is UTC, wherever the machine stands.
    assert CustomerRecommender.fit(HISTORY, as_of=datetime(1971, 1, 1)).as_of == AS_OF


def test_assignments_that_do_not_fit() -> None:
    twice = pl.DataFrame({"customer_id": ["7", "7"], "segment_id": ["a", "b"]})
    with pytest.raises(DataError, match="each customer once"):
        CustomerRecommender.fit(HISTORY, as_of=AS_OF, assignments=twice)
    # Nobody is called 07.
    known = CustomerRecommender.fit(
        HISTORY, as_of=AS_OF, assignments=pl.DataFrame({"customer_id": ["7", "07"], "segment_id": ["a", "b"]})
    )
    assert known.segments["segment_id"].to_list() == ["a"]
    assert np.bincount(known.segment_of + 1).tolist() == [HISTORY.n - 1, 1]
    names = pl.DataFrame({"segment_id": ["a", "a"], "name_en": ["A", "B"], "name_es": ["A", "B"]})
    with pytest.raises(DataError, match="each segment once"):
        CustomerRecommender.fit(HISTORY, as_of=AS_OF, assignments=twice.head(1), segments=names)
    with pytest.raises(DataError, match="none of its customers"):
        CustomerRecommender.fit(
            HISTORY, as_of=AS_OF, assignments=pl.DataFrame({"customer_id": ["zz"], "segment_id": ["a"]})
        )


def test_what_is_known_of_a_category_holds() -> None:
    kinds = ["grill" if i < 20 else "food" for i in range(40)]
    products = pl.DataFrame({"product_id": HISTORY.products, "kind": kinds})
    once = CustomerRecommender.fit(
        HISTORY, as_of=AS_OF, products=products, category="kind", repurchase={"grill": False, "food": True}
    )
    owned = {(c, p) for c, own in enumerate(HISTORY.each()) for basket in own for p in basket}
    rows = once.recommend(k=20)
    codes = {product: code for code, product in enumerate(HISTORY.products)}
    places = {customer: row for row, customer in enumerate(HISTORY.customer_ids)}
    told = rows.select("customer_id", "product_id").rows()
    pairs = [(places[customer], codes[product]) for customer, product in told]
    assert len(set(pairs)) == len(pairs)
    assert not [pair for pair in pairs if pair[1] < 20 and pair in owned]
    assert [pair for pair in pairs if pair[1] >= 20 and pair in owned]
    with pytest.raises(SettingError, match="no product has kind='car'"):
        CustomerRecommender.fit(HISTORY, as_of=AS_OF, products=products, category="kind", repurchase={"car": True})


@pytest.mark.parametrize("k", [0, -1, True, 1.5, 10**6])
def test_odd_numbers_of_products(recommender: CustomerRecommender, k: int) -> None:
    with pytest.raises(SettingError, match="k: expected 1 to"):
        recommender.recommend(k=k)


def test_a_basket_and_what_is_not_known(recommender: CustomerRecommender) -> None:
    offers = recommender.for_basket(["p0001", "p0001", "no such thing"], k=40)
    assert "p0001" not in {offer["product_id"] for offer in offers}
    assert [offer["rank"] for offer in offers] == list(range(1, len(offers) + 1))
    with pytest.raises(DataError, match="none of the 1 products is known"):
        recommender.for_basket(["no such thing"])
    with pytest.raises(DataError, match="expected one of seg-0, seg-1, seg-2"):
        recommender.for_basket([], segment_id="seg-9")


def rewritten(folder: Path, name: str, array: np.ndarray) -> None:
    """Change an array so that its checksum is right."""
    np.save(folder / f"{name}.npy", array)
    body = json.loads((folder / "manifest.json").read_text("utf-8"))["body"]
    (folder / "manifest.json").unlink()
    write_manifest(folder, format=recommender_folder.FORMAT, version=recommender_folder.VERSION, body=body)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("item", lambda a: np.where(np.arange(len(a)) == 9, 4_000, a).astype(np.int32)),
        ("day", lambda a: a[:-3]),
        ("item_start", lambda a: a + 1),
        ("segment_of", lambda a: a[:-1]),
        pytest.param("segment_of", lambda a: a + 7, id="segment_of-too-high"),
        ("along_item", lambda a: a + 40),
        ("following_start", lambda a: a[::-1].copy()),
        ("people_post_row", lambda a: a - 1),
        ("people_share", lambda a: a[:-1]),
        ("groups_lift", lambda a: a[:-1]),
        ("once", lambda a: a[:-1]),
        ("excluded", lambda a: a[:-1]),
        pytest.param("excluded", lambda a: a.astype(np.int8), id="excluded-numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_before_a_kernel_reads_them(folder: Path, name: str, change: object) -> None:
    rewritten(folder, name, change(np.load(folder / f"{name}.npy")))  # type: ignore[operator]
    with pytest.raises(BundleError, match="cannot be read"):
        CustomerRecommender.open(folder)


def test_a_stray_file_is_no_matter_and_a_missing_one_is(folder: Path) -> None:
    (folder / "zz.npy").write_bytes(b"nothing")
    CustomerRecommender.open(folder)
    (folder / "item.npy").unlink()
    with pytest.raises(BundleError, match=r"item\.npy is missing"):
        CustomerRecommender.open(folder)


def test_a_habit_that_was_let_go_is_told_as_what_was_bought_before(recommender: CustomerRecommender) -> None:
    rows = recommender.recommend(k=20).filter(pl.col("times_bought") >= 3)
    waited = pl.col("days_since_bought") / pl.col("interval_days")
    assert rows.filter(pl.col("reason") == "habit").select((waited <= 3.001).all()).item()
    assert rows.filter(pl.col("reason") == "owned").select((waited > 2.999).all()).item()
    assert set(rows["reason"]) == {"habit", "owned"}


@pytest.mark.parametrize("only", ["new", "bought"])
def test_only_new_and_only_bought(recommender: CustomerRecommender, folder: Path, only: str) -> None:
    owned = {
        (customer, HISTORY.products[product])
        for customer, own in zip(HISTORY.customer_ids.to_list(), HISTORY.each(), strict=True)
        for basket in own
        for product in basket
    }
    whole = recommender.recommend(k=40)
    mine = pl.Series([pair in owned for pair in whole.select("customer_id", "product_id").rows()])
    kept = whole.filter(mine if only == "bought" else ~mine)
    found = recommender.recommend(k=5, only=only)
    # The list is that of all products without the others, and as long as there are enough.
    wanted = kept.group_by("customer_id", maintain_order=True).head(5)
    assert found.drop("rank").equals(wanted.drop("rank"))
    assert found.filter(pl.col("times_bought") > 0).height == (found.height if only == "bought" else 0)
    assert found.group_by("customer_id", maintain_order=True).agg("rank")["rank"].to_list() == [
        list(range(1, n + 1)) for n in found.group_by("customer_id", maintain_order=True).len()["len"]
    ]
    opened = CustomerRecommender.open(folder)
    alone = [
        {"customer_id": customer, **offer}
        for customer in HISTORY.customer_ids.to_list()
        for offer in opened.for_customer(customer, k=5, only=only)
    ]
    assert alone == found.to_dicts()


@pytest.mark.parametrize("only", ["old", "", 1, [], True])
def test_odd_kinds(recommender: CustomerRecommender, only: object) -> None:
    with pytest.raises(SettingError, match="only: expected one of new, bought"):
        recommender.recommend(k=1, only=only)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="only: expected one of new, bought"):
        recommender.for_customer(HISTORY.customer_ids[0], only=only)  # type: ignore[arg-type]


def test_what_is_excluded_is_no_purchase_and_no_offer(tmp_path: Path) -> None:
    kinds = ["bag" if i < 5 else "food" for i in range(40)]
    products = pl.DataFrame({"product_id": HISTORY.products, "kind": kinds})
    never = {*HISTORY.products[:5].to_list(), "p0009"}
    found = CustomerRecommender.fit(HISTORY, as_of=AS_OF, products=products, category="kind", exclude=["bag", "p0009"])
    assert set(found.products.filter(found.excluded)["product_id"]) == never
    rows = found.recommend(k=40)
    assert not never & ({*rows["product_id"]} | {*rows["with_product"]})
    # The other purchases stand as they were, and baskets that held nothing else are none.
    codes = {code for code, product in enumerate(HISTORY.products) if product not in never}
    kept = [[[p for p in basket if p in codes] for basket in own if codes & {*basket}] for own in HISTORY.each()]
    assert list(found.history.each()) == kept
    assert found.history.baskets < HISTORY.baskets
    days = HISTORY.day[[bool(codes & {*basket}) for own in HISTORY.each() for basket in own]]
    assert found.history.day.tolist() == days.tolist()
    found.history.check()
    found.save(tmp_path / "saved")
    opened = CustomerRecommender.open(tmp_path / "saved")
    assert opened.recommend(k=40).equals(rows)
    assert not never & {offer["product_id"] for offer in opened.for_basket(["p0009", "p0011"], k=40)}
    # A bag alone is a basket too, of which nothing is known.
    assert opened.for_basket(["p0000"], k=3) == opened.for_basket([], k=3)


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        ("bag", "exclude: expected a list"),
        (["bags"], r"exclude: 'bags' is no product.*, and no kind \(did you mean 'bag'\?\)\. There are bag, food\."),
        (["Carrier Bag"], r"\(names do not count, ids and categories do: 'carrier bag' is .* …, of bag\)"),
        (["P0007"], r"\(did you mean 'p0007'\?\)"),
        (["bag", "food"], "it leaves no product"),
    ],
)
def test_odd_exclusions(exclude: object, message: str) -> None:
    kinds = ["bag" if i < 5 else "food" for i in range(40)]
    names = ["carrier bag" if i < 5 else f"dish {i}" for i in range(40)]
    products = pl.DataFrame({"product_id": HISTORY.products, "kind": kinds, "name": names})
    with pytest.raises(SettingError, match=message):
        CustomerRecommender.fit(HISTORY, products=products, category="kind", exclude=exclude)  # type: ignore[arg-type]


def test_what_is_no_list_of_ids(recommender: CustomerRecommender) -> None:
    known = HISTORY.customer_ids[0]
    for odd in (known, str(known), None.__class__, 7.5):
        with pytest.raises(DataError, match="customer_ids: expected a list of ids"):
            recommender.recommend(odd)  # type: ignore[arg-type]
    for odds in ([known, "a"], [[known]], [object()], [10**30], [known, None, {}]):
        with pytest.raises(DataError, match="customer"):
            recommender.recommend(odds)
    assert recommender.recommend([], 3).is_empty()
    assert recommender.recommend(np.array([known]), np.int64(2)).height == 2
    assert recommender.recommend((known,), 2).equals(recommender.recommend(pl.Series([str(known)]), 2))


def test_baskets_of_numbers_and_odd_ones() -> None:
    numbers = HISTORY.products.str.slice(1).cast(pl.Int64).cast(pl.String)
    history = Baskets(HISTORY.customer_ids, numbers, *(getattr(HISTORY, name) for name in HISTORY.__slots__[2:]))
    segments = pl.DataFrame({"customer_id": HISTORY.customer_ids, "segment_id": [float(i % 2) for i in range(200)]})
    found = CustomerRecommender.fit(history, assignments=segments)
    assert found.segments["segment_id"].to_list() == ["0", "1"]
    wanted = found.for_basket(["3", "12"], segment_id="1")
    assert found.for_basket([3, np.int64(12)], segment_id=1.0) == wanted
    assert found.for_basket(np.array([3, 12]), segment_id=1) == wanted
    for odd in (3, "3", {"3": 1}):
        with pytest.raises(DataError, match="basket: expected a list of product ids"):
            found.for_basket(odd)  # type: ignore[arg-type]
    for odds in ([None], [3.5], [["3"]], [True]):
        with pytest.raises(DataError, match="products: expected ids, texts or whole numbers"):
            found.for_basket(odds)
    for segment in (0.5, True, [], "1.0", float("nan")):
        with pytest.raises(DataError, match="segment_id: expected one of 0, 1; got"):
            found.for_basket(["3"], segment_id=segment)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repurchase": {"grill": "no"}}, "repurchase: expected True or False by category"),
        ({"repurchase": {"grill": 2}}, "repurchase: expected True or False by category"),
        ({"repurchase": ["grill"]}, "repurchase: expected True or False by category"),
        ({"once_below": "x"}, "once_below: expected a share from 0 to 1; got 'x'"),
        ({"once_below": float("nan")}, "once_below: expected a share from 0 to 1"),
        ({"category": 5}, "category: expected the name of a column of the products; got 5"),
        ({"name": ["a"]}, "name: expected the name of a column of the products"),
        ({"seed": -1}, "seed: expected a whole number"),
        ({"as_of": "soon"}, "as_of: expected a date"),
        ({"products": [1]}, "products: expected a Polars frame; got list"),
        ({"assignments": "runs/segment"}, "assignments: expected a Polars frame; got str"),
        ({"products": pl.DataFrame({"product_id": ["p0001", "p0001"]})}, "products: expected each product_id once"),
    ],
)
def test_settings_that_cannot_be(settings: dict, message: str) -> None:
    with pytest.raises((SettingError, DataError), match=message):
        CustomerRecommender.fit(HISTORY, **settings)


def test_what_is_printed_is_short(recommender: CustomerRecommender) -> None:
    assert repr(recommender) == "<CustomerRecommender: 200 customers, 40 products, 3 segments, for 1971-01-01>"
    assert repr(HISTORY) == f"<Baskets: 200 customers, 40 products, {HISTORY.baskets:,} baskets>"
    with pytest.raises(SettingError, match=r"history: expected purchase histories.*got DataFrame"):
        CustomerRecommender.fit(pl.DataFrame())  # type: ignore[arg-type]
