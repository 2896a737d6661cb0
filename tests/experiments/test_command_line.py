from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from experiments import failures
from experiments.__main__ import VERBS
from tests.experiments.till import COLUMNS, sales_csv

Cartera = Callable[..., Any]

SMALL = ("data.path=sales.csv", "tracking.uri=null", "clustering.k=2", "out=run")


def test_the_main_job_on_a_file(cartera: Cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv", extra=("7,oX,2024-02-30,p1,1,5.00", ",oY,2024-02-03,p1,1,5.00"))
    ran = cartera("segment", *SMALL)
    assert ran.code == 0, ran.err
    run = tmp_path / "run"
    assert sorted(path.name for path in run.iterdir() if not path.name.startswith(".")) == [
        "assignments.parquet",
        "bundle",
        "config.yaml",
        "ingest.json",
        "lake",
        "profile.csv",
        "rejects.parquet",
        "report.html",
        "summary.json",
    ]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["customers"] == 60
    assert summary["k"] == 2
    # The groups of the generator are found again: even customers are the frequent ones.
    assigned = pl.read_parquet(run / "assignments.parquet")
    assert assigned.group_by(pl.col("customer_id") % 2).agg(pl.col("segment_id").n_unique())[
        "segment_id"
    ].to_list() == [1, 1]
    profile = pl.read_csv(run / "profile.csv")
    assert profile.columns[:9] == [
        "segment_id",
        "name",
        "customers",
        "share_customers",
        "monetary_mean",
        "frequency_mean",
        "units_mean",
        "share_monetary",
        "rank",
    ]
    assert profile["share_customers"].sum() == pytest.approx(1)
    assert profile["share_monetary"].sum() == pytest.approx(1)
    ingest = json.loads((run / "ingest.json").read_text())
    assert ingest["rejected"] == {"missing_customer_id": 1, "not_a_date": 1}
    assert ingest["rows_kept"] + 2 == ingest["rows_read"]
    assert "60" in ran.out
    assert "report.html" in ran.out
    assert not (tmp_path / "runs").exists()


def test_spanish_speaks_spanish(cartera: Cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    ran = cartera("segment", *SMALL, "language=es")
    assert "clientes" in ran.out
    assert "Clientes usuarios" in (tmp_path / "run" / "profile.csv").read_text()
    assert 'lang="es"' in (tmp_path / "run" / "report.html").read_text()


def test_a_lake_is_filled_once_and_scored(cartera: Cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    first = cartera("ingest", "data.path=sales.csv", "lake=lake", "out=ingested")
    again = cartera("ingest", "data.path=sales.csv", "lake=lake", "out=again")
    assert (first.code, again.code) == (0, 0), first.err + again.err
    assert "0 added, 1 known already" in again.out
    assert cartera("segment", "lake=lake", "tracking.uri=null", "clustering.k=3", "out=run").code == 0
    assert cartera("features", "lake=lake", "out=table").code == 0
    by_lake = cartera("score", "bundle=run/bundle", "lake=lake", "out=by_lake")
    by_file = cartera("score", "bundle=run/bundle", "customers=table/features.parquet", "out=by_file")
    assert (by_lake.code, by_file.code) == (0, 0), by_lake.err + by_file.err
    fitted = pl.read_parquet(tmp_path / "run" / "assignments.parquet")
    assert fitted.equals(pl.read_parquet(tmp_path / "by_lake" / "assignments.parquet"))
    assert fitted.equals(pl.read_parquet(tmp_path / "by_file" / "assignments.parquet"))
    one = cartera("score", "bundle=run/bundle", "customer={recency_days: 3, frequency: 12, monetary: 1500}")
    answer = json.loads(one.out)
    assert set(answer) >= {"segment_id", "name", "distance", "margin", "second_segment_id"}
    assert (answer["novel"], answer["neighbour_agreement"]) == (False, None)
    assert 0 <= answer["distance_percentile"] <= 1
    novel = fitted["novel"].sum()
    assert f"novel        {novel} unlike the customers the model was fitted on\n" in by_file.out
    assert answer["segment_id"] in set(fitted["segment_id"])


def test_the_same_seed_gives_the_same_bytes(cartera: Cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv", customers=200)
    for threads in (1, 2):
        ran = cartera("segment", *SMALL[:2], f"clustering.threads={threads}", f"out=t{threads}")
        assert ran.code == 0, ran.err
    one, two = ((tmp_path / f"t{threads}" / "assignments.parquet").read_bytes() for threads in (1, 2))
    assert one == two


def test_settings_by_column_and_letters_beyond_ascii(cartera: Cartera, tmp_path: Path) -> None:
    text = sales_csv(tmp_path / "sales.csv").read_text("utf-8").replace("customer_id", "Código Cliente")
    (tmp_path / "sales.csv").write_text(text, encoding="utf-8")
    ran = cartera(
        "segment", *SMALL, "data.columns.customer_id=Código Cliente", "features.per_column={monetary: {weight: 2}}"
    )
    assert ran.code == 0, ran.err
    spec = json.loads((tmp_path / "run" / "bundle" / "spec.json").read_text())
    assert [column["weight"] for column in spec["columns"]] == [1.0, 1.0, 2.0]


def test_own_configuration_folder(cartera: Cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    (tmp_path / "mine" / "features").mkdir(parents=True)
    (tmp_path / "mine" / "features" / "two.yaml").write_text("name: two\ncolumns: [frequency, units]\n")
    ran = cartera("segment", *SMALL, "--config-dir", "mine", "features=two")
    assert ran.code == 0, ran.err
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["features"] == ["frequency", "units"]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data.path=nowhere.csv"], "nowhere.csv"),
        (["data.path=empty.csv"], "empty"),
        (["data.columns.unit_price=Prize"], "Prize"),
        (["clustering.k=0"], "at least 1"),
        (["clustering.k=-3"], "at least 1"),
        (["clustering.k=many"], "a number of segments"),
        (["clustering.k=[3,4]"], "-m"),
        (["clustering.k=61"], "61"),
        (["clustering.backend=fais"], "did you mean 'faiss'"),
        (["clustering.solver=quick"], "solver"),
        (["clustering.max_passes=0"], "clustering.max_passes"),
        (["clustering=faiss", "clustering.max_seconds=5"], "only backend native"),
        (["clustering.kk=3"], "clustering.kk"),
        (["+clustering.zz=3"], "zz"),
        (["clustering.threads=two"], "clustering.threads"),
        (["clustering=kmeans"], "kmeans"),
        (["features=rmf"], "rmf"),
        (["features.columns=[frequenzy]"], "did you mean 'frequency'"),
        (["features.columns=[]"], "at least one column"),
        (["features.transform=sqrt"], "features.transform"),
        (["features.window_days=0"], "features.window_days"),
        (["features.per_column={monetary: 3}"], "features.per_column"),
        (["features.columns=[[monetary]]"], "features.columns"),
        (["features=null"], "a group of settings"),
        (["data=null"], "a group of settings"),
        (["clustering=null"], "a group of settings"),
        (["lake="], "lake: expected a value"),
        (["langauge=es"], "did you mean 'language'?"),
        (["clustering.k=3..999999999"], "at most 500"),
        (["clustering.k_range=[2,99999999999]"], "at most 500"),
        (["tracking.uri=sqlite:///taken"], "tracking.uri"),
        (["where='customer_id = 3'"], "ids of persons"),
        (["out=sales.csv/o"], "sales.csv"),
        (["seed=-1"], "seed"),
        (["segments.min=9"], "segments"),
        (["segments.rules=mine.yaml"], "mine.yaml"),
        (["language=de"], "language"),
        (["as_of=2001-01-01"], "2001-01-01"),
        (["as_of=soon"], "as_of"),
        (["where='monetary > 1e9'"], "none of the 60"),
        (["where='montary > 1'"], "did you mean 'monetary'"),
        (["where='frequency > 12 AND customer_id < 3'"], "customer"),
        (["experiment=none_such"], "none_such"),
        (["out=taken"], "taken"),
        (["data.rules.zero_price=maybe"], "zero_price"),
        (["nonsense"], "nonsense"),
        (["tracking.uri=./mlruns"], "tracking.uri"),
    ],
)
def test_the_users_mistakes_get_a_message_and_leave_nothing(
    cartera: Cartera, tmp_path: Path, overrides: list[str], says: str
) -> None:
    sales_csv(tmp_path / "sales.csv")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("years of work")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    keys = {override.lstrip("+").split("=")[0] for override in overrides}
    ran = cartera("segment", *(arg for arg in [*SMALL[:2], "out=run"] if arg.split("=")[0] not in keys), *overrides)
    assert ran.code == 2, ran
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["1,a,2024-01-01,p,1,5"], "at least two customers"),
        (["1,a,2024-01-01,p,1,5", "2,b,2024-01-01,p,1,5", "3,c,2024-01-01,p,1,5"], "same value"),
        (["1,a,2024-01-01,p,one,5", "2,b,2024-01-01,p,two,5"], "quantity"),
        (["1,a,soon,p,1,5", "2,b,later,p,1,5"], "date"),
        ([",a,2024-01-01,p,1,5", ",b,2024-01-01,p,1,5"], "customer"),
        (["1,a,2024-01-01,p,1,inf", "2,b,2024-01-01,p,1,-inf"], "infinite"),
        (["1,a,2024-01-01,p,1,5", "2,b,2024-01-02,p,1,7"], "k"),
        ([], "sales.csv"),
    ],
)
def test_data_that_cannot_be_segmented(cartera: Cartera, tmp_path: Path, rows: list[str], says: str) -> None:
    (tmp_path / "sales.csv").write_text("\n".join([COLUMNS, *rows]) + "\n")
    ran = cartera("segment", "data.path=sales.csv", "tracking.uri=null", "clustering.k=3", "out=run")
    assert ran.code == 2, ran
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["sales.csv"]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ([], "bundle"),
        (["bundle=nowhere", "lake=lake"], "nowhere"),
        (["bundle=run/bundle", "customers=ids.csv", "where='monetary > 1'"], "where"),
        (["bundle=run/bundle", "customers=ids.csv", "as_of=2024-01-01"], "as_of"),
        (["bundle=", "customers=ids.csv"], "bundle"),
        (["bundle=run/bundle"], "expected one of"),
        (["bundle=run/bundle", "lake=lake", "customer={frequency: 1}"], "expected one of"),
        (["bundle=run/bundle", "customer={frequency: 1}"], "no value for recency_days, monetary"),
        (["bundle=run/bundle", "customer={frequency: 1, recency_days: 3, monetary: -2}"], "monetary"),
        (["bundle=run/bundle", "customer={frequency: 1, recency_days: 3, monetary: lots}"], "monetary"),
        (["bundle=run/bundle", "customer=12"], "customer"),
        (["bundle=run/bundle", "customers=nobody.csv"], "nobody.csv"),
        (["bundle=run/bundle", "customers=sales.csv"], "recency_days"),
        (["bundle=run/bundle", "lake=nolake"], "nolake"),
        (["bundle=run/bundle", "customer={frequency: 1, recency_days: 3, monetary: 2}", "language=fr"], "language"),
    ],
)
def test_scoring_mistakes(cartera: Cartera, tmp_path: Path, overrides: list[str], says: str) -> None:
    sales_csv(tmp_path / "sales.csv")
    assert cartera("segment", *SMALL).code == 0
    ran = cartera("score", *overrides, "out=scored")
    assert ran.code == 2, ran
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "scored").exists()


def test_ids_keep_their_zeros_when_a_file_is_scored(cartera: Cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    assert cartera("segment", *SMALL).code == 0
    values = "recency_days,frequency,monetary"
    (tmp_path / "ids.csv").write_text(f"customer_id,{values}\n007,3,12,900.5\n7,90,1,\n8,90,1,5\n")
    ran = cartera("score", "bundle=run/bundle", "customers=ids.csv", "out=scored")
    assert ran.code == 0, ran.err
    assert "monetary: 1 of 3 values are missing" in ran.err
    assert pl.read_parquet(tmp_path / "scored" / "assignments.parquet")["customer_id"].to_list() == ["007", "7", "8"]


def test_a_changed_bundle_is_refused(cartera: Cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    assert cartera("segment", *SMALL).code == 0
    file = tmp_path / "run" / "bundle" / "centroids.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    ran = cartera("score", "bundle=run/bundle", "customer={recency_days: 3, frequency: 12, monetary: 950}")
    assert ran.code == 2
    assert "checksum" in ran.err


def test_scoring_does_not_overwrite_the_run_it_reads(cartera: Cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    assert cartera("segment", *SMALL).code == 0
    ran = cartera("score", "bundle=run/bundle", "lake=run/lake", "out=run")
    assert ran.code == 2
    assert (tmp_path / "run" / "bundle" / "manifest.json").exists()


def test_a_tracking_failure_keeps_the_results(
    cartera: Cartera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine import tracking
    from engine.errors import TrackingError

    class Broken(tracking.NullTracker):
        where = "a server that went away"

        def child(self, name: str, params: object, metrics: object, **_: object) -> None:
            raise TrackingError("the server went away")

    monkeypatch.setattr(tracking, "open_tracker", lambda uri, **_: Broken())
    sales_csv(tmp_path / "sales.csv")
    ran = cartera("segment", *SMALL)
    assert ran.code == 3
    assert "the server went away" in ran.err
    assert (tmp_path / "run" / "report.html").exists()


def test_our_own_fault_shows_where(cartera: Cartera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.features import store

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(store, "customer_table", broken)
    sales_csv(tmp_path / "sales.csv")
    ran = cartera("segment", *SMALL)
    assert ran.code == 1
    assert "Traceback" in ran.err
    assert "fault of ours" in ran.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    arguments = ["data=synthetic", "data.customers=400000", "tracking.uri=null", "out=run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments", "segment", *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".run.*.partial/lake/*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130, (out, err)
    assert "interrupted" in err
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_that_a_library_swallowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(failures, "interrupted", True)
    assert failures.report("segment", RuntimeError("a type without a name")) == 130
    assert capsys.readouterr().err == "cartera segment: interrupted; nothing was left half-written.\n"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_lists_every_verb(cartera: Cartera, arguments: list[str]) -> None:
    ran = cartera(*arguments)
    assert ran.code == 0
    assert all(verb in ran.out for verb in VERBS)


def test_no_verb_and_a_wrong_verb(cartera: Cartera) -> None:
    assert cartera().code == 2
    ran = cartera("segmnet")
    assert ran.code == 2
    assert "Did you mean 'segment'" in ran.err


def test_version(cartera: Cartera) -> None:
    from engine import __version__

    assert cartera("--version").out == f"cartera {__version__}\n"


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_explains_its_settings(cartera: Cartera, verb: str) -> None:
    ran = cartera(verb, "--help")
    assert ran.code == 0
    assert f"usage: cartera {verb} [key=value ...]" in ran.out
    assert "out:" in ran.out
    # The comments of the files are the explanation.
    assert "# Folder" in ran.out


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, experiments.__main__ as m; m.usage(); print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"polars", "numpy", "hydra", "mlflow", "sklearn", "numba", "faiss", "plotly", "dask", "deltalake"}
    assert heavy.isdisjoint(loaded)


def test_importing_the_engine_imports_nothing_heavy() -> None:
    code = "import sys, engine.clustering, engine.api; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "hydra",
        "mlflow",
        "sklearn",
        "numba",
        "faiss",
        "plotly",
        "dask",
        "deltalake",
        "scipy",
        "pandas",
        "matplotlib",
    }
    assert heavy.isdisjoint(loaded)


def test_doctor_finds_everything_well(cartera: Cartera) -> None:
    ran = cartera("doctor")
    assert ran.code == 0, ran
    assert ran.out.count("ok:") == 6
    assert "FAILED" not in ran.out


def test_the_data_dictionary_is_printed(cartera: Cartera, tmp_path: Path) -> None:
    ran = cartera("features", "describe=true")
    assert ran.code == 0
    assert "recency_days" in ran.out
    assert list(tmp_path.iterdir()) == []
