from __future__ import annotations

import json
from datetime import date

import numpy as np
import polars as pl
import pytest

from engine.customer_base import CustomerBase, model_digest
from engine.customer_rows import SortedIds
from engine.errors import BundleError, ColumnsMissingError, DataError, OutputExistsError, SettingError
from engine.features.matrix import FeatureSpec, feature_set
from engine.plane import Plane
from engine.segments.model import SegmentModel
from engine.segments.novelty import FittedDistances
from tests.delivery.segments_example import make_segments
from tests.reference.neighbours_twin import nearest


def make_customers(seed: int, n: int = 300, *, text: bool = False) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    values = draw.lognormal(3, 1, size=(n, 2))
    ids = draw.permutation(3 * n)[:n]
    return pl.DataFrame(
        {
            "town": pl.Series([f"Town {number % 7}" for number in ids]),
            "frequency": values[:, 0],
            "monetary": values[:, 1],
            "customer_id": pl.Series([f"ñ/{number}%" for number in ids] if text else ids),
            "since": pl.Series([date(2020, 1, 1 + number % 28) for number in ids]),
            "visits": pl.Series(ids % 5, dtype=pl.Int32),
            "orders": pl.Series([[1, 2]] * n),
        }
    )


def make_model(seed: int = 0, k: int = 3) -> SegmentModel:
    customers = make_customers(seed)
    spec = FeatureSpec.fit(customers, feature_set(["frequency", "monetary"]))
    matrix = spec.transform(customers)
    fitted = FittedDistances.fit(np.arange(300) % k, np.linspace(0.01, 2, 300), k)
    centroids = matrix[:k].astype(np.float64)
    return SegmentModel(
        spec=spec, centroids=centroids, segments=make_segments(k), distances=fitted, facts={"window_days": 365}
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("text", [False, True])
def test_a_base_says_of_each_customer_what_the_model_says(seed: int, text: bool) -> None:
    model, customers = make_model(), make_customers(seed, text=text)
    base = CustomerBase.build(customers, model)
    assert base.n == 300
    assert base.columns == [
        *("customer_id", "frequency", "monetary", "town", "since", "visits"),
        *("cluster", "distance", "margin", "second", "novel"),
    ]
    assigned = {row["customer_id"]: row for row in model.assign(customers).to_dicts()}
    for given in customers.to_dicts():
        row = base.row(given["customer_id"])
        assert row is not None
        known, expected = base.customer(row), assigned[given["customer_id"]]
        assert {name: known[name] for name in base.columns[:6]} == {name: given[name] for name in base.columns[:6]}
        assert model.segments[known["cluster"]].segment_id == expected["segment_id"]
        assert model.segments[known["second"]].segment_id == expected["second_segment_id"]
        assert known["distance"] == np.float32(expected["distance"])
        assert known["margin"] == np.float32(expected["margin"])
        assert known["novel"] is expected["novel"]
    assert base.counts == dict(model.assign(customers)["segment_id"].value_counts().sort("segment_id").iter_rows())


def test_rows_go_by_id_and_strangers_have_none() -> None:
    numbers = CustomerBase.build(make_customers(1), make_model())
    ids = [numbers.customer(row)["customer_id"] for row in range(300)]
    assert ids == sorted(ids)
    for stranger in [-1, 10_000, 2**70, "042", "1_0", "", "٣", "1e3", " 7", *(set(range(900)) - set(ids))]:
        assert numbers.row(stranger) is None
    assert [numbers.row(str(number)) for number in ids] == list(range(300))
    texts = CustomerBase.build(make_customers(1, text=True), make_model())
    for row in range(300):
        assert texts.row(texts.customer(row)["customer_id"]) == row
    for stranger in ["", "ñ/", "ñ/1000000%", "zzz", "\U0001f600", 5]:
        assert texts.row(stranger) is None
    for wrong in (None, 1.5, True, b"x"):
        with pytest.raises(DataError, match="expected a whole number or text"):
            numbers.row(wrong)  # type: ignore[arg-type]


def test_texts_are_found_in_the_order_polars_gives_them() -> None:
    texts = ["", "A", "a", "aa", "é", "z", "ﬀ", "\U0001f600", "\ue000", "10", "9", "a\x00b"]
    ids = SortedIds(pl.Series(texts).sort())
    assert sorted(ids.row(text) for text in texts) == list(range(len(texts)))
    assert SortedIds(pl.Series(["007", "7"])).row(7) == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["flat", "ivf", "ivf_pq"])
def test_similar_customers_are_those_that_looking_at_every_pair_finds(seed: int, kind: str) -> None:
    model = make_model()
    base = CustomerBase.build(make_customers(seed), model, kind=kind)
    matrix = base.coordinates(np.arange(base.n))
    clusters = np.array([base.customer(row)["cluster"] for row in range(base.n)])
    for who in (0, 17, 299):
        for segment in (None, 0, 2, "seg-000001"):
            cluster = {"seg-000001": 1}.get(segment, segment)  # type: ignore[arg-type]
            others = np.flatnonzero((np.arange(base.n) != who) & ((clusters == cluster) | (cluster is None)))
            rows, distances = nearest(matrix[who : who + 1], matrix[others], others, 6)
            found = base.similar(who, 6, segment=segment)
            expected = [base.customer(row)["customer_id"] for row in rows[0]]
            assert len(found) == min(6, len(others))
            if kind == "flat" or segment is not None:
                assert found["customer_id"].to_list() == expected
                assert found["distance"].to_list() == distances[0].tolist()
            assert found["similarity"].to_list() == (1 / (1 + found["distance"])).to_list()
            assert found["segment_id"].to_list() == [
                model.segments[clusters[base.row(each)]].segment_id for each in found["customer_id"]
            ]


def test_codes_of_a_byte_propose_and_coordinates_decide() -> None:
    customers, model = make_customers(0, 4_000), make_model()
    flat, codes = (CustomerBase.build(customers, model, kind=kind) for kind in ("flat", "ivf_pq"))
    same = [codes.similar(row, 6).equals(flat.similar(row, 6)) for row in range(200)]
    assert np.mean(same) > 0.95


def test_a_far_or_small_segment_is_looked_through_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.customer_base.WIDE", 8)
    base = CustomerBase.build(make_customers(0, 1_200), make_model(k=5))
    clusters = np.array([base.customer(row)["cluster"] for row in range(base.n)])
    matrix = base.coordinates(np.arange(base.n))
    # More are asked for than the smallest segment has, by some who belong to it.
    smallest = int(np.bincount(clusters).min())
    assert 4 * (smallest + 9) < base.n
    for who in [*range(0, 1_200, 150), *np.flatnonzero(clusters == np.bincount(clusters).argmin())[:3]]:
        for cluster in range(5):
            others = np.flatnonzero((np.arange(1_200) != who) & (clusters == cluster))
            for k in (4, smallest + 9):
                rows, _ = nearest(matrix[who : who + 1], matrix[others], others, k)
                expected = [base.customer(row)["customer_id"] for row in rows[0]]
                assert base.similar(who, k, segment=cluster)["customer_id"].to_list() == expected


def test_somebody_given_by_values_or_coordinates_is_compared_with_everybody() -> None:
    base = CustomerBase.build(make_customers(0), make_model())
    known = base.customer(5)
    values = {name: known[name] for name in ("frequency", "monetary")}
    found = base.similar(values, 3)
    assert found["customer_id"][0] == known["customer_id"]
    assert found["similarity"][0] == 1.0
    assert base.similar(base.coordinates([5])[0], 3).equals(found)
    # Without itself, the others follow in the same order.
    assert base.similar(5, 2)["customer_id"].to_list() == found["customer_id"].to_list()[1:]
    assert base.similar(5, 1_000).height == 299


def test_neighbours_vote_on_a_segment() -> None:
    model = make_model()
    base = CustomerBase.build(make_customers(0), model)
    rows = np.arange(300)
    matrix = base.coordinates(rows)
    clusters = np.array([base.customer(row)["cluster"] for row in rows])
    voters, _ = nearest(matrix, matrix, rows, 11)
    with_itself = base.agreement(matrix, clusters, 10)
    without = base.agreement(matrix, clusters, 10, rows=rows)
    for row in range(300):
        assert with_itself[row] == (clusters[voters[row][:10]] == clusters[row]).mean()
        assert without[row] == (clusters[[each for each in voters[row] if each != row][:10]] == clusters[row]).mean()
    assert (base.agreement(matrix[:9], (clusters[:9] + 1) % 3, 10) <= 1 - with_itself[:9] + 1e-12).all()
    # Centroids lie among their own.
    assert (base.agreement(model.centroids, np.arange(3), 5) == 1).all()
    alone = CustomerBase.build(make_customers(0, 1), model)
    assert alone.agreement(alone.coordinates([0]), [0]).tolist() == [1.0]
    assert np.isnan(alone.agreement(alone.coordinates([0]), [0], rows=[0])).all()


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_an_opened_base_answers_as_the_one_in_memory(text: bool, kind: str, tmp_path) -> None:
    model, customers = make_model(), make_customers(2, text=text)
    customers = customers.with_columns(pl.when(pl.col("visits") > 3).then(None).otherwise("town").alias("town"))
    base = CustomerBase.build(customers, model, kind=kind)
    opened = CustomerBase.open(base.save(tmp_path / "customers"), model)
    assert (opened.n, opened.columns, opened.digest, opened.counts) == (base.n, base.columns, base.digest, base.counts)
    assert opened.plane == base.plane
    for row in range(300):
        assert opened.customer(row) == base.customer(row)
        assert opened.row(base.customer(row)["customer_id"]) == row
    for who in (3, 200):
        assert opened.similar(who, 20).equals(base.similar(who, 20))
        assert opened.similar(who, 20, segment=1).equals(base.similar(who, 20, segment=1))
    assert opened.sample(50, 1).equals(base.sample(50, 1))
    # A map cannot be written to; a removal copies.
    assert opened.remove([base.customer(0)["customer_id"]]) == 1
    assert CustomerBase.open(tmp_path / "customers", model).n == 300


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_whoever_is_removed_is_in_no_file(mapped: bool, kind: str, tmp_path) -> None:
    model, customers = make_model(), make_customers(3, text=True)
    base = CustomerBase.build(customers, model, kind=kind)
    base.save(tmp_path / "customers")
    if mapped:
        base = CustomerBase.open(tmp_path / "customers", model)
    gone = [base.customer(row)["customer_id"] for row in (0, 150, 299)]
    marks = [base.coordinates([row]).tobytes() for row in (0, 150, 299)]
    marks += [np.float64(base.customer(row)["monetary"]).tobytes() for row in (0, 150, 299)]
    marks += [text.encode() for text in gone]

    def on_disk() -> int:
        files = [file.read_bytes() for file in (tmp_path / "customers").rglob("*") if file.is_file()]
        return sum(any(mark in file for file in files) for mark in marks)

    assert on_disk() == 9
    staying = {base.customer(row)["customer_id"]: base.customer(row) for row in range(300) if row not in (0, 150, 299)}
    assert base.remove([*gone, "nobody"]) == 3
    assert base.remove(gone) == 0
    assert base.save(tmp_path / "customers") == tmp_path / "customers"
    assert on_disk() == 0
    for left in (base, CustomerBase.open(tmp_path / "customers", model)):
        assert left.n == 297
        assert [left.row(each) for each in gone] == [None] * 3
        assert {row["customer_id"]: row for row in map(left.customer, range(297))} == staying
        fresh = CustomerBase.build(customers.filter(~pl.col("customer_id").is_in(gone)), model)
        assert sum(left.similar(row, 1).equals(fresh.similar(row, 1)) for row in range(297)) > 290


def test_everybody_may_be_removed(tmp_path) -> None:
    model = make_model()
    base = CustomerBase.build(make_customers(0, 5), model)
    assert base.remove([base.customer(row)["customer_id"] for row in range(5)]) == 5
    again = CustomerBase.open(base.save(tmp_path / "customers"), model)
    assert (again.n, again.row(1), again.similar({"frequency": 1, "monetary": 2}, 3).height) == (0, None, 0)
    assert again.sample(10).height == 0


def test_a_base_belongs_to_its_model(tmp_path) -> None:
    model = make_model()
    base = CustomerBase.build(make_customers(0), model).save(tmp_path / "customers")
    other = make_model(seed=1)
    assert model_digest(other) != model_digest(model) == model_digest(make_model())
    with pytest.raises(BundleError, match="assigned with another model"):
        CustomerBase.open(base, other)


@pytest.mark.parametrize("file", ["manifest.json", "customers.arrow", "matrix.npy", "index/manifest.json"])
def test_a_damaged_base_says_which_file(file: str, tmp_path) -> None:
    model = make_model()
    base = CustomerBase.build(make_customers(0), model).save(tmp_path / "customers")
    content = (base / file).read_bytes()
    for spoilt in (content[:-1], b"", content[:-1] + bytes([content[-1] ^ 1])):
        (base / file).write_bytes(spoilt)
        with pytest.raises(BundleError, match=f"{file} is missing or not as it was written"):
            CustomerBase.open(base, model)
    (base / file).write_bytes(content)
    assert CustomerBase.open(base, model).n == 300


def test_the_manifest_lists_every_file_and_counts(tmp_path) -> None:
    base = CustomerBase.build(make_customers(0), make_model()).save(tmp_path / "customers")
    manifest = json.loads((base / "manifest.json").read_text())
    there = {file.relative_to(base).as_posix() for file in base.rglob("*") if file.is_file()}
    assert set(manifest["files"]) == there - {"manifest.json"}
    assert sum(manifest["body"]["counts"].values()) == manifest["body"]["n"] == 300
    with pytest.raises(OutputExistsError, match="something else is there"):
        CustomerBase.build(make_customers(0), make_model()).save(tmp_path)


def test_the_same_customers_in_another_order_give_the_same_bytes(tmp_path) -> None:
    customers = make_customers(4)
    for name, frame in (("one", customers), ("two", customers.sample(fraction=1, shuffle=True, seed=1))):
        CustomerBase.build(frame, make_model()).save(tmp_path / name)
    for file in (tmp_path / "one").rglob("*"):
        if file.is_file():
            assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes()


def test_the_map_keeps_what_a_plane_can() -> None:
    draw = np.random.default_rng(0)
    # Points of a plane in five dimensions: on the map they are as far apart as there.
    flat = draw.normal(size=(200, 2)) @ np.linalg.qr(draw.normal(size=(5, 2)))[0].T + 3
    plane = Plane.fit(flat)
    placed = plane.place(flat)
    apart = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    assert np.allclose(np.linalg.norm(placed[:, None] - placed[None], axis=2), apart, atol=1e-9)
    assert plane.share == pytest.approx(1)
    assert Plane.from_dict(json.loads(json.dumps(plane.to_dict()))) == plane
    one = Plane.fit(np.array([[1.0], [3.0]]))
    assert one.place([[3.0]]).tolist() == [[1.0, 0.0]]
    assert Plane.fit(np.ones((4, 3))).share == 1.0


def test_the_sample_is_of_the_base_and_names_nobody() -> None:
    base = CustomerBase.build(make_customers(0), make_model())
    points = base.sample(100, seed=3)
    assert points.columns == ["x", "y", "cluster"]
    assert points.equals(base.sample(100, seed=3))
    assert not points.equals(base.sample(100, seed=4))
    assert base.sample(10_000).height == 300
    everybody = {tuple(point) for point in base.place_of(base.coordinates(np.arange(300))).tolist()}
    assert set(points.select("x", "y").iter_rows()) <= everybody


def test_a_model_of_one_segment_has_no_second() -> None:
    base = CustomerBase.build(make_customers(0), make_model(k=1))
    assert (base.customer(0)["second"], base.customer(0)["margin"]) == (-1, None)


def test_bad_customers_are_refused_with_what_was_expected() -> None:
    model, customers = make_model(), make_customers(0)
    cases = {
        "no column 'monetary'": customers.drop("monetary"),
        "no column 'customer_id'": customers.drop("customer_id"),
        "margin, novel would be overwritten": customers.with_columns(margin=1, novel=True),
        "no customer in the table": customers.clear(),
        "it is Float64": customers.with_columns(pl.col("customer_id").cast(pl.Float64)),
        "missing in 1 of 300 rows": customers.with_columns(customer_id=pl.Series([None, *range(299)])),
        "1 rows repeat a customer_id": customers.with_columns(customer_id=pl.Series([1, 1, *range(2, 300)])),
        "beyond 64 bits": customers.with_columns(customer_id=pl.Series([2**63, *range(299)], dtype=pl.UInt64)),
        "infinite": customers.with_columns(frequency=pl.Series([np.inf] * 300)),
    }
    for message, frame in cases.items():
        with pytest.raises(DataError, match=message) as caught:
            CustomerBase.build(frame, model)
        assert isinstance(caught.value, ColumnsMissingError) is message.startswith("no column")
    with pytest.raises(DataError, match="expected a Polars DataFrame; got dict"):
        CustomerBase.build(customers.to_dict(), model)  # type: ignore[arg-type]
    base = CustomerBase.build(customers, model)
    for row in (-1, 300, 1.0, None, True):
        with pytest.raises(DataError, match="row: expected a whole number from 0 to 299"):
            base.customer(row)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no value for monetary"):
        base.similar({"frequency": 1.0}, 3)
    for segment in (3, -1, "seg-000009", True):
        with pytest.raises(SettingError, match="segment: expected one of seg-000000"):
            base.similar(0, 3, segment=segment)
    for k in (0, 2.5, True):
        with pytest.raises(SettingError, match="k: expected a whole number of at least 1"):
            base.similar(0, k)


def test_one_id_is_not_taken_for_a_list_of_ids() -> None:
    base = CustomerBase.build(make_customers(0).with_columns(customer_id=pl.int_range(300)), make_model())
    for wrong in ("42", b"42", 42, None):
        with pytest.raises(DataError, match=r"ids: expected a list of customer ids; got .* remove\(\[id\]\)"):
            base.remove(wrong)  # type: ignore[arg-type]
    for mixed in ([42, [7]], [42, 1.5], [42, None]):
        with pytest.raises(DataError, match="expected a whole number or text"):
            base.remove(mixed)  # type: ignore[list-item]
    # Of those before the wrong one nobody is gone.
    assert base.n == 300
    assert base.remove(["42"]) == 1


def test_what_a_killed_save_left_of_the_customers_goes_with_the_next_one(tmp_path) -> None:
    base = CustomerBase.build(make_customers(0), make_model())
    left = tmp_path / f".customers.{'0' * 32}" / "index"
    left.mkdir(parents=True)
    (left.parent / "customers.arrow").write_bytes(b"persons")
    base.save(tmp_path / "customers")
    assert [path.name for path in tmp_path.iterdir()] == ["customers"]
