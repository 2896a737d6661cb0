from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from engine.errors import CarteraError
from engine.recommend import kernels
from engine.recommend.blend import Blend
from engine.recommend.knowledge import Knowledge
from engine.recommend.next_basket import NextBasket, Ranked, purchases
from engine.recommend.reason_words import sentence, with_text
from engine.recommend.reasons import REASONS, explained
from tests.recommend.test_affinity import running, uncompiled
from tests.recommend.test_next_basket import SIGNAL_TOLERANCE, Case, odd_case, ranked, rows_of
from tests.reference import next_basket_twin as twin

SHOP: list[twin.Customer] = [
    [(0, [0, 1]), (10, [0]), (20, [0, 2])],
    *[[(0, [0, 3]), (5, [4])]] * 5,
    *[[(1, [5])]] * 3,
    [(2, [6]), (3, [7, 8])],
    [],
]


def told(
    codes: list[list[int]],
    signals: dict[tuple[int, str], float],
    near: list[int],
    *,
    customers: list[int] | None = None,
    day: int = 25,
    segments: np.ndarray | None = None,
    shop: list[twin.Customer] = SHOP,
) -> pl.DataFrame:
    """Explain products to the first customers, where a score is the sum of the signals; ``signals``: of the first."""
    history = twin.baskets_of(shop, 9)
    known = Knowledge.of(history, None, np.arange(10), once_below=0.0)
    width = kernels.WIDTH
    blend = Blend(
        np.ones(width),
        np.zeros((width, width)),
        np.zeros(width),
        *(np.full(width, end) for end in (-99.0, 99.0)),
        100,
        10,
    )
    values = np.zeros((len(codes), len(codes[0]), width), np.float32)
    for (place, name), value in signals.items():
        values[0, place, kernels.SIGNALS.index(name)] = value
    neighbours = np.full((len(codes), kernels.CLOSEST), -1, np.int32)
    neighbours[0, : len(near)] = near
    found = Ranked(np.array(codes, np.int32), values.sum(axis=2), values, neighbours)
    asked = history.take(np.array(customers or range(len(codes))))
    model = SimpleNamespace(knowledge=known, blend=blend)
    return explained(model, asked, found, day=day, segments=segments)  # type: ignore[arg-type]


def test_every_reason_with_its_figures() -> None:
    signals = {
        (2, "along"): 2.0,
        (3, "following"): 2.0,
        (4, "alike"): 2.0,
        (5, "segment"): math.log(3.1),
        (6, "fresh"): math.log(2.0),
        (6, "ever"): -1.0,
        (7, "ever"): 1.0,
    }
    table = told([[0, 1, 3, 4, 5, 6, 7, 8, -1]], signals, [6, 7, 8], segments=np.array([0]))
    assert table["rank"].to_list() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert table["customer_id"].to_list() == [0] * 8
    assert table["product_id"].to_list() == [f"p000{code}" for code in (0, 1, 3, 4, 5, 6, 7, 8)]
    reasons = ["habit", "owned", "along", "following", "alike", "segment", "fresh", "popular"]
    assert table["reason"].to_list() == reasons
    assert set(reasons) == set(REASONS)
    assert table["times_bought"].to_list() == [3, 1, 0, 0, 0, 0, 0, 0]
    assert table["days_since_bought"].to_list() == [5, 25, *[None] * 6]
    assert table["interval_days"].to_list() == [10, *[None] * 7]
    assert table["nearest"].to_list() == [0, 0, 0, 0, 3, 0, 0, 0]
    assert table["nearest_of"].to_list() == [3] * 8
    assert table["with_product"].to_list() == [None, None, "p0000", "p0000", *[None] * 4]
    assert table["lift"].to_list() == [None] * 5 + [pytest.approx(3.1), pytest.approx(2.0), None]
    assert table["score"].to_list() == pytest.approx([0, 0, 2, 2, 2, math.log(3.1), math.log(2) - 1, 1])


def test_what_is_no_reason() -> None:
    # Two of the nearest are chance; a segment as all others, and nobody's segment, say nothing.
    strong = {(0, "alike"): 9.0, (1, "segment"): math.log(1.19), (2, "fresh"): math.log(1.19)}
    table = told([[5, 6, 7]], strong, [6, 7], segments=np.array([0]))
    assert table["reason"].to_list() == ["popular"] * 3
    assert told([[6]], {(0, "segment"): 2.0}, [])["reason"].to_list() == ["popular"]
    # Not even the strongest signal of others beats that the customer buys it.
    table = told([[0, 2]], {(0, "segment"): 9.0, (1, "segment"): 9.0}, [], segments=np.array([0]))
    assert table["reason"].to_list() == ["habit", "owned"]


def test_the_strongest_reason_is_given() -> None:
    one, other = ({(0, "along"): a, (0, "following"): b} for a, b in ((2.0, 1.0), (1.0, 2.0)))
    assert told([[4]], one, [])["reason"].to_list() == ["along"]
    assert told([[4]], other, [])["reason"].to_list() == ["following"]


def test_two_purchases_have_an_interval_and_are_no_habit_yet() -> None:
    shop = [[(0, [0]), (9, [1]), (14, [0])], *SHOP[1:]]
    table = told([[0]], {}, [], shop=shop)
    row = table.select("reason", "times_bought", "days_since_bought", "interval_days").row(0)
    assert row == ("owned", 2, 11, 14)


def test_three_orders_of_one_day_are_no_habit() -> None:
    shop = [[(3, [0]), (3, [0]), (3, [0])], *SHOP[1:]]
    table = told([[0]], {}, [], day=4, shop=shop)
    assert table["reason"].to_list() == ["owned"]
    assert with_text(table)["why"].to_list() == ["last bought yesterday"]


def test_customers_without_a_history_and_without_products() -> None:
    table = told([[5, -1], [-1, -1], [0, -1]], {}, [], customers=[10, 9, 0])
    assert table["customer_id"].to_list() == [10, 0]
    assert table["reason"].to_list() == ["popular", "habit"]
    assert table.null_count().row(0, named=True) | {"score": 0} == dict.fromkeys(table.columns, 0) | {
        "days_since_bought": 1,
        "interval_days": 1,
        "with_product": 2,
        "lift": 2,
    }
    nobody = told([[-1]], {}, [])
    assert nobody.is_empty()
    assert nobody.schema == table.schema
    assert with_text(nobody)["why"].dtype == pl.String


def said(language: str = "en", names: pl.DataFrame | None = None, **figures: object) -> str:
    row = {"interval_days": None, "days_since_bought": None, "nearest": 0, "nearest_of": 20, "with_product": None}
    table = pl.DataFrame(
        [{"product_id": "own"} | row | {"lift": None} | figures],
        schema={
            "product_id": pl.String,
            "reason": pl.Enum(REASONS),
            "interval_days": pl.Float32,
            "days_since_bought": pl.Int32,
            "nearest": pl.Int32,
            "nearest_of": pl.Int32,
            "with_product": pl.String,
            "lift": pl.Float32,
        },
    )
    text = with_text(table, names, language=language)
    assert text.columns == [*table.columns, "why"]
    row = table.row(0, named=True)
    called = {} if names is None else dict(names.select("product_id", "name").iter_rows())
    product, own = (called.get(row[column], row[column]) for column in ("with_product", "product_id"))
    # One sentence alone is the sentence of the table.
    assert sentence(row["reason"], row, product=product, same=product == own, language=language) == text["why"].item()
    return str(text["why"].item())


@pytest.mark.parametrize(
    ("days", "english", "spanish"),
    [
        (0.5, "almost every day", "casi cada día"),
        (1.49, "almost every day", "casi cada día"),
        (1.6, "every 2 days", "cada 2 días"),
        (4.7, "every 5 days", "cada 5 días"),
        (5.9, "every 6 days", "cada 6 días"),
        (6.0, "every week", "cada semana"),
        (10.4, "every week", "cada semana"),
        (10.6, "every 2 weeks", "cada 2 semanas"),
        (21.0, "every 3 weeks", "cada 3 semanas"),
        (55.9, "every 8 weeks", "cada 8 semanas"),
        (56.0, "every 2 months", "cada 2 meses"),
        (400.0, "every 13 months", "cada 13 meses"),
        (699.9, "every 23 months", "cada 23 meses"),
        (700.0, "every 2 years", "cada 2 años"),
    ],
)
def test_intervals_in_words(days: float, english: str, spanish: str) -> None:
    assert said(reason="habit", interval_days=days) == f"bought {english}"
    assert said("es", reason="habit", interval_days=days) == f"compra habitual, {spanish}"


@pytest.mark.parametrize(
    ("days", "english", "spanish"),
    [
        (0, "today", "hoy"),
        (1, "yesterday", "ayer"),
        (2, "2 days ago", "hace 2 días"),
        (5, "5 days ago", "hace 5 días"),
        (6, "a week ago", "hace una semana"),
        (10, "a week ago", "hace una semana"),
        (11, "2 weeks ago", "hace 2 semanas"),
        (55, "8 weeks ago", "hace 8 semanas"),
        (56, "2 months ago", "hace 2 meses"),
        (699, "23 months ago", "hace 23 meses"),
        (730, "2 years ago", "hace 2 años"),
        (45_347, "124 years ago", "hace 124 años"),
    ],
)
def test_days_ago_in_words(days: int, english: str, spanish: str) -> None:
    assert said(reason="owned", days_since_bought=days) == f"last bought {english}"
    assert said("es", reason="owned", days_since_bought=days) == f"última compra {spanish}"


@pytest.mark.parametrize(
    ("interval", "since", "english", "spanish"),
    [
        (121.6, 11, "every 4 months, last 11 days ago", "cada 4 meses; la última, hace 11 días"),
        (121.6, 30, "every 4 months, last 4 weeks ago", "cada 4 meses; la última, hace 4 semanas"),
        (121.6, 31, "every 4 months", "cada 4 meses"),
        (84.0, 20, "every 3 months, last 20 days ago", "cada 3 meses; la última, hace 20 días"),
        # A quarter to the day is not less than a quarter.
        (84.0, 21, "every 3 months", "cada 3 meses"),
        (88.0, 21, "every 3 months, last 3 weeks ago", "cada 3 meses; la última, hace 3 semanas"),
        (20.0, 2, "every 3 weeks, last 2 days ago", "cada 3 semanas; la última, hace 2 días"),
        (7.0, 1, "every week, last yesterday", "cada semana; la última, ayer"),
        (7.0, 0, "every week, last today", "cada semana; la última, hoy"),
        (7.0, 2, "every week", "cada semana"),
    ],
)
def test_a_habit_that_was_just_kept_says_when(interval: float, since: int, english: str, spanish: str) -> None:
    figures = {"reason": "habit", "interval_days": interval, "days_since_bought": since}
    assert said(**figures) == f"bought {english}"
    assert said("es", **figures) == f"compra habitual, {spanish}"


def test_a_partner_of_the_same_name_is_another_kind_of_it() -> None:
    names = pl.DataFrame({"product_id": ["own", "p1", "p2"], "name": ["SUGAR", "SUGAR", "TEA"]})
    told = [said("en", names, reason=reason, with_product="p1") for reason in ("along", "following")]
    assert told == ["goes with another kind of it, bought before", "often bought after another kind of it"]
    told = [said("es", names, reason=reason, with_product="p1") for reason in ("along", "following")]
    assert told == [
        "va bien con otra variedad de lo mismo, ya comprada", "suele comprarse después de otra variedad de lo mismo",
    ]  # fmt: skip
    assert said("en", names, reason="along", with_product="p2") == "goes with TEA, bought before"
    # Other reasons speak of no partner.
    assert said("en", names, reason="popular", with_product="p1") == "one of the most bought products"


def test_the_other_sentences() -> None:
    names = pl.DataFrame({"product_id": ["p1"], "name": ["Coffee {fine}"]})
    near, lift = {"reason": "alike", "nearest": 12}, {"lift": 3.14159}
    assert said(**near) == "12 of the 20 most similar customers buy it"
    assert said("es", **near) == "lo compran 12 de los 20 clientes más parecidos"
    assert said(reason="along", with_product="p1") == "goes with p1, bought before"
    assert said("en", names, reason="along", with_product="p1") == "goes with Coffee {fine}, bought before"
    assert said("es", names, reason="following", with_product="p1") == "suele comprarse después de Coffee {fine}"
    # What has no name is called by its id.
    assert said("en", names, reason="following", with_product="p2") == "often bought after p2"
    assert said("es", names, reason="along", with_product="p2") == "va bien con una compra anterior: p2"
    assert said(reason="segment", **lift) == "bought 3.1 times as often in this segment"
    assert said("es", reason="segment", **lift) == "en este segmento se compra 3,1 veces lo habitual"
    assert said(reason="fresh", **lift) == "bought 3.1 times as often as usual these days"
    assert said("es", reason="fresh", **lift) == "estos días se compra 3,1 veces lo habitual"
    assert said(reason="popular") == "one of the most bought products"
    assert said("es", reason="popular") == "uno de los productos más comprados"
    with pytest.raises(CarteraError, match="fr"):
        said("fr", reason="popular")
    with pytest.raises(CarteraError, match="fr"):
        sentence("popular", {}, language="fr")


@pytest.mark.parametrize("seed", range(8))
def test_every_line_has_a_sentence_and_figures_that_are_true(seed: int) -> None:
    case = odd_case(seed)
    # Of the history only what lies before the day may be told of; some days lie before all of it.
    days = np.maximum(case.days, 366)
    found = case.model.rank(case.history, 9, day=days, segments=case.asked_segments)
    table = explained(case.model, case.history, found, day=days, segments=case.asked_segments)
    assert table.height == (found.codes >= 0).sum()
    line_of = {c: line for line, c in enumerate(case.asked)}
    for row in table.iter_rows(named=True):
        customer, code = case.customers[row["customer_id"]], int(row["product_id"][1:])
        with_it = [day for day, items in customer if code in items]
        assert row["times_bought"] == len(with_it)
        since = int(days[line_of[row["customer_id"]]]) - with_it[-1] if with_it else None
        assert row["days_since_bought"] == since
        gaps = len(with_it) - 1
        assert row["interval_days"] == (pytest.approx((with_it[-1] - with_it[0]) / gaps) if gaps > 0 else None)
        assert (row["reason"] in ("habit", "owned")) == bool(with_it)
        assert (row["with_product"] is not None) == (row["reason"] in ("along", "following"))
        assert (row["lift"] is not None) == (row["reason"] in ("segment", "fresh"))
        assert row["lift"] is None or row["lift"] >= 1.19
        assert 0 <= row["nearest"] <= row["nearest_of"] <= kernels.CLOSEST
        owned = {f"p{item:04}" for _, items in customer for item in items}
        assert row["with_product"] is None or row["with_product"] in owned
    for language in ("en", "es"):
        why = with_text(table, language=language)["why"]
        alone = [
            sentence(row["reason"], row, product=row["with_product"], language=language)
            for row in table.iter_rows(named=True)
        ]
        assert why.to_list() == alone
        assert why.null_count() == 0
        assert not why.str.contains(r"None|null|NaN|[{}]|-\d").any()


def test_explaining_to_nobody() -> None:
    case = odd_case(1)
    nobody = case.history.take(np.array([], np.int64))
    model: NextBasket = case.model
    table = explained(model, nobody, model.rank(nobody, 3), day=400)
    assert table.is_empty()
    assert with_text(table).columns[-1] == "why"


@pytest.mark.parametrize("seed", [1, 3])
def test_machine_code_does_what_the_text_says(seed: int) -> None:
    plain = uncompiled()
    assert plain["kernels"].candidates is not kernels.candidates
    case = odd_case(seed)
    machine, machine_facts = ranked(case, 6), facts(case, ranked(case, 6))
    with running(plain):
        text = ranked(case, 6)
        text_facts = facts(case, text)
        again = odd_case.__wrapped__(seed).model
    assert machine.codes.tolist() == text.codes.tolist()
    # Here all reference customers are near; those that are equally near but for rounding may change places.
    assert np.sort(machine.neighbours, axis=1).tolist() == np.sort(text.neighbours, axis=1).tolist()
    assert machine.scores == pytest.approx(text.scores, rel=1e-3, abs=1e-3)
    assert machine.signals == pytest.approx(text.signals, rel=1e-5, abs=SIGNAL_TOLERANCE)
    for one, other in zip(machine_facts, text_facts, strict=True):
        assert one.tolist() == other.tolist()
    assert (again.blend.rows, again.blend.bought) == (case.model.blend.rows, case.model.blend.bought)
    assert again.blend.centre == pytest.approx(case.model.blend.centre, rel=1e-5)
    for name in ("along", "following", "people"):
        for one, other in zip(getattr(case.model.knowledge, name), getattr(again.knowledge, name), strict=True):
            assert one == pytest.approx(other, rel=1e-6)
    for name in ("rate", "gap_days", "once"):
        one, other = (getattr(model.knowledge.repurchase, name) for model in (case.model, again))
        assert one == pytest.approx(other, rel=1e-6)


def facts(case: Case, found: Ranked) -> list[np.ndarray]:
    from engine.recommend.reason_kernels import Facts, fact_chunks  # compiled or plain

    out = [np.empty(found.codes.shape, np.int32) for _ in range(6)]
    known = case.model.knowledge
    fact_chunks(
        purchases(case.history), case.history.basket_start[1:], found.codes, found.neighbours, known.along,
        known.following, known.people, Facts(*out),
    )  # fmt: skip
    return out


@pytest.mark.parametrize("seed", range(12))
def test_facts_are_those_of_the_twin(seed: int) -> None:
    case = odd_case(seed)
    found = ranked(case, 9)
    times, first, last, among, fellow, leader = facts(case, found)
    known = twin.known_of(case.customers, case.history.m, rows_of(case.model), case.limits)
    for line, c in enumerate(case.asked):
        near = [row for row in found.neighbours[line].tolist() if row >= 0]
        for place, code in enumerate(found.codes[line].tolist()):
            told = [int(array[line, place]) for array in (times, first, last, among, fellow, leader)]
            if code < 0:
                assert told == [0, 0, 0, 0, -1, -1]
                continue
            expected = twin.fact(case.customers[c], code, near, known, case.limits)
            assert told[:4] == [expected.times, expected.first_day, expected.last_day, expected.among]
            for partner, strengths in zip(told[4:], (expected.fellows, expected.leaders), strict=True):
                assert (partner >= 0) == bool(strengths)
                if strengths:
                    assert strengths[partner] >= max(strengths.values()) * (1 - twin.NEAR)
