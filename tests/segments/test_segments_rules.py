from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.errors import ColumnsMissingError, DataError, SettingError, SourceNotFoundError
from engine.segments.indicators import Indicator, evaluate
from engine.segments.naming import RuleTable, preset_names
from engine.segments.rules import Interval


def word(text: str) -> dict[str, str]:
    return {"en": text, "es": f"{text} es"}


def rule(key: str, *when: dict[str, Any]) -> dict[str, Any]:
    return {
        "key": key,
        "name": word(key),
        "description": word("what"),
        "action": word("do"),
        "when": list(when),
    }


def small_table() -> dict[str, Any]:
    return {
        "indicators": {
            "level": {"kind": "ratio", "measures": ["monetary"]},
            "standing": {"kind": "standing", "measures": ["monetary"]},
        },
        "rules": [
            rule("top", {"level": [1, None]}),
            rule("middle", {"level": [None, 1], "standing": [0.5, None]}),
            rule("low", {"level": [None, 1], "standing": [None, 0.5]}),
        ],
        "words": [{"measure": "units", "high": word("more"), "low": word("fewer")}],
        "between": word("between"),
    }


def changed(path: tuple[Any, ...], value: object) -> dict[str, Any]:
    table = copy.deepcopy(small_table())
    place: Any = table
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return table


PRESETS = [pytest.param(name, id=name) for name in preset_names()]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("seed", range(5))
def test_exactly_one_rule_of_a_preset_fires_for_random_indicators(preset: str, seed: int) -> None:
    # The proof by cells, tried from outside: random points, many of them exactly on a bound.
    table = RuleTable.load(preset)
    bounds = sorted(
        {
            bound
            for one in table.rules
            for alternative in one.when
            for interval in alternative.values()
            for bound in (interval.lower, interval.upper)
            if math.isfinite(bound)
        }
    )
    rng = np.random.default_rng(seed)
    for _ in range(1000):
        values = {}
        for indicator in table.indicators:
            lowest, end = indicator.domain
            drawn = float(rng.choice(bounds)) if rng.random() < 0.4 else float(rng.gamma(1, 1.5))
            values[indicator.name] = drawn if lowest <= drawn < end else lowest
        assert sum(one.fires(values) for one in table.rules) == 1, values


@pytest.mark.parametrize("preset", PRESETS)
def test_no_rule_of_a_preset_is_impossible(preset: str) -> None:
    table = RuleTable.load(preset)
    seen = set()
    grid = [0.1, 0.47, 0.7, 0.9, 1.2, 3.0]
    for values in np.random.default_rng(0).choice(grid, size=(5000, len(table.indicators))).tolist():
        pairs = zip(table.indicators, values, strict=True)
        named = {one.name: max(value, one.domain[0]) for one, value in pairs}
        seen.update(one.key for one in table.rules if one.fires(named))
        if len(seen) == len(table.rules):
            break
    assert seen == {one.key for one in table.rules}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_text_of_a_preset_differs_between_the_languages(preset: str) -> None:
    for one in RuleTable.load(preset).rules:
        for text in (one.name, one.description, one.action):
            assert text.en != text.es


@pytest.mark.parametrize("preset", PRESETS)
def test_a_table_survives_json(preset: str) -> None:
    table = RuleTable.load(preset)
    again = RuleTable.from_mapping(json.loads(json.dumps(table.to_dict())), source=table.source)
    assert again == table


def test_a_users_file_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(small_table()), encoding="utf-8")
    assert [one.key for one in RuleTable.load(path).rules] == ["top", "middle", "low"]


def test_an_uncovered_cell_is_reported_with_an_example() -> None:
    broken = changed(("rules", 2, "when", 0, "standing"), [None, 0.4])
    with pytest.raises(SettingError) as caught:
        RuleTable.from_mapping(broken, source="mine.yaml")
    assert "mine.yaml" in str(caught.value)
    assert "no rule fires in 1 of 6 cells, e.g. level 0 to 1, standing 0.4 to 0.5" in str(caught.value)


def test_an_overlap_is_reported_with_an_example() -> None:
    broken = changed(("rules", 1, "when", 0, "level"), [None, 2])
    with pytest.raises(SettingError, match=r"'top' and 'middle' both fire in 1 cells, e\.g\. level 1 to 2"):
        RuleTable.from_mapping(broken)


def test_alternatives_of_one_rule_may_overlap() -> None:
    table = changed(("rules", 0, "when"), [{"level": [1, None]}, {"level": [2, None]}])
    assert len(RuleTable.from_mapping(table).rules[0].when) == 2


def test_a_lower_bound_at_the_end_of_the_domain_is_no_bound() -> None:
    table = changed(("rules", 2, "when", 0), {"level": [0, 1], "standing": [0, 0.5]})
    assert RuleTable.from_mapping(table).rules[2].key == "low"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("extra",), 1, "got 'extra'"),
        (("rules", 0, "nmae"), word("x"), "got 'nmae'"),
        (("rules", 0, "name"), {"en": "x"}, r"rules\[0\] \('top'\)\.name: es missing"),
        (("rules", 0, "name"), {"en": "x", "es": " "}, r"name\.es: expected a text"),
        (("rules", 0, "name"), {"en": "x", "es": "y", "fr": "z"}, "got 'fr'"),
        (("rules", 0, "name"), "x", "expected a mapping with en, es"),
        (("rules", 0, "key"), 3, "expected a short text"),
        (("rules", 0, "when"), [], "expected a list of alternatives"),
        (("rules", 0, "when"), [["level"]], "expected a mapping of indicators"),
        (("rules", 0, "when", 0), {"levle": [1, None]}, "did you mean 'level'"),
        (("rules", 0, "when", 0, "level"), [2, 1], "lower bound must be below"),
        (("rules", 0, "when", 0, "level"), [1, 1], "lower bound must be below"),
        (("rules", 0, "when", 0, "level"), [1], r"expected \[lower, upper\]"),
        (("rules", 0, "when", 0, "level"), 1, r"expected \[lower, upper\]"),
        (("rules", 0, "when", 0, "level"), [True, None], r"expected \[lower, upper\]"),
        (("rules", 0, "when", 0, "level"), [math.nan, None], r"expected \[lower, upper\]"),
        (("rules", 1, "key"), "top", "'top' again"),
        (("rules", 1, "name", "es"), "top es", r"name\.es: .*'top es' again"),
        (("rules", 1, "name", "es"), "a · b", "tell segments of the same name apart"),
        (("rules", 1, "name", "en"), "12", "tell segments of the same name apart"),
        (("between", "en"), "more", "'more' again"),
        (("words", 0, "measure"), 3, "expected a column name"),
        (("words",), "none", "expected a list"),
        (("rules",), [], "at least one rule"),
        (("indicators",), {}, "expected names with their definitions"),
        (("indicators", "level", "kind"), "rato", "did you mean 'ratio'"),
        (("indicators", "level", "measures"), [], "expected a list of column names"),
        (("indicators", "level", "measures"), "monetary", "expected a list of column names"),
        (("indicators", "level"), {"kind": "ratio"}, r"expected \{kind: "),
        (("indicators", "level", "kind"), "quotient", "a quotient has two measures"),
    ],
)
def test_a_wrong_table_is_refused_naming_file_and_place(path: tuple[Any, ...], value: object, message: str) -> None:
    with pytest.raises(SettingError, match=message) as caught:
        RuleTable.from_mapping(changed(path, value), source="mine.yaml")
    assert "mine.yaml" in str(caught.value)


@pytest.mark.parametrize("raw", [None, [], "text"])
def test_a_file_that_is_no_mapping_is_refused(raw: object) -> None:
    with pytest.raises(SettingError, match="expected a mapping"):
        RuleTable.from_mapping(raw)


def test_too_many_cells_to_check_are_refused() -> None:
    table = small_table()
    names = [f"i{number}" for number in range(8)]
    table["indicators"] = {name: {"kind": "ratio", "measures": ["monetary"]} for name in names}
    table["rules"] = [rule("all", *({name: [b, b + 1] for name in names} for b in range(1, 7)))]
    with pytest.raises(SettingError, match="Use fewer indicators"):
        RuleTable.from_mapping(table)


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingError, match="did you mean 'retail'"):
        RuleTable.load("retial")


@pytest.mark.parametrize("path", ["mine.yaml", "some/where"])
def test_a_missing_file_is_said_to_be_missing(path: str) -> None:
    with pytest.raises(SourceNotFoundError, match="no file"):
        RuleTable.load(path)


@pytest.mark.parametrize(("content", "message"), [(b"rules: [", "not valid YAML"), ("á: 1".encode("latin-1"), "UTF-8")])
def test_a_file_that_cannot_be_read_as_yaml_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=message):
        RuleTable.load(path)


@pytest.mark.parametrize(
    ("pair", "value", "inside"),
    [
        ([1, 2], 1.0, True),
        ([1, 2], 2.0, False),
        ([None, 2], -5.0, True),
        ([1, None], math.inf, True),
        ([1, 2], math.inf, False),
    ],
)
def test_an_interval_holds_its_lower_bound_only(pair: list[float | None], value: float, inside: bool) -> None:
    assert (value in Interval.from_pair(pair, where="x")) is inside


def three_segments(**more: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({"customers": [50, 30, 20], "rank": [3, 2, 1], "monetary_mean": [10.0, 50.0, 90.0], **more})


@pytest.mark.parametrize(
    ("kind", "measures", "expected"),
    [
        # The population's mean is (50·10 + 30·50 + 20·90) / 100 = 38.
        ("ratio", ("monetary",), [10 / 38, 50 / 38, 90 / 38]),
        ("standing", ("monetary",), [0.25, 0.65, 0.9]),
        ("from_top", ("monetary",), [3, 2, 1]),
        ("from_bottom", ("monetary",), [1, 2, 3]),
        # Mean of frequency: (50·4 + 30·1 + 20·1) / 100 = 2.5; the two segments at 1 share their half.
        ("ratio", ("monetary", "frequency"), [(10 / 38 + 1.6) / 2, (50 / 38 + 0.4) / 2, (90 / 38 + 0.4) / 2]),
        ("standing", ("monetary", "frequency"), [0.5, 0.45, 0.575]),
        ("from_top", ("monetary", "frequency"), [2, 3, 1]),
        ("quotient", ("frequency", "monetary"), [0.4, 0.02, 1 / 90]),
        ("peak", ("monetary", "frequency"), [1.6, 50 / 38, 90 / 38]),
        # Only the first orders as often as the average; then the others, the better first.
        ("leading", ("frequency", "monetary"), [1, 3, 2]),
        ("leading", ("monetary", "frequency"), [3, 2, 1]),
        # A measure that the profile lacks is left out.
        ("ratio", ("monetary", "nothing"), [10 / 38, 50 / 38, 90 / 38]),
    ],
)
def test_indicators_worked_by_hand(kind: str, measures: tuple[str, ...], expected: list[float]) -> None:
    table = three_segments(frequency_mean=[4.0, 1.0, 1.0])
    found = evaluate([Indicator("it", kind, measures)], table)
    assert [one["it"] for one in found] == pytest.approx(expected, rel=1e-14)


def test_customers_without_a_value_do_not_count_in_the_populations_mean() -> None:
    table = three_segments(monetary_missing=[50, 0, 0]).with_columns(
        monetary_mean=pl.Series([None, 50.0, 90.0]), units_mean=pl.Series([1.0, 1.0, 1.0])
    )
    found = evaluate([Indicator("it", "ratio", ("monetary", "units"))], table)
    assert [one["it"] for one in found] == pytest.approx([1.0, (50 / 66 + 1) / 2, (90 / 66 + 1) / 2])


def test_one_giant_does_not_move_anybodys_standing() -> None:
    table = three_segments()
    giant = table.with_columns(monetary_mean=pl.Series([10.0, 50.0, 9e9]))
    standing = Indicator("it", "standing", ("monetary",))
    assert evaluate([standing], giant) == evaluate([standing], table)


@pytest.mark.parametrize("mean", [0.0, -5.0])
def test_where_the_populations_mean_is_nothing_nobody_stands_out(mean: float) -> None:
    table = three_segments().with_columns(monetary_mean=pl.lit(mean))
    assert [one["it"] for one in evaluate([Indicator("it", "ratio", ("monetary",))], table)] == [1, 1, 1]


@pytest.mark.parametrize("seed", range(20))
def test_who_is_the_average_is_not_below_it_by_a_rounding_error(seed: int) -> None:
    draw = np.random.default_rng(seed)
    table = pl.DataFrame({"customers": draw.integers(1, 10_000, 5), "rank": range(1, 6)})
    table = table.with_columns(monetary_mean=pl.lit(draw.lognormal()), frequency_mean=pl.lit(draw.lognormal()))
    kinds = [Indicator(kind, kind, ("monetary", "frequency")) for kind in ("ratio", "peak", "leading")]
    found = evaluate(kinds, table)
    assert [one["ratio"] for one in found] == [1.0] * 5
    assert [one["peak"] for one in found] == [1.0] * 5
    assert [one["leading"] for one in found] == [1, 2, 3, 4, 5]


def test_a_quotient_by_nothing_is_endless_unless_nothing_is_divided() -> None:
    table = three_segments(a_mean=[0.0, 3.0, 4.0], b_mean=[0.0, 0.0, 2.0])
    found = evaluate([Indicator("it", "quotient", ("a", "b"))], table)
    assert [one["it"] for one in found] == [0.0, math.inf, 2.0]


def test_equal_standings_are_placed_by_rank() -> None:
    table = three_segments().with_columns(monetary_mean=pl.lit(5.0))
    found = evaluate([Indicator("it", "from_top", ("monetary",))], table)
    assert [one["it"] for one in found] == [3, 2, 1]


def test_an_indicator_without_any_measure_there_is_refused() -> None:
    with pytest.raises(ColumnsMissingError, match=r"indicator 'it': no column 'tenure_days'.*segments\.rules"):
        evaluate([Indicator("it", "ratio", ("tenure_days",))], three_segments())


def test_a_quotient_needs_both_measures() -> None:
    with pytest.raises(ColumnsMissingError, match="no column 'tenure_days'"):
        evaluate([Indicator("it", "quotient", ("monetary", "tenure_days"))], three_segments())


def test_a_segment_without_any_value_for_an_indicator_is_refused() -> None:
    table = three_segments(score_mean=[None, 1.0, 2.0], score_missing=[50, 0, 0])
    with pytest.raises(DataError, match="no customer of cluster 0 has a value of score"):
        evaluate([Indicator("it", "ratio", ("score",))], table)
