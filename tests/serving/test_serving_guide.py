"""What docs/serving.md tells a reader to send is taken."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl
import pytest

from engine.bundle import save_bundle
from engine.clustering.nearest import two_nearest
from engine.customer_base import CustomerBase
from engine.features.matrix import FeatureSpec, feature_set
from engine.segments.model import SegmentModel
from engine.segments.novelty import FittedDistances
from engine.serving.access import Access
from engine.serving.app import make_app
from engine.serving.settings import ServeSettings
from engine.serving.state import State
from tests.serving.api_example import RECORDS, as_arrow, client_of, of_arrow
from tests.serving.pages_example import customers_of, model_of
from tests.serving.recommend_example import offers_of, recommender_of, write_recommender

GUIDE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")
NAMES = ["frequency", "units", "monetary"]
COMMAND = re.compile(r"^(?:printf '(?P<input>[^']*)' \|\n)?(?P<curl>curl (?:[^\n\\]|\\\n)*)$", re.M)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The guide's model: that of the demo has these variables."""
    folder = tmp_path_factory.mktemp("guide")
    customers = customers_of(list(range(60)), 3).with_columns(units=pl.col("frequency") * 7)
    spec = FeatureSpec.fit(customers, feature_set(NAMES))
    matrix = spec.transform(customers)
    centroids = np.stack([matrix[one::3].astype(np.float64).mean(axis=0) for one in range(3)])
    near = two_nearest(matrix, centroids)
    distances = FittedDistances.fit(near.first, near.first_distance, 3)
    model = SegmentModel(spec, centroids, model_of(customers, 3).segments, distances, {"as_of": "2018-01-02"})
    bundle = save_bundle(model, folder / "bundle", engine_version="test")
    made = recommender_of(customers["customer_id"].to_list(), model, popular="1082185")
    recommender = write_recommender(folder / "recommender", made)
    state = State(
        bundle,
        base=lambda model, digest: CustomerBase.build(customers, model),
        offers=offers_of(bundle, recommender),
        recommender=recommender,
    )
    with client_of(make_app(state, Access(RECORDS), ServeSettings()), None) as client:
        yield client


def test_every_command_is_answered(client: Any) -> None:
    asked = set()
    for found in COMMAND.finditer(GUIDE):
        words = shlex.split(found["curl"].replace("\\\n", " ").replace("$TOKEN", "token-admin"))
        headers = {}
        body = None
        (url,) = [word for word in words if word.startswith("http://127.0.0.1:8000/")]
        for option, value in itertools.pairwise(words):
            if option == "-H":
                name, _, text = value.partition(": ")
                headers[name] = text
            elif option in ("-d", "--data-binary"):
                body = found["input"].replace("\\n", "\n") if value == "@-" else value
        path = url.removeprefix("http://127.0.0.1:8000")
        answer = client.request("GET" if body is None else "POST", path, content=body, headers=headers)
        assert answer.status_code == 200, (url, answer.text)
        assert body is None or "Content-Type" in headers
        asked.add((urlsplit(path).path, headers.get("Content-Type")))
    posted = {"/v1/classify", "/v1/classify/batch", "/v1/classify/transactions", "/v1/recommend"}
    assert {path for path, kind in asked if kind} == posted
    assert {("/v1/classify/batch", "application/json"), ("/v1/classify/batch", "text/csv")} <= asked
    got = {path for path, kind in asked if not kind}
    assert {"/v1/segments", "/v1/customers/17", "/v1/customers/17/lookalikes", "/metrics", "/ready"} <= got
    assert "/v1/customers/17/recommendations" in got


def test_the_example_in_python_is_answered(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import io
    import urllib.request

    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    file = tmp_path / "runs" / "demo" / "features" / "features.parquet"
    file.parent.mkdir(parents=True)
    customers = customers_of(list(range(9)), 3).with_columns(units=pl.col("frequency"))
    customers.write_parquet(file)

    def opened(request: urllib.request.Request) -> io.BytesIO:
        path = urlsplit(request.full_url).path
        answer = client.request(request.get_method(), path, content=request.data, headers=dict(request.header_items()))
        assert answer.status_code == 200, answer.text
        assert of_arrow(answer.content).height == of_arrow(as_arrow(customers)).height
        return io.BytesIO(answer.content)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN", "token-admin")
    monkeypatch.setattr(urllib.request, "urlopen", opened)
    exec(code, {})
    assert "customer_id" in capsys.readouterr().out
