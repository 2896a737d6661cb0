"""Levels, the model on them, and the figures held out: against the twin, by hand, and as laws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from engine.lookalike.columns import comparable_columns
from engine.lookalike.evidence import area_under_curve, auc_interval, held_out, lift
from engine.lookalike.levels import Codes, Levels, encode, expand
from engine.lookalike.scorecard import STRENGTH, Scorecard, patterns
from tests.lookalike.people import people, seeds_and_prospects
from tests.reference import lookalike_twin as twin


def coded(seeds: pl.DataFrame, prospects: pl.DataFrame) -> tuple[list[Levels], Codes, Codes]:
    columns = comparable_columns({"seeds": seeds, "prospects": prospects}).columns
    levels = [Levels.fit(column, "prospects") for column in columns]
    codes = [encode(levels, {each.name: each.values[key] for each in columns}) for key in ("seeds", "prospects")]
    return levels, codes[0], codes[1]


def one(seeds: list[object], prospects: list[object]) -> tuple[Levels, Codes, Codes]:
    tables = [pl.DataFrame({"customer_id": range(len(values)), "x": values}) for values in (seeds, prospects)]
    levels, of_seeds, of_prospects = coded(*tables)
    return levels[0], of_seeds[:, 0], of_prospects[:, 0]


def names(levels: Levels, language: str = "en") -> list[str]:
    return [levels.label(code).text(language) for code in range(levels.size)]


# Levels


def test_few_numbers_are_levels_of_their_own() -> None:
    levels, seeds, prospects = one([1, 2, 2, None], [5.0, 1.0, 1.5, 9.0])
    assert names(levels) == ["1", "1.5", "2", "5", "9", "missing"]
    assert seeds.tolist() == [0, 2, 2, 5]
    assert prospects.tolist() == [3, 0, 1, 4]


def test_many_numbers_are_tenths_of_seeds_and_reference_alike() -> None:
    # A hundred prospects of 0 to 99.5 and ten seeds of 200 to 209.5: half of the levels are the seeds'.
    levels, seeds, _ = one([200.5 + i for i in range(10)], [i + 0.5 for i in range(100)])
    assert levels.size == 11
    assert len(set(seeds.tolist())) == 5
    assert names(levels)[0] == "under 20.5"
    assert names(levels)[-2] == "208.5 or more"
    assert names(levels, "es")[1] == "de 20,5 a menos de 40,5"


def test_values_beyond_what_was_seen_fall_in_the_outer_levels() -> None:
    levels, _, _ = one([float(i) + 0.5 for i in range(50)], [float(i) + 0.5 for i in range(50)])
    assert levels.codes(pl.Series([-1e308, 1e308, None])).tolist() == [0, levels.size - 2, levels.size - 1]


def test_rare_and_unknown_texts_are_pooled() -> None:
    levels, seeds, _ = one(["a"] * 20 + ["b"] * 20 + ["rare"], ["a", "b", "rare", "b"] * 1)
    assert names(levels) == ["a", "b", "other", "missing"]
    assert seeds[-1] == 2
    assert levels.codes(pl.Series(["never seen", None])).tolist() == [2, 3]


@pytest.mark.parametrize("seed", range(3))
def test_distances_are_those_of_the_twin(seed: int) -> None:
    seeds, prospects, _ = seeds_and_prospects(seed, n=15, m=20)
    tables = [table.drop("income", "noise") for table in (seeds, prospects)]
    levels, of_seeds, of_prospects = coded(*tables)
    places = [each.places for each in levels]
    fast = np.sqrt(
        ((expand(of_prospects, places)[:, None, :] - expand(of_seeds, places)[None, :, :]) ** 2).sum(axis=2)
        / len(levels)
    )
    rows = tables[1]["age"].value_counts(normalize=True)
    shares = {"age": dict(rows.iter_rows()), "home": {}}
    bands = sorted({*tables[0]["age"], *tables[1]["age"]})
    shares["age"] = {band: shares["age"].get(band, 0.0) for band in bands}
    for i, prospect in enumerate(tables[1].iter_rows(named=True)):
        for j, seed_row in enumerate(tables[0].iter_rows(named=True)):
            slow = twin.distance(prospect, seed_row, shares, {"age": bands})
            assert fast[i, j] == pytest.approx(slow, abs=1e-12)


def test_a_missing_range_is_apart_from_all_others_by_hand() -> None:
    levels, _, _ = one(["25-34", "35-44"], ["25-34", "35-44", "45+", None])
    # Middles at 1/6, 3/6 and 5/6 of those known; missing beside the middle.
    assert levels.places[:3, 0].tolist() == pytest.approx([1 / 6, 3 / 6, 5 / 6])
    apart = np.sqrt(((levels.places - levels.places[3]) ** 2).sum(axis=1))
    assert apart.tolist() == pytest.approx([math.sqrt(1 / 9 + 0.75), math.sqrt(0.75), math.sqrt(1 / 9 + 0.75), 0])


@pytest.mark.parametrize("seed", range(3))
def test_no_two_people_are_more_than_one_apart(seed: int) -> None:
    levels, of_seeds, of_prospects = coded(*seeds_and_prospects(seed, n=40, m=60)[:2])
    at = expand(np.vstack([of_seeds, of_prospects]), [each.places for each in levels])
    apart = np.sqrt(((at[:, None, :] - at[None, :, :]) ** 2).sum(axis=2) / len(levels))
    assert apart.max() <= 1 + 1e-12
    assert apart.min() == 0


# The model


@pytest.mark.parametrize("seed", range(3))
def test_the_scorecard_is_the_lowest_point_of_the_loss(seed: int) -> None:
    seeds, prospects, _ = seeds_and_prospects(seed, n=20, m=30)
    levels, of_seeds, of_prospects = coded(seeds.select("customer_id", "age"), prospects.select("customer_id", "age"))
    steps = levels[0].steps
    card = Scorecard.fit(levels, of_seeds, of_prospects).weights[0]
    # Points of levels back to a coefficient for each step: differences of neighbours, then "missing".
    known = card[:-1]
    steps_up = np.diff(known)
    missing = card[-1] - known[0] - steps[-1, : len(steps_up)] @ steps_up
    rows = [[steps[code].tolist() for code in codes[:, 0]] for codes in (of_seeds, of_prospects)]

    def value(at: Sequence[float]) -> float:
        return twin.loss(at[1:], at[0], rows[0], rows[1], STRENGTH)

    assert twin.is_lowest([float(known[0]), *steps_up.tolist(), float(missing)], value, 1e-3)


def test_equal_tables_give_everybody_a_half() -> None:
    table = people(200, 3, like_seeds=0.5).drop("alike")
    levels, of_seeds, of_prospects = coded(table, table)
    assert np.abs(Scorecard.fit(levels, of_seeds, of_prospects).score(of_prospects)).max() < 1e-4


def test_points_rise_along_ranges_that_seeds_favour() -> None:
    bands = ["0-9", "10-19", "20-29", "30+"]
    levels, seeds, prospects = one([bands[3]] * 40 + [bands[2]] * 20 + [bands[1]] * 5, bands * 50)
    points = Scorecard.fit([levels], seeds[:, None], prospects[:, None]).weights[0]
    assert (np.diff(points[:4]) > 0).all()
    # Missing says neither high nor low.
    assert points[0] < points[4] < points[3]


def test_the_reference_may_be_any_multiple_of_itself() -> None:
    seeds, prospects, _ = seeds_and_prospects(4)
    levels, of_seeds, of_prospects = coded(seeds, prospects)
    once = Scorecard.fit(levels, of_seeds, of_prospects).score(of_prospects)
    thrice = Scorecard.fit(levels, of_seeds, np.vstack([of_prospects] * 3)).score(of_prospects)
    assert np.abs(once - thrice).max() < 1e-4


def test_more_combinations_than_can_be_numbered() -> None:
    # Forty columns of four levels: 4⁴⁰ combinations.
    draw = np.random.default_rng(0)
    table = {f"c{index}": [f"v{value}" for value in draw.integers(0, 2, 60)] for index in range(40)}
    frame = pl.DataFrame({"customer_id": range(60), **table})
    levels, codes, _ = coded(frame, frame)
    assert math.prod(each.size for each in levels) > 2**63
    rows, counts = patterns(codes, levels)
    assert rows is codes
    assert counts.tolist() == [1] * 60
    few = patterns(codes[:, :3], levels[:3])
    assert few[1].sum() == 60
    assert len(np.unique(few[0], axis=0)) == len(few[0]) <= 8


# The figures


@pytest.mark.parametrize("seed", range(5))
def test_area_and_lift_are_those_of_the_twin(seed: int) -> None:
    draw = np.random.default_rng(seed)
    positive, negative = draw.normal(0.5, 1, 37), draw.normal(0, 1, 50)
    assert lift(positive, negative, 0.1) == pytest.approx(twin.lift(positive.tolist(), negative.tolist(), 5))
    tied = positive.round(), negative.round()
    assert area_under_curve(*tied) == pytest.approx(twin.area_under_curve(*(each.tolist() for each in tied)))


def test_scores_that_are_all_alike_lift_nothing() -> None:
    for share in (0.03, 0.1, 0.77, 1.0):
        assert lift(np.zeros(7), np.zeros(9), share) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("auc", "m", "n", "expected"),
    # Solved by hand from V = θ(1 - θ)(1 + N((1 - θ)/(2 - θ) + θ/(1 + θ)))/mn with N = (m + n)/2 - 1.
    [(1.0, 10, 10, (0.7997, 1.0)), (0.5, 50, 50, (0.3895, 0.6105)), (0.0, 10, 10, (0.0, 0.2003))],
)
def test_interval_of_the_area(auc: float, m: int, n: int, expected: tuple[float, float]) -> None:
    low, high = auc_interval(auc, m, n)
    assert (low, high) == pytest.approx(expected, abs=2e-3)
    for edge in {low, high} - {0.0, 1.0}:
        mean = (m + n) / 2 - 1
        variance = edge * (1 - edge) * (1 + mean * ((1 - edge) / (2 - edge) + edge / (1 + edge))) / (m * n)
        assert abs(auc - edge) == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_told_apart_and_what_is_not(seed: int) -> None:
    seeds, prospects, _ = seeds_and_prospects(seed)
    found = held_out(*coded(seeds, prospects), share_in_list=0.05, seed=seed)
    assert found is not None
    assert found.auc_low > 0.6
    assert found.lift > 1.5
    assert found.columns["noise"] < 0.58 < found.columns["income"] < found.auc + 0.02
    # The same people on both sides: nothing to tell them by, and held-out figures do not invent it.
    half = prospects.with_row_index("row")
    same = [half.filter(pl.col("row") % 6 == 0).drop("row"), half.filter(pl.col("row") % 6 != 0).drop("row")]
    chance = held_out(*coded(*same), share_in_list=0.05, seed=seed)
    assert chance is not None
    assert chance.auc_low <= 0.5
    assert abs(chance.auc - 0.5) < 0.12


def test_too_few_to_hold_out() -> None:
    levels, of_seeds, of_prospects = coded(*seeds_and_prospects(1)[:2])
    assert held_out(levels, of_seeds[:1], of_prospects, share_in_list=0.1, seed=0) is None
    two = held_out(levels, of_seeds[:2], of_prospects, share_in_list=0.1, seed=0)
    assert two is not None
    assert two.folds == 2
    assert two.auc_high - two.auc_low > 0.4
