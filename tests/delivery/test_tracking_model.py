from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine import __version__
from engine.bundle import save_bundle
from engine.errors import BundleError, ColumnsMissingError, DataError, SettingError, SourceNotFoundError
from engine.segments.model import SegmentModel
from engine.tracking import open_tracker
from engine.tracking.model import predict
from tests.delivery.tracking_example import client, make_bundle, make_customers, make_model, make_store

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[SegmentModel, str, Path, str]:
    """A model in a store: the model, the store's address, its folder and the model's id."""
    folder = tmp_path_factory.mktemp("store")
    model, bundle = make_bundle(folder / "run")
    uri = make_store(folder)
    with open_tracker(uri, run_name="x") as tracker, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        tracker.params({"k": model.k})
        tracker.child("k=3", {"k": 3}, {"inertia": 1.0}, texts={"centroids.csv": "frequency,monetary\n1,2\n"})
        tracker.artifacts(bundle, into="bundle")
        model_id = tracker.model(bundle)
        assert tracker.model(bundle, registered_name="test") == model_id
        assert tracker.model(bundle, registered_name="test") == model_id
    assert model_id is not None
    return model, uri, folder, model_id


def loaded(uri: str, model_id: str) -> Any:
    import mlflow

    location = client(uri).get_logged_model(model_id).artifact_location
    return mlflow.pyfunc.load_model(location)


def test_the_logged_model_says_what_the_bundle_says(logged: tuple[SegmentModel, str, Path, str]) -> None:
    model, uri, _, model_id = logged
    customers = make_customers(n=150, seed=3).sample(fraction=1, shuffle=True, seed=1)
    answer = loaded(uri, model_id).predict(customers.drop("customer_id").to_pandas(), params={"language": "es"})
    expected = model.assign(customers.with_columns(customer_id=pl.int_range(150)), language="es")
    assert list(answer.columns) == expected.columns[1:]
    for column in answer.columns:
        assert answer[column].to_list() == expected[column].to_list()


def test_the_logged_model_is_described(logged: tuple[SegmentModel, str, Path, str]) -> None:
    model, uri, folder, model_id = logged
    described = loaded(uri, model_id).metadata
    assert [(c.name, c.type.name) for c in described.signature.inputs] == [
        (name, "double") for name in model.spec.names
    ]
    outputs = {c.name: c.type.name for c in described.signature.outputs}
    assert list(outputs) == model.assign(make_customers(n=1)).columns[1:]
    assert (outputs["distance"], outputs["novel"]) == ("double", "boolean")
    assert {p.name: p.default for p in described.signature.params} == {"impute": True, "language": "en"}
    home = next(folder.glob("mlflow-artifacts/models/*/artifacts"))
    example = json.loads((home / "input_example.json").read_text())
    np.testing.assert_allclose(example["data"], model.spec.inverse(model.centroids))
    assert f"cartera=={__version__}" in (home / "requirements.txt").read_text().splitlines()
    # Neither pickle, nor the path of the machine that it was made on.
    names = {path.name for path in home.rglob("*") if path.is_file()}
    assert not any(name.endswith((".pkl", ".pickle", ".cloudpickle")) for name in names)
    assert {"model_code.py", "manifest.json", "centroids.npy"} <= names
    for path in (home / "MLmodel", home / "model_code.py"):
        assert str(Path(__file__).parents[2]) not in path.read_text()


def test_one_model_and_one_version_however_often_it_is_logged(logged: tuple[SegmentModel, str, Path, str]) -> None:
    _, uri, _, model_id = logged
    found = client(uri).search_logged_models([client(uri).get_experiment_by_name("cartera").experiment_id])
    assert [(m.model_id, m.name, str(m.status)) for m in found] == [(model_id, "segments", "READY")]
    (version,) = client(uri).search_model_versions("name = 'test'")
    assert (version.version, version.aliases) == (1, [])
    assert version.source == found[0].artifact_location


def test_mlflow_predicts_on_its_command_line(logged: tuple[SegmentModel, str, Path, str], tmp_path: Path) -> None:
    model, uri, _, _ = logged
    rows = [[20.0, 30.5], [1.0, 2.5], [None, 400.0]]
    asked = {"dataframe_split": {"columns": model.spec.names, "data": rows}, "params": {"language": "es"}}
    (tmp_path / "in.json").write_text(json.dumps(asked))
    command = [sys.executable, "-W", "ignore", "-m", "mlflow", "models", "predict", "--env-manager", "local"]
    done = subprocess.run(
        [*command, "-m", "models:/test/1", "-i", "in.json", "-o", "out.json"],
        cwd=tmp_path,
        # A server in this process, of another test, leaves settings of its own behind.
        env={
            **{name: value for name, value in os.environ.items() if "MLFLOW" not in name},
            "MLFLOW_TRACKING_URI": uri,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONPATH": str(Path.cwd()),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads((tmp_path / "out.json").read_text())["predictions"]
    for row, answer in zip(rows, answers, strict=True):
        one = model.classify(dict(zip(model.spec.names, row, strict=True)), impute=True).to_dict("es")
        assert {name: one[name] for name in ("segment_id", "name", "second_segment_id")}.items() <= answer.items()
        assert answer["distance"] == pytest.approx(one["distance"])
        assert answer["margin"] == pytest.approx(one["margin"])
        assert answer["novel"] is one["novel"]


def test_no_customer_is_in_the_store_or_the_model(logged: tuple[SegmentModel, str, Path, str]) -> None:
    _, _, folder, _ = logged
    ids = make_customers(n=198)["customer_id"].to_list()
    forms = [form for i in ids for form in (str(i).encode(), int(i).to_bytes(8, "little"), np.float64(i).tobytes())]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 15
    content = b"\0".join(path.read_bytes() for path in files)
    assert [form for form in forms if form in content] == []
    assert b"seg-000001" in content


def test_rows_keep_their_order_and_their_index() -> None:
    import pandas as pd

    model = make_model(make_customers(n=198))
    frame = pd.DataFrame({"monetary": [400.0, 2.5], "frequency": [20, 1], "other": ["a", "b"]}, index=["x", "x"])
    answer = predict(model, frame)
    assert answer.index.to_list() == ["x", "x"]
    for row, (frequency, monetary) in enumerate([(20, 400.0), (1, 2.5)]):
        one = model.classify({"frequency": frequency, "monetary": monetary})
        assert (answer["segment_id"].iloc[row], answer["name"].iloc[row]) == (one.segment_id, one.segment.name.en)


def test_one_segment_has_no_second_and_no_margin() -> None:
    import pandas as pd

    answer = predict(make_model(make_customers(), k=1), pd.DataFrame({"frequency": [1.0], "monetary": [2.0]}))
    assert answer["segment_id"].to_list() == ["seg-000000"]
    assert answer[["margin", "second_segment_id"]].isna().all().all()
    assert len(predict(make_model(make_customers()[:198]), pd.DataFrame(columns=["frequency", "monetary"]))) == 0


def test_missing_values_follow_the_rules_of_score(caplog: pytest.LogCaptureFixture) -> None:
    import pandas as pd

    customers = make_customers(n=198)
    gap = pd.DataFrame({"frequency": [np.nan, 3.0], "monetary": [5.0, 5.0]})
    model = make_model(customers)
    filled = gap.fillna({"frequency": model.spec.columns[0].fill})
    assert predict(model, gap).equals(predict(model, filled))
    assert "frequency in 1 of 2; filled as at fit" in caplog.text
    with pytest.raises(DataError, match="no value for frequency in 1 of 2"):
        predict(model, gap, impute=False)
    with pytest.raises(DataError, match=r"features\.impute=refuse"):
        predict(make_model(customers, impute="refuse"), gap)


@pytest.mark.parametrize(
    ("values", "options", "error"),
    [
        ({"frequency": [1.0]}, {}, ColumnsMissingError),
        ({"frequency": [-2.0], "monetary": [1.0]}, {}, DataError),
        ({"frequency": ["many"], "monetary": [1.0]}, {}, DataError),
        ({"frequency": [np.inf], "monetary": [1.0]}, {}, DataError),
        ({"frequency": [1.0], "monetary": [1.0]}, {"language": "fr"}, SettingError),
    ],
)
def test_what_cannot_be_predicted(values: dict[str, list[Any]], options: dict[str, Any], error: type) -> None:
    import pandas as pd

    with pytest.raises(error):
        predict(make_model(make_customers(n=198)), pd.DataFrame(values), **options)


def test_a_bundle_that_is_not_there_or_damaged(logged: tuple[SegmentModel, str, Path, str], tmp_path: Path) -> None:
    model, uri, _, _ = logged
    bundle = save_bundle(model, tmp_path / "bundle", engine_version="test")
    (bundle / "spec.json").write_text("{}")
    with open_tracker(uri, run_name="x") as tracker:
        with pytest.raises(SourceNotFoundError):
            tracker.model(tmp_path / "none")
        with pytest.raises(BundleError):
            tracker.model(bundle)
    c = client(uri)
    experiment = c.get_run(tracker.run_id).info.experiment_id
    assert c.search_logged_models([experiment], f"source_run_id = '{tracker.run_id}'") == []


def test_importing_the_model_file_sets_no_model() -> None:
    import mlflow

    before = mlflow.models.model.__mlflow_model__
    import engine.tracking.model_code  # noqa: F401

    assert mlflow.models.model.__mlflow_model__ is before
