from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from engine import bundle as bundle_file
from engine.bundle import load_bundle, save_bundle
from engine.clustering.nearest import two_nearest
from engine.errors import BundleError, DataError, OutputExistsError, SettingError, SourceNotFoundError
from engine.features.matrix import FeatureSpec, feature_set
from engine.segments.model import SegmentModel
from engine.segments.novelty import LEVELS, FittedDistances
from tests.delivery.segments_example import make_segments
from tests.reference import nearest_twin


def make_customers(seed: int, n: int = 200) -> pl.DataFrame:
    values = np.random.default_rng(seed).lognormal(3, 1, size=(n, 2))
    return pl.DataFrame(values, schema=["frequency", "monetary"]).with_row_index("customer_id")


def make_model(seed: int = 0, k: int = 3) -> SegmentModel:
    customers = make_customers(seed)
    spec = FeatureSpec.fit(customers, feature_set(["frequency", "monetary"]))
    centroids = np.asarray(spec.transform(customers)[:k], dtype=np.float64)
    near = two_nearest(spec.transform(customers), centroids)
    distances = FittedDistances.fit(near.first, near.first_distance, k)
    return SegmentModel(spec, centroids, make_segments(k), distances, {"window_days": 365, "as_of": "2024-01-01"})


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [1, 2, 5])
def test_two_nearest_equals_brute_force(seed: int, k: int) -> None:
    draw = np.random.default_rng(seed)
    # More rows than a block, so that the seam between blocks is crossed.
    X, C = draw.normal(size=(20_000, 3)).astype(np.float32), draw.normal(size=(k, 3))
    near = two_nearest(X, C)
    for row in [0, 1, 16_383, 16_384, 19_999]:
        distances = [math.dist(X[row].astype(float), c) for c in C]
        order = sorted(range(k), key=distances.__getitem__)
        assert near.first[row] == order[0]
        assert near.first_distance[row] == pytest.approx(distances[order[0]])
        if k > 1:
            assert near.second[row] == order[1]
            assert near.margin[row] == pytest.approx(1 - distances[order[0]] / distances[order[1]])
            assert 0 <= near.margin[row] <= 1
        else:
            assert near.second[row] == -1


def test_ties_go_to_the_lower_index_and_twins_leave_no_margin() -> None:
    near = two_nearest(np.zeros((1, 1), np.float32), np.array([[1.0], [-1.0]]))
    assert (near.first[0], near.second[0], near.margin[0]) == (0, 1, 0.0)
    near = two_nearest(np.zeros((1, 1), np.float32), np.zeros((2, 1)))
    assert (near.first[0], near.second[0], near.margin[0]) == (0, 1, 0.0)


@pytest.mark.parametrize("seed", range(4))
def test_one_customer_and_the_base_get_the_same_answer(seed: int) -> None:
    model, customers = make_model(seed, k=1 + 2 * seed), make_customers(seed + 50, n=1000)
    table = model.assign(customers)
    for row, values in zip(table.to_dicts(), customers.to_dicts(), strict=True):
        one = model.classify({name: values[name] for name in model.spec.names})
        # To the last bit.
        said = {name: getattr(one, name) for name in ("segment_id", "distance", "margin", "second_segment_id", "novel")}
        assert said == {name: row[name] for name in said}
        assert one.window_days == 365


@pytest.mark.parametrize(("seed", "k"), [(0, 1), (1, 2), (2, 7)])
def test_one_customer_takes_the_steps_of_a_base(seed: int, k: int) -> None:
    model = make_model(seed, k)
    for values in make_customers(seed + 9, n=200).drop("customer_id").to_dicts():
        one = model.classify(values)
        for name, expected in nearest_twin.classify(model, values).items():
            assert getattr(one, name) == expected, name


def test_a_customer_unlike_all_others_is_told() -> None:
    model = make_model()
    near, far = model.classify({"frequency": 20, "monetary": 20}), model.classify({"frequency": 1e9, "monetary": 0})
    assert (far.novel, far.distance_percentile) == (True, 1.0)
    assert not near.novel
    assert 0 < near.distance_percentile < 1
    told = far.to_dict("es")
    assert (told["novel"], told["distance_percentile"], told["neighbour_agreement"]) == (True, 1.0, None)
    assert json.loads(json.dumps(told)) == told
    both = pl.DataFrame({"customer_id": [1, 2], "frequency": [20.0, 1e9], "monetary": [20.0, 0.0]})
    assert model.assign(both)["novel"].to_list() == [False, True]


def test_centroids_of_one_point_leave_no_margin() -> None:
    model = make_model()
    twins = replace(model, centroids=np.zeros((3, 2)))
    centre = {column.name: math.expm1(column.center) for column in model.spec.columns}
    one = twins.classify(centre)
    assert (one.segment_id, one.second_segment_id) == ("seg-000000", "seg-000001")
    assert one.margin == pytest.approx(0, abs=1e-6)
    assert one.margin == twins.assign(pl.DataFrame([{"customer_id": 1, **centre}]))["margin"][0]


def test_assignments_are_sorted_by_customer_and_speak_the_language() -> None:
    model, customers = make_model(), make_customers(0)
    shuffled = customers.sample(fraction=1, shuffle=True, seed=3)
    table = model.assign(shuffled, language="es")
    assert table.equals(model.assign(customers, language="es"))
    assert table.columns == ["customer_id", "segment_id", "name", "distance", "margin", "second_segment_id", "novel"]
    assert table["name"].str.starts_with("Nombre").all()
    with pytest.raises(SettingError, match="language: expected one of en, es"):
        model.assign(customers, language="de")


def test_a_model_of_one_segment_has_no_second() -> None:
    model = make_model(k=1)
    table = model.assign(make_customers(0))
    assert table["second_segment_id"].null_count() == table["margin"].null_count() == table.height
    one = model.classify({"frequency": 1, "monetary": 1})
    assert (one.margin, one.second, one.to_dict()["second_name"]) == (None, None, None)


def test_a_bundle_reads_back_as_it_was(tmp_path) -> None:
    model = make_model()
    again = load_bundle(save_bundle(model, tmp_path / "bundle", engine_version="1.2.3"))
    assert again.spec == model.spec
    assert again.segments == model.segments
    assert again.facts == model.facts
    assert (again.centroids == model.centroids).all()
    assert (again.distances.quantiles == model.distances.quantiles).all()
    assert again.assign(make_customers(5)).equals(model.assign(make_customers(5)))


def test_the_same_model_gives_the_same_bytes(tmp_path) -> None:
    for name in ("one", "two"):
        save_bundle(make_model(), tmp_path / name, engine_version="1.2.3")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["centroids.npy", "distances.npy", "manifest.json", "segments.json", "spec.json"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("name", ["manifest.json", "spec.json", "centroids.npy", "distances.npy", "segments.json"])
def test_any_changed_byte_is_found(tmp_path, name: str) -> None:
    bundle = save_bundle(make_model(), tmp_path / "bundle", engine_version="1.2.3")
    content = (bundle / name).read_bytes()
    for position in range(0, len(content), max(1, len(content) // 40)):
        changed = bytearray(content)
        changed[position] ^= 1
        (bundle / name).write_bytes(bytes(changed))
        with pytest.raises(BundleError, match=str(bundle)):
            load_bundle(bundle)
    (bundle / name).write_bytes(content)
    assert load_bundle(bundle).k == 3


def test_parts_that_do_not_fit_are_refused() -> None:
    model = make_model()
    for parts in (
        {"centroids": model.centroids[:2]},
        {"centroids": np.full((3, 2), np.nan)},
        {"segments": model.segments[:2]},
        {"segments": ()},
        {"distances": make_model(k=2).distances},
    ):
        with pytest.raises(DataError, match="expected finite centroids of shape"):
            replace(model, **parts)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("centroids.npy", np.zeros((3, 5))),
        ("centroids.npy", np.full((3, 2), np.inf)),
        ("distances.npy", np.zeros((3, 7))),
        ("distances.npy", np.zeros((2, len(LEVELS)))),
        ("distances.npy", np.full((3, len(LEVELS)), np.nan)),
        ("distances.npy", np.array(["a"])),
    ],
)
def test_a_bundle_that_was_written_wrong_is_refused(tmp_path, monkeypatch, name: str, array: np.ndarray) -> None:
    # Its checksums are right, so only its meaning is wrong.
    model = make_model()
    given = {"centroids.npy": model.centroids, "distances.npy": model.distances.quantiles}
    written = bundle_file._npy

    def npy(values):
        if values is not given[name]:
            return written(values)
        buffer = io.BytesIO()
        np.save(buffer, array)
        return buffer.getvalue()

    monkeypatch.setattr(bundle_file, "_npy", npy)
    bundle = save_bundle(model, tmp_path / "bundle", engine_version="1")
    with pytest.raises(BundleError, match="do not say what a model needs"):
        load_bundle(bundle)


@pytest.mark.parametrize("name", ["spec.json", "centroids.npy", "distances.npy", "segments.json"])
def test_a_missing_file_is_found(tmp_path, name: str) -> None:
    bundle = save_bundle(make_model(), tmp_path / "bundle", engine_version="1.2.3")
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        load_bundle(bundle)


def test_another_version_says_which(tmp_path) -> None:
    bundle = save_bundle(make_model(), tmp_path / "bundle", engine_version="1.2.3")
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "version": 9}))
    with pytest.raises(BundleError, match=r"of version 9, but this release reads version 2.*1\.2\.3"):
        load_bundle(bundle)


def test_no_bundle_and_another_json(tmp_path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"expected a folder with manifest\.json"):
        load_bundle(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_text('{"format": "something"}')
    with pytest.raises(BundleError, match="not of a cartera-bundle"):
        load_bundle(tmp_path)


def test_a_bundle_replaces_a_bundle_and_nothing_else(tmp_path) -> None:
    save_bundle(make_model(k=2), tmp_path / "bundle", engine_version="1")
    save_bundle(make_model(k=3), tmp_path / "bundle", engine_version="1")
    assert load_bundle(tmp_path / "bundle").k == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExistsError, match="something else is there"):
        save_bundle(make_model(), tmp_path / "mine", engine_version="1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "mine"]


def test_a_failed_write_leaves_the_old_bundle(tmp_path) -> None:
    model = make_model()
    bundle = save_bundle(model, tmp_path / "bundle", engine_version="1")
    broken = SegmentModel(model.spec, model.centroids, model.segments, model.distances, {"inertia": math.nan})
    with pytest.raises(ValueError, match="JSON"):
        save_bundle(broken, bundle, engine_version="1")
    assert load_bundle(bundle).facts == model.facts
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_customer_without_a_variable_is_refused() -> None:
    with pytest.raises(DataError, match="no value for monetary"):
        make_model().classify({"frequency": 2})
