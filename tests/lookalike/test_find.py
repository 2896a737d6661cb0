"""The list as a whole: who is in it, in which order, why, and what is said of it."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from engine.errors import ColumnsMissingError, DataError, SettingError
from engine.lookalike import find_lookalikes
from engine.lookalike.find import TYPICAL
from tests.lookalike.people import people, seeds_and_prospects


def ids(values: list[object], **columns: list[object]) -> pl.DataFrame:
    return pl.DataFrame({"customer_id": values, **columns})


@pytest.mark.parametrize("seed", range(2))
def test_those_like_the_seeds_come_first(seed: int) -> None:
    seeds, prospects, alike = seeds_and_prospects(seed)
    found = find_lookalikes(seeds, prospects, k=90, seed=seed)
    who = dict(zip(prospects["customer_id"], alike, strict=True))
    hit = np.mean([who[one] for one in found.table["customer_id"]])
    # A fifth of the prospects are like the seeds; in the best tenth they are at least half as many again.
    assert hit > 1.5 * alike.mean()
    assert found.evidence is not None
    assert found.evidence.auc_low > 0.55


def test_the_table() -> None:
    seeds, prospects, _ = seeds_and_prospects(0)
    found = find_lookalikes(seeds, prospects, k=50)
    table = found.table
    assert table.columns == ["customer_id", "rank", "similarity", "nearest_seed_distance", "shared"]
    assert table["rank"].to_list() == list(range(1, 51))
    assert table["customer_id"].n_unique() == 50
    assert table["customer_id"].is_in(prospects["customer_id"].implode()).all()
    keys = table.select(-pl.col("similarity"), "nearest_seed_distance", "customer_id").rows()
    assert keys == sorted(keys)
    assert table["similarity"].is_between(0, 1).all()
    assert table["nearest_seed_distance"].is_between(0, 1).all()


def test_a_longer_list_begins_with_the_shorter_one() -> None:
    seeds, prospects, _ = seeds_and_prospects(5)
    tables = [find_lookalikes(seeds, prospects, k=k).table for k in (1, 40, 10_000)]
    assert tables[2].height == prospects.height
    for table in tables:
        assert table.equals(tables[2].head(table.height))


def test_same_people_same_bytes_on_any_number_of_threads() -> None:
    from threadpoolctl import threadpool_limits

    seeds, prospects, _ = seeds_and_prospects(6)
    results = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found = find_lookalikes(seeds, prospects, k=200, threads=threads)
        results.append((found.table, json.dumps(found.to_dict())))
    assert results[0][0].equals(results[1][0])
    assert results[0][1] == results[1][1]


def test_what_is_shared_is_typical_of_the_seeds_by_a_recount() -> None:
    seeds, prospects, _ = seeds_and_prospects(7)
    found = find_lookalikes(seeds, prospects, k=300, columns=["age", "home"])
    values = {row["customer_id"]: row for row in prospects.iter_rows(named=True)}
    assert any(found.table["shared"].list.len() == 2)
    for one, shared in found.table.select("customer_id", "shared").iter_rows():
        for name in ("age", "home"):
            value = values[one][name]
            if value is None:
                assert name not in shared
                continue
            in_seeds, in_all = ((table[name] == value).sum() / table.height for table in (seeds, prospects))
            if name in shared:
                assert in_seeds >= TYPICAL * in_all
            elif in_seeds >= 2 * in_all:
                pytest.fail(f"{name}={value} is twice as frequent among the seeds")


def test_noise_is_shared_by_nobody() -> None:
    shared = []
    for seed in range(10):
        seeds, prospects, _ = seeds_and_prospects(seed)
        found = find_lookalikes(seeds, prospects, k=10_000, columns=["noise"])
        shared.append("noise" in {name for names in found.table["shared"] for name in names})
    # Four values at 5 % each, ten times: two are to be expected, and a threshold of 1.2 alone would give five.
    assert sum(shared) <= 4


def test_seeds_and_customers_are_not_in_the_list_however_their_ids_are_written() -> None:
    seeds = ids([1, 2, 3], age=[30, 40, 50])
    prospects = ids(["1", "2.0", " 7", "8", "9"], age=[30, 41, 52, 33, 44])
    found = find_lookalikes(seeds, prospects, customers=pl.Series([8.0, 77.0]), columns=["age"])
    assert sorted(found.table["customer_id"]) == [" 7", "9"]
    assert found.counts["prospects"] == {"rows": 5, "repeated": 0, "without_id": 0, "customers": 3, "ranked": 2}


def test_seeds_in_the_reference_are_left_out_of_it() -> None:
    seeds, prospects, _ = seeds_and_prospects(8)
    others = people(400, 9, first_id=5000).drop("alike")
    with_seeds = find_lookalikes(seeds, prospects, reference=pl.concat([others, seeds]))
    without = find_lookalikes(seeds, prospects, reference=others)
    assert with_seeds.table.equals(without.table)
    assert with_seeds.counts["reference"] == {"rows": 400, "fitted_on": 400}


def test_rows_without_an_id_and_repeated_ones_are_told() -> None:
    seeds, prospects, _ = seeds_and_prospects(10)
    nobody = prospects.head(3).with_columns(pl.lit(None, dtype=pl.Int64).alias("customer_id"))
    found = find_lookalikes(pl.concat([seeds, seeds.head(5)]), pl.concat([prospects, prospects.head(2), nobody]))
    assert found.table.equals(find_lookalikes(seeds, prospects).table)
    said = " ".join(note.en for note in found.notes)
    assert "Among the seeds 5 rows repeat a customer_id" in said
    assert "Among the prospects 2 rows repeat a customer_id (the first one counts) and 3 have none" in said


def test_large_sides_are_sampled_and_the_list_stays() -> None:
    seeds, prospects = people(21_000, 1, like_seeds=1.0), people(30_000, 2, like_seeds=0.2, first_id=10**6)
    found = find_lookalikes(seeds.drop("alike"), prospects.drop("alike"), k=1000, columns=["age", "home"])
    assert found.counts["reference"] == {"rows": 30_000, "fitted_on": 20_000}
    who = dict(zip(prospects["customer_id"], prospects["alike"], strict=True))
    assert np.mean([who[one] for one in found.table["customer_id"]]) > 0.35


def test_everything_but_the_list_goes_into_json_and_names_nobody() -> None:
    seeds, prospects, _ = seeds_and_prospects(11)
    email = [f"person{one}@example.org" for one in range(prospects.height)]
    prospects = prospects.with_columns(pl.Series("mail_address", email))
    seeds = seeds.with_columns(pl.Series("mail_address", email[: seeds.height]))
    content = find_lookalikes(seeds, prospects).to_dict()
    text = json.dumps(content, allow_nan=False)
    assert "example.org" not in text
    assert [each["name"] for each in content["columns"]] == ["age", "income", "home", "noise"]
    assert [each["name"] for each in content["left_out"]] == ["mail_address"]
    for each in content["columns"]:
        for side in ("share_seeds", "share_reference"):
            assert sum(level[side] for level in each["levels"]) == pytest.approx(1)
    assert set(content["evidence"]["verdict"]) == {"en", "es"}


# What is said


def notes(seeds: pl.DataFrame, prospects: pl.DataFrame, **options: object) -> str:
    return " ".join(note.en for note in find_lookalikes(seeds, prospects, **options).notes)


def test_few_seeds_and_a_list_longer_than_the_prospects() -> None:
    seeds, prospects, _ = seeds_and_prospects(12)
    # Which tables came from files, and may have been swapped, only the command line knows.
    assert "swapped" not in notes(seeds, prospects.head(100))
    assert "9 seeds are few" in notes(seeds.head(9), prospects)
    assert "the list holds all 900 prospects" in notes(seeds, prospects, k=901)
    assert "similarity under 0.5" in notes(seeds, prospects, k=900)


def test_a_column_that_gives_the_tables_away_is_told() -> None:
    seeds, prospects, _ = seeds_and_prospects(13)
    filled = [seeds.with_columns(src=pl.lit("crm")), prospects.with_columns(src=pl.lit("bought"))]
    tables = [
        table.with_columns(pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("web")).otherwise("src").alias("src"))
        for table in filled
    ]
    assert "src alone tells seeds from the reference" in notes(*tables)
    emptied = prospects.with_columns(pl.when(pl.int_range(pl.len()) % 2 == 0).then("age").alias("age"))
    assert "age is missing for 0% of the seeds and 50% of the reference" in notes(seeds, emptied)


# Bad input


def test_errors_say_what_to_do() -> None:
    seeds, prospects, _ = seeds_and_prospects(14, n=40, m=60)
    with pytest.raises(DataError, match=r"seeds: expected at least two seeds .* got 1"):
        find_lookalikes(seeds.head(1), prospects)
    with pytest.raises(DataError, match="at least two seeds"):
        find_lookalikes(pl.concat([seeds.head(1)] * 3), prospects)
    with pytest.raises(
        DataError,
        match=r"prospects: expected .* all 40 prospects are customers already .* keep_customers=true",
    ):
        find_lookalikes(seeds, seeds)
    with pytest.raises(DataError, match=r"reference: expected .* everybody in the reference is a seed"):
        find_lookalikes(seeds, prospects, reference=seeds)
    with pytest.raises(
        DataError,
        match=r"columns: expected .* no column tells people apart \(age: it has the same value for everybody\)",
    ):
        find_lookalikes(*(table.with_columns(age=pl.lit("25-34")) for table in (seeds, prospects)), columns=["age"])
    with pytest.raises(ColumnsMissingError, match="prospects: no column 'customer_id'"):
        find_lookalikes(seeds, prospects.rename({"customer_id": "id"}))
    with pytest.raises(DataError, match="customer_id should be whole numbers or text; it is Boolean"):
        find_lookalikes(seeds.with_columns(customer_id=True), prospects)
    with pytest.raises(DataError, match="expected a Polars DataFrame; got list"):
        find_lookalikes([1, 2], prospects)
    for k in (0, -1, 2.5, True, "10"):
        with pytest.raises(SettingError, match=rf"k: expected .* whole number from 1; got {k!r}"):
            find_lookalikes(seeds, prospects, k=k)
    with pytest.raises(
        SettingError, match=r"columns: expected a list of column names; got 'age'. One: columns=\[age\]"
    ):
        find_lookalikes(seeds, prospects, columns="age")
    with pytest.raises(SettingError, match=r"codes: expected a list of column names; got 'home'"):
        find_lookalikes(seeds, prospects, codes="home")
    with pytest.raises(SettingError, match=r"codes: expected a list of column names; got \[\['home'\]\]"):
        find_lookalikes(seeds, prospects, codes=[["home"]])
    with pytest.raises(SettingError, match=r"columns: expected names, .* got an empty list"):
        find_lookalikes(seeds, prospects, columns=[])


def test_extreme_values_and_a_single_prospect() -> None:
    seeds = ids([1, 2, 3, 4], worth=[1e308, -1e308, 0.5, None])
    found = find_lookalikes(seeds, ids([9], worth=[1e308]), columns=["worth"])
    assert found.table["customer_id"].to_list() == [9]
    assert found.evidence is None
    assert found.table["nearest_seed_distance"].item() == 0
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_callers_tables_are_left_alone() -> None:
    seeds, prospects, _ = seeds_and_prospects(15)
    before = seeds.clone(), prospects.clone()
    find_lookalikes(seeds, prospects)
    assert seeds.equals(before[0])
    assert prospects.equals(before[1])


@pytest.mark.parametrize("seed", [-1, 2**31, 2**70, 1.5, True])
def test_a_seed_that_cannot_be_drawn_by(seed: int) -> None:
    seeds, prospects, _ = seeds_and_prospects(0)
    with pytest.raises(SettingError, match="seed: expected a whole number from 0"):
        find_lookalikes(seeds, prospects, k=5, seed=seed)
