from __future__ import annotations

import copy
import json
import random

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.errors import ColumnsMissingError, DataError, SettingError
from engine.segments.compare import Change, Comparison, compare_runs
from engine.segments.division import Division
from engine.segments.migration import GONE, NEW
from tests.reference import comparison_twin
from tests.segments.divisions import AFTER, BEFORE, division


def with_frames(run: Division, **frames: pl.DataFrame) -> Division:
    return Division(**{name: getattr(run, name) for name in ("profile", "assignments", "segments")} | frames)


def cells(found: Comparison) -> dict[tuple[str, str], int]:
    return {(start, end): n for start, end, n in found.migration.select(pl.first(), pl.nth(1), pl.nth(2)).iter_rows()}


def dealt(seed: int) -> tuple[dict[int, str], dict[int, str]]:
    """Two random divisions of overlapping customers; some segments keep their id."""
    draw = random.Random(seed)
    first = "abcde"[: draw.randint(1, 5)]
    second = draw.choice(["vwxyz", "abxyz", "edcba"])[: draw.randint(1, 5)]
    before = {one: draw.choice(first) for one in range(draw.randint(2, 60))}
    start = draw.randint(0, 30)
    after = {one: draw.choice(second) for one in range(start, start + draw.randint(2, 60))}
    return before, after


# A case worked by hand


@pytest.fixture(scope="module")
def worked() -> Comparison:
    return compare_runs(division(BEFORE), division(AFTER))


def test_everybody_is_counted_once(worked: Comparison) -> None:
    assert (worked.common, worked.gone, worked.new, worked.stayed, worked.moved.height) == (8, 1, 1, 6, 2)
    assert worked.share_moved == 0.25


def test_where_everybody_went(worked: Comparison) -> None:
    there = {key: count for key, count in cells(worked).items() if count}
    assert there == {
        ("a", "x"): 3,
        ("a", "y"): 1,
        ("b", "y"): 2,
        ("b", "z"): 1,
        ("c", "z"): 1,
        ("c", GONE): 1,
        (NEW, "x"): 1,
    }
    # Every two segments have a row, those without customers too; nobody is in neither run.
    assert worked.migration.height == 4 * 4 - 1


def test_shares_of_a_move(worked: Comparison) -> None:
    row = worked.migration.row(by_predicate=(pl.col("from_segment_id") == "b") & (pl.col("to_segment_id") == "y"))
    assert row == ("b", "y", 2, pytest.approx(2 / 10), pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_adjusted_rand_of_the_hand_worked_case(worked: Comparison) -> None:
    # Of 28 pairs 9 are together before, 7 after, 4 in both: (4 - 9·7/28) / ((9 + 7)/2 - 9·7/28).
    assert worked.adjusted_rand == pytest.approx(7 / 23)


def test_who_moved(worked: Comparison) -> None:
    assert worked.moved.rows() == [(4, "a", "y"), (7, "b", "z")]
    assert worked.moved_table("es").rows() == [(4, "a", "A es", "y", "Y es"), (7, "b", "B es", "z", "Z es")]


def test_what_changed_in_a_segment(worked: Comparison) -> None:
    assert [(pair.before.segment_id, pair.after.segment_id, pair.kept) for pair in worked.pairs] == [
        ("a", "x", 3),
        ("b", "y", 2),
        ("c", "z", 1),
    ]
    first = worked.pairs[0]
    assert first.share_kept == 0.75
    assert first.figures["customers"] == Change(4, 4)
    assert first.figures["monetary_mean"] == Change(40.0, 50.0)
    assert (first.figures["monetary_mean"].absolute, first.figures["monetary_mean"].relative) == (10.0, 0.25)
    # 160 of 230 before, 200 of 272 after.
    assert first.figures["share_monetary"].absolute == pytest.approx(200 / 272 - 160 / 230)
    assert worked.everyone["monetary_mean"].before == pytest.approx(230 / 9)
    assert worked.everyone["monetary_mean"].after == pytest.approx(272 / 9)


def test_profiles_stand_side_by_side(worked: Comparison) -> None:
    table = worked.profile_table("en")
    assert table["before_name"].to_list() == ["A en", "B en", "C en"]
    assert table["after_name"].to_list() == ["X en", "Y en", "Z en"]
    assert table["monetary_mean_change"].to_list() == [10.0, 0.0, 1.0]
    assert table["customers_after"].to_list() == [4, 3, 2]
    assert table["customers_after"].dtype == pl.Int64


def test_customers_outside_have_names_in_both_languages(worked: Comparison) -> None:
    en, es = (
        set(worked.migration_table(language).select("from_name", "to_name").to_numpy().ravel())
        for language in ("en", "es")
    )
    assert {"Not there before", "No longer there"} < en
    assert {"No estaban antes", "Ya no están"} < es
    assert not en & es
    with pytest.raises(SettingError, match="expected one of en, es"):
        worked.migration_table("fr")


# Laws


@pytest.mark.parametrize("seed", range(40))
def test_the_obvious_twin_agrees(seed: int) -> None:
    before, after = dealt(seed)
    found = compare_runs(division(before), division(after))
    assert {key: count for key, count in cells(found).items() if count} == dict(comparison_twin.moves(before, after))
    expected = comparison_twin.adjusted_rand(before, after)
    assert found.adjusted_rand == (None if expected is None else pytest.approx(expected, abs=1e-12))
    assert found.stayed == comparison_twin.most_who_can_stay(before, after)


@pytest.mark.parametrize("seed", range(40))
def test_every_customer_is_in_one_cell_and_shares_sum_to_one(seed: int) -> None:
    before, after = dealt(seed)
    first, second = division(before), division(after)
    found = compare_runs(first, second)
    assert found.migration["customers"].sum() == len(before.keys() | after.keys())
    assert found.migration["share"].sum() == pytest.approx(1)
    for side, other, run in (("from", NEW, first), ("to", GONE, second)):
        sums = dict(found.migration.group_by(f"{side}_segment_id").agg(pl.col("customers").sum()).iter_rows())
        outside = sums.pop(other)
        assert outside == (found.new if side == "from" else found.gone)
        assert sums == dict(run.profile.select("segment_id", "customers").iter_rows())
        shares = found.migration.drop_nulls(f"share_of_{side}").group_by(f"{side}_segment_id")
        assert shares.agg(pl.col(f"share_of_{side}").sum())[f"share_of_{side}"].to_list() == pytest.approx(
            [1] * (len(sums) + (outside > 0))
        )
    assert found.stayed + found.moved.height == found.common
    assert found.common + found.gone == len(before)
    assert found.common + found.new == len(after)
    # Matches are one to one, and together with the rest they are all the segments.
    ended, born = found.unmatched
    starts = [pair.before for pair in found.pairs] + ended
    ends = [pair.after for pair in found.pairs] + born
    assert sorted(one.segment_id for one in starts) == sorted(set(before.values()))
    assert sorted(one.segment_id for one in ends) == sorted(set(after.values()))


@pytest.mark.parametrize("seed", range(10))
def test_the_way_back_is_the_way_there_read_backwards(seed: int) -> None:
    before, after = dealt(seed)
    there = compare_runs(division(before), division(after))
    back = compare_runs(division(after), division(before))
    turned = {(end, start): count for (start, end), count in cells(back).items()}
    swap = {NEW: GONE, GONE: NEW}
    assert cells(there) == {tuple(swap.get(key, key) for key in pair): count for pair, count in turned.items()}
    assert there.adjusted_rand == back.adjusted_rand
    assert there.stayed == back.stayed


@pytest.mark.parametrize("seed", range(10))
def test_the_same_run_twice(seed: int) -> None:
    run = division(dealt(seed)[0])
    found = compare_runs(run, run)
    assert found.adjusted_rand == 1
    assert found.moved.is_empty()
    assert all(pair.by_id and pair.share_kept == 1 for pair in found.pairs)
    assert {change.absolute for pair in found.pairs for change in pair.figures.values()} == {0}
    assert found.notes == ()


def test_other_ids_and_another_order_of_rows_change_nothing(worked: Comparison) -> None:
    names = {"x": "p", "y": "q", "z": "r"}
    renamed = {one: names[key] for one, key in reversed(AFTER.items())}
    found = compare_runs(division(BEFORE), division(renamed))
    assert (found.adjusted_rand, found.stayed) == (worked.adjusted_rand, worked.stayed)
    assert found.moved["customer_id"].to_list() == worked.moved["customer_id"].to_list()


# Edges


def test_nobody_in_common() -> None:
    found = compare_runs(division({1: "a", 2: "b"}), division({3: "x", 4: "y", 5: "y"}))
    assert (found.common, found.gone, found.new) == (0, 2, 3)
    assert found.adjusted_rand is None
    assert found.share_moved is None
    assert found.pairs == ()
    assert "no customer in common" in found.notes[0].en
    assert "ningún cliente en común" in found.notes[0].es
    table = found.profile_table("en")
    assert table["before_segment_id"].to_list() == ["a", "b", None, None]
    assert table["customers_before"].to_list() == [1, 1, None, None]
    assert table["customers_relative_change"].null_count() == 4


def test_one_common_customer_makes_no_pair() -> None:
    found = compare_runs(division({1: "a", 2: "b"}), division({1: "x"}))
    assert found.adjusted_rand is None
    assert [(pair.before.segment_id, pair.after.segment_id) for pair in found.pairs] == [("a", "x")]


def test_more_segments_than_before_leave_some_without_a_match() -> None:
    found = compare_runs(division({1: "a", 2: "a", 3: "a", 4: "b"}), division({1: "x", 2: "x", 3: "y", 4: "z"}))
    assert [(pair.before.segment_id, pair.after.segment_id) for pair in found.pairs] == [("a", "x"), ("b", "z")]
    ended, born = found.unmatched
    assert ended == []
    assert [segment.segment_id for segment in born] == ["y"]
    assert found.moved.rows() == [(3, "a", "y")]
    assert found.to_dict()["without_match"]["after"][0]["segment_id"] == "y"


def test_the_same_id_is_the_same_segment_however_few_stayed() -> None:
    before = {1: "a", 2: "a", 3: "a", 4: "b"}
    after = {1: "a", 2: "x", 3: "x", 4: "x"}
    found = compare_runs(division(before), division(after))
    assert [(pair.after.segment_id, pair.by_id, pair.kept) for pair in found.pairs] == [("a", True, 1), ("x", False, 1)]
    assert found.moved["customer_id"].to_list() == [2, 3]


def test_whole_numbers_of_any_width_are_the_same_ids(worked: Comparison) -> None:
    narrow = division(AFTER)
    narrow = with_frames(narrow, assignments=narrow.assignments.cast({"customer_id": pl.Int32}))
    assert compare_runs(division(BEFORE), narrow).moved.rows() == worked.moved.rows()


def test_text_ids_are_compared_as_they_are() -> None:
    found = compare_runs(division({"07": "a", "7": "a"}), division({"7": "x", "8": "x"}))
    assert (found.common, found.gone, found.new) == (1, 1, 1)


def test_a_measure_that_only_one_run_has() -> None:
    run = division(BEFORE)
    richer = with_frames(run, profile=run.profile.with_columns(units_mean=pl.Series([1.0, 2.0, None])))
    figures = compare_runs(run, richer).pairs[1].figures
    assert figures["units_mean"] == Change(None, 2.0)
    assert figures["units_mean"].absolute is None


def test_the_mean_of_all_counts_only_customers_with_a_value() -> None:
    run = division(BEFORE)
    # 4, 3 and 2 customers; of the first segment one lacks the measure, of the last all.
    columns = {"score_mean": pl.Series([2.0, 4.0, None]), "score_missing": pl.Series([1, 0, 2])}
    richer = with_frames(run, profile=run.profile.with_columns(**columns))
    assert compare_runs(richer, run).everyone["score_mean"] == Change((3 * 2 + 3 * 4) / 6, None)


@pytest.mark.parametrize(("before", "after"), [(0.0, 5.0), (-2.0, 5.0), (None, 5.0), (5.0, None)])
def test_a_relative_change_is_given_only_where_it_says_something(before: float | None, after: float | None) -> None:
    assert Change(before, after).relative is None


@pytest.mark.parametrize(
    ("first", "second", "en", "es"),
    [
        (
            {"features": ("frequency", "shoe_size")},
            {"features": ("frequency", "units")},
            "only before: shoe_size; only after: units",
            "solo antes: shoe_size; solo después: unidades",
        ),
        ({"facts": {"window_days": 90}}, {"facts": {}}, "periods of different length", "distinta duración"),
        ({"facts": {"where": "units > 1"}}, {"facts": {}}, "filter customers in different", "de forma distinta"),
        (
            {"facts": {"as_of": "2018-01-02"}},
            {"facts": {"as_of": "2017-07-01"}},
            "later date (2018-01-02)",
            "fecha posterior (2018-01-02)",
        ),
    ],
)
def test_what_makes_runs_hard_to_compare_is_said(first: dict, second: dict, en: str, es: str) -> None:
    (note,) = compare_runs(division(BEFORE, **first), division(BEFORE, **second)).notes
    assert en in note.en
    assert es in note.es


def test_json_holds_no_customer_and_no_infinity() -> None:
    before, after = ({f"person-{one}": key for one, key in run.items()} for run in (BEFORE, AFTER))
    found = compare_runs(division(before), division(after))
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert "person" not in text
    assert json.loads(text)["moved_customers"] == 2
    for table in (found.migration_table("en"), found.profile_table("en")):
        assert "person" not in table.write_csv()


def test_the_runs_are_left_alone() -> None:
    runs = division(BEFORE), division(AFTER)
    kept = copy.deepcopy(runs)
    compare_runs(*runs).profile_table("en")
    for run, old in zip(runs, kept, strict=True):
        assert_frame_equal(run.profile, old.profile)
        assert_frame_equal(run.assignments, old.assignments)


# Bad input


def test_numbers_against_text_are_refused() -> None:
    texts = division({str(one): key for one, key in AFTER.items()})
    with pytest.raises(DataError, match="it is whole numbers before and text after"):
        compare_runs(division(BEFORE), texts)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 8], "after: 1 rows repeat a customer_id"),
        ([1, 2, 3, 4, 5, 6, 7, 8, None], "after: customer_id is missing in 1 of 9 rows"),
        ([0.5, 2, 3, 4, 5, 6, 7, 8, 9], "after: customer_id should be whole numbers or text; it is Float64"),
    ],
)
def test_ids_that_cannot_be_are_refused(ids: list, message: str) -> None:
    run = division(BEFORE)
    bad = with_frames(run, assignments=run.assignments.with_columns(pl.Series("customer_id", ids, strict=False)))
    with pytest.raises(DataError, match=message):
        compare_runs(run, bad)


def test_no_customers_are_refused() -> None:
    run = division(BEFORE)
    with pytest.raises(DataError, match="before: no customer in its assignments"):
        compare_runs(with_frames(run, assignments=run.assignments.clear()), run)


@pytest.mark.parametrize("fault", ["another run", "a customer less", "a profile row twice", "an unnamed segment"])
def test_parts_of_different_runs_are_refused(fault: str) -> None:
    run = division(BEFORE)
    frames = {
        "another run": {"assignments": division(AFTER).assignments},
        "a customer less": {"assignments": run.assignments.head(8)},
        "a profile row twice": {"profile": pl.concat([run.profile, run.profile.head(1)])},
        "an unnamed segment": {"profile": run.profile.with_columns(segment_id=pl.Series(["a", "b", None]))},
    }
    with pytest.raises(DataError, match="after: expected assignments, profile and segments of one run"):
        compare_runs(run, with_frames(run, **frames[fault]))


@pytest.mark.parametrize(("frame", "column"), [("profile", "share_monetary"), ("assignments", "segment_id")])
def test_a_missing_column_is_named(frame: str, column: str) -> None:
    run = division(BEFORE)
    with pytest.raises(ColumnsMissingError, match=f"after, {frame}: no column '{column}'"):
        compare_runs(run, with_frames(run, **{frame: getattr(run, frame).drop(column)}))
