from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from engine.segments.naming import RuleTable
from engine.segments.profile import profile

RETAIL = RuleTable.load("retail")
USUARIOS, POTENCIALES = "Clientes usuarios", "Clientes potenciales"
NUEVOS, BAJA = "Clientes nuevos / poco usuarios", "Baja frecuencia, unidades y facturación"


def model(*rows: tuple[float, ...]) -> pl.DataFrame:
    """One segment a row: customers, frequency, units, monetary, recency and tenure in days; highest billing first."""
    columns = ["customers", "frequency_mean", "units_mean", "monetary_mean", "recency_days_mean"]
    table = pl.DataFrame(rows, schema=[*columns, "tenure_days_mean"], orient="row", strict=False)
    return table.with_columns(rank=pl.int_range(1, pl.len() + 1), customers=pl.col("customers").cast(pl.Int64))


COMPLETE_JOURNEY = model(
    (722, 135, 1714, 4204, 5, 360),
    (921, 49.5, 610, 1400, 11.7, 350),
    (607, 18.7, 181, 418, 30, 331),
    (219, 4.95, 32, 82, 97, 255),
)
ONLINE_RETAIL = model(
    (697, 13.8, 4631, 8182, 11, 309),
    (1194, 4.2, 1111, 1847, 65, 261),
    (847, 2.0, 315, 511, 20, 116),
    (1600, 1.3, 216, 357, 186, 213),
)

MODELS = {
    # k-means on log-scaled frequency, units and billing of a year of grocery baskets
    "complete journey, 4": (COMPLETE_JOURNEY, [USUARIOS, POTENCIALES, NUEVOS, BAJA]),
    "complete journey, 3": (
        model((1101, 110.8, 1402, 3402, 6, 359), (1008, 30.9, 350, 795, 20, 341), (360, 7.4, 53, 135, 75, 280)),
        [USUARIOS, POTENCIALES, BAJA],
    ),
    "complete journey, 8": (
        model(
            (196, 228.6, 2588, 6544, 3, 363),
            (431, 106.4, 1464, 3518, 5, 360),
            (508, 62.2, 857, 1993, 9, 355),
            (386, 47.7, 443, 1010, 12, 350),
            (327, 22.0, 342, 766, 24, 336),
            (308, 19.3, 146, 347, 29, 331),
            (215, 8.1, 61, 157, 59, 294),
            (98, 2.7, 15, 34, 127, 230),
        ),
        [USUARIOS] * 2 + [POTENCIALES] * 2 + [NUEVOS] * 3 + [BAJA],
    ),
    # k-means on log-scaled recency, frequency and billing of a wholesale web shop: the third have just arrived
    "online retail, 4": (ONLINE_RETAIL, [USUARIOS, POTENCIALES, NUEVOS, BAJA]),
    "online retail, 3": (
        model((747, 13.5, 4473, 7909, 14, 309), (1685, 3.5, 839, 1380, 46, 221), (1906, 1.3, 216, 356, 163, 191)),
        [USUARIOS, POTENCIALES, BAJA],
    ),
    "online retail, 6": (
        model(
            (265, 23.1, 9030, 16144, 6, 344),
            (651, 7.4, 1866, 3274, 38, 303),
            (592, 4.3, 830, 1344, 9, 203),
            (1001, 2.7, 738, 1178, 107, 241),
            (827, 1.4, 214, 323, 36, 88),
            (1002, 1.2, 152, 259, 230, 243),
        ),
        [USUARIOS] * 2 + [POTENCIALES] * 2 + [NUEVOS, BAJA],
    ),
    # log-scaled frequency, units and billing of a cohort that all began together: many never came back
    "one cohort, 5": (
        model(
            (150, 13.7, 46, 641, 87, 505),
            (364, 5.1, 14, 195, 173, 501),
            (501, 2.5, 5.5, 83, 312, 504),
            (686, 1.3, 2.6, 38, 461, 503),
            (656, 1.0, 1.0, 14, 502, 503),
        ),
        [USUARIOS] * 2 + [POTENCIALES] + [BAJA] * 2,
    ),
    "the last have just arrived": (
        model((500, 10, 100, 1000, 20, 600), (400, 4, 40, 400, 60, 550), (300, 1, 8, 60, 15, 30)),
        [USUARIOS, POTENCIALES, NUEVOS],
    ),
    "two, and no giant makes the rest small": (
        model((1, 20, 90_000, 900_000, 1, 900), (700, 12, 100, 900, 10, 800), (600, 2, 9, 70, 300, 700)),
        [USUARIOS, POTENCIALES, BAJA],
    ),
    "few but huge orders are no frequent customers": (
        model((100, 1.1, 900, 9000, 40, 500), (300, 12, 800, 4000, 5, 500), (600, 3, 50, 300, 60, 500)),
        [POTENCIALES, USUARIOS, BAJA],
    ),
    # k-means on recency, frequency and average ticket of grocery baskets: the largest baskets come seldom
    "the biggest order less often than the average": (
        model((861, 56.9, 1101, 2785, 8, 348), (922, 103.2, 923, 2096, 4, 353), (686, 17, 170, 387, 63, 311)),
        [POTENCIALES, USUARIOS, BAJA],
    ),
    "nobody is almost lost who bought a short while ago": (
        model((500, 10, 100, 1000, 60, 600), (400, 6, 60, 600, 60, 550), (300, 4, 40, 400, 5, 550)),
        [USUARIOS, POTENCIALES, POTENCIALES],
    ),
    "one segment for all": (model((100, 3, 30, 300, 40, 200)), [USUARIOS]),
}


def plain(name: str) -> str:
    return name.split(" · ")[0]


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_the_owners_names_on_models_worked_by_hand(case: str) -> None:
    table, expected = MODELS[case]
    assert [plain(segment.name.es) for segment in RETAIL.name(table)] == expected


def test_the_owners_four_names_come_plain_where_each_is_used_once() -> None:
    for table in (COMPLETE_JOURNEY, ONLINE_RETAIL):
        assert [segment.name.es for segment in RETAIL.name(table)] == [USUARIOS, POTENCIALES, NUEVOS, BAJA]
        assert [segment.name.en for segment in RETAIL.name(table)] == [
            "Frequent customers",
            "Customers with potential",
            "New or occasional customers",
            "Low frequency, units and revenue",
        ]


def test_description_and_action_come_from_the_rule_that_fired() -> None:
    for segment in RETAIL.name(COMPLETE_JOURNEY):
        fired = next(rule for rule in RETAIL.rules if rule.key == segment.rule)
        assert fired.fires(segment.indicators)
        assert (segment.description, segment.action) == (fired.description, fired.action)


def test_two_namesakes_are_told_apart_by_what_differs_most() -> None:
    # Recency differs most between the second and third of these four.
    table = model(
        (925, 121, 1489, 3640, 3, 360),
        (712, 35.1, 471, 1097, 26, 343),
        (481, 33.6, 376, 820, 3, 338),
        (351, 7.5, 65, 152, 87, 283),
    )
    names = [segment.name for segment in RETAIL.name(table)]
    assert [name.es for name in names[1:3]] == [
        "Clientes potenciales · los que llevan más tiempo sin comprar",
        "Clientes potenciales · los de compra más reciente",
    ]
    assert [name.en for name in names[1:3]] == [
        "Customers with potential · those longest without buying",
        "Customers with potential · those who bought most recently",
    ]


def test_the_one_that_stands_out_in_nothing_is_in_between() -> None:
    table, _ = MODELS["complete journey, 8"]
    names = [segment.name.es for segment in RETAIL.name(table)]
    assert names[4:7] == [
        "Clientes nuevos / poco usuarios · los que más unidades compran",
        "Clientes nuevos / poco usuarios · los intermedios",
        "Clientes nuevos / poco usuarios · los que menos unidades compran",
    ]


def test_the_words_that_tell_namesakes_apart_read_under_any_name() -> None:
    # "Baja … facturación · más facturación" would contradict itself; "of them, those who spend most" does not.
    for one in RETAIL.words:
        for word in (one.high, one.low):
            assert word.en.startswith(("those ", "the "))
            assert word.es.startswith("los ")


def test_what_is_said_of_the_last_holds_for_its_namesakes_too() -> None:
    table, names = MODELS["one cohort, 5"]
    last = [one for one, name in zip(RETAIL.name(table), names, strict=True) if name == BAJA]
    assert len(last) == 2
    for one in last:
        assert one.indicators["level"] < 0.5
        assert "of all" not in one.description.en
        assert "de todas" not in one.description.es


@pytest.mark.parametrize("seed", range(30))
def test_customers_said_to_buy_below_the_average_do(seed: int) -> None:
    table = random_model(seed)
    for one in RETAIL.name(table):
        if one.rule == "baja":
            assert one.indicators["level"] < 1
        if one.rule == "nuevos" and one.indicators["age"] >= 0.6:
            assert one.indicators["level"] < 0.45


def test_namesakes_that_do_not_differ_are_numbered_by_rank() -> None:
    same = (400, 4, 40, 400, 60, 550)
    table = model((100, 30, 300, 9000, 5, 600), same, same, (500, 1, 8, 60, 400, 600))
    backwards = table.reverse()
    expected = [USUARIOS, "Clientes potenciales · 1", "Clientes potenciales · 2", BAJA]
    assert [segment.name.es for segment in RETAIL.name(table)] == expected
    assert [segment.name.es for segment in RETAIL.name(backwards)] == expected[::-1]


def any_customers(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return customers and the profile of a division of them in which orders, size and recency need not agree."""
    draw = np.random.default_rng(seed)
    n, k = 500, int(draw.integers(2, 9))
    habit, size, price = draw.lognormal(0, 0.9, (3, n))
    tie, tenure = draw.uniform(-0.8, 1), np.round(draw.uniform(1, 700, n))
    silence = draw.beta(*draw.uniform(0.3, 3, 2), n)
    customers = pl.DataFrame(
        {
            "frequency": np.ceil(3 * habit),
            "units": np.ceil(20 * size * habit**tie),
            "monetary": np.round(50 * price * habit**tie, 2) + 1,
            "recency_days": np.round(tenure * silence),
            "tenure_days": tenure,
        }
    )
    scale = [np.log(customers[name]) for name in ("frequency", "units", "monetary")] + [tenure / 200, silence * 2]
    score = np.sum([weight * one for weight, one in zip(draw.normal(size=5), scale, strict=True)], axis=0)
    labels = (np.argsort(np.argsort(score)) * k // n).astype(np.int32)
    return customers, profile(customers, labels, k)


BOUGHT = ("frequency", "units", "monetary")


@pytest.mark.parametrize("seed", range(150))
def test_no_name_contradicts_the_figures_of_its_segment(seed: int) -> None:
    customers, table = any_customers(seed)
    every = {name: float(customers[name].mean()) for name in customers.columns}  # type: ignore[arg-type]
    middle = float(customers["frequency"].median())  # type: ignore[arg-type]
    rows = [
        (one, {name: row[f"{name}_mean"] for name in every})
        for one, row in zip(RETAIL.name(table), table.iter_rows(named=True), strict=True)
    ]
    frequent = [mean for one, mean in rows if one.rule == "usuarios"]
    for one, mean in rows:
        times = [mean[name] / every[name] for name in BOUGHT]
        if one.rule == "usuarios":
            assert mean["frequency"] >= every["frequency"] * (1 - 1e-9)
            assert mean["frequency"] > middle
            assert sum(times) / 3 >= 1 or one.indicators["standing"] >= 0.6
        if one.rule == "potenciales":
            # "Less than frequent customers buy in orders, units or revenue."
            assert all(any(mean[name] < other[name] for name in BOUGHT) for other in frequent)
            assert sum(times) / 3 >= 0.45 - 1e-9 or one.indicators["standing"] >= 0.5 or max(times) >= 1 - 1e-9
        if one.rule == "nuevos":
            new = mean["tenure_days"] < 0.6 * every["tenure_days"] and mean["recency_days"] < every["recency_days"]
            assert new or (sum(times) / 3 < 0.45 and max(times) < 1)
        if one.rule == "baja":
            assert max(times) < 1
            assert mean["recency_days"] >= every["recency_days"] * (1 - 1e-9)


def test_the_segments_of_the_laws_bear_all_the_names() -> None:
    names = {one.rule for seed in range(150) for one in RETAIL.name(any_customers(seed)[1])}
    assert names == {rule.key for rule in RETAIL.rules}


def random_model(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 13))
    # Rounded to few values, so that ties are common.
    level = np.round(rng.lognormal(0, 1.2, k), 1)
    tenure = np.round(rng.uniform(1, 700, k), -1)
    rows = [
        (int(rng.integers(1, 2000)), 3 * level[i], 20 * level[i], 100 * level[i], tenure[i] * rng.random(), tenure[i])
        for i in np.argsort(-level, kind="stable")
    ]
    return model(*rows)


@pytest.mark.parametrize("seed", range(60))
def test_no_two_segments_of_a_model_have_the_same_name(seed: int) -> None:
    names = [segment.name for segment in RETAIL.name(random_model(seed))]
    assert len({name.es for name in names}) == len(names)
    assert len({name.en for name in names}) == len(names)


@pytest.mark.parametrize("seed", range(20))
def test_renumbering_the_clusters_moves_names_along(seed: int) -> None:
    table = random_model(seed)
    order = np.random.default_rng(seed).permutation(table.height).tolist()
    names = [segment.name for segment in RETAIL.name(table)]
    assert [segment.name for segment in RETAIL.name(table[order])] == [names[index] for index in order]


@pytest.mark.parametrize("seed", range(20))
def test_another_currency_changes_no_word_about_orders(seed: int) -> None:
    # Indicators are relative, so the unit of money does not matter to which rule fires.
    table = random_model(seed)
    dearer = table.with_columns(pl.col("monetary_mean") * 1024)
    assert [one.rule for one in RETAIL.name(table)] == [one.rule for one in RETAIL.name(dearer)]


@pytest.mark.parametrize("seed", range(30))
def test_the_best_segment_is_always_among_the_frequent_customers(seed: int) -> None:
    # In a random model orders, units and billing rise together, so rank 1 is the best by all three.
    assert RETAIL.name(random_model(seed))[0].rule == "usuarios"


def test_without_units_the_names_rest_on_orders_and_billing() -> None:
    names = [plain(segment.name.es) for segment in RETAIL.name(COMPLETE_JOURNEY.drop("units_mean"))]
    assert names == [USUARIOS, POTENCIALES, NUEVOS, BAJA]
