"""Where work is done: threads and a cluster give the same results in the same order, and nothing stays behind."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import distributed  # noqa: F401  its loggers are set up with the first import
import polars as pl
import psutil
import pytest

from engine import compute_dask
from engine.compute import LocalCompute, open_compute
from engine.compute_dask import DaskCompute
from engine.errors import ColumnsMissingError, DataError, MissingExtraError, SettingError
from engine.features.store import customer_table
from engine.lake.frame import FrameSource
from engine.lake.ingest import ingest
from engine.lake.recipe import Recipe
from engine.lake.table import Lake
from tests.features.rows_in_memory import RowsInMemory, make_transactions


@pytest.fixture(scope="module")
def started():
    """Return a cluster and its processes."""
    before = own_processes()
    with DaskCompute(workers=2) as compute:
        yield compute, [psutil.Process(pid) for pid in own_processes() - before]


@pytest.fixture
def cluster(started):
    compute, _ = started
    if len(compute._client.nthreads()) < 2:
        # A test before ended one, and another is there soon; its keeper notices a moment later.
        compute._wait_for(2)
        time.sleep(0.3)
    return compute


@pytest.fixture(params=["local", "dask"])
def compute(request):
    return LocalCompute(workers=2) if request.param == "local" else request.getfixturevalue("cluster")


def square(number):
    return number * number


def late_when_early(number):
    time.sleep(0.2 if number == 0 else 0.0)
    return number


def raise_for_two(number):
    if number == 2:
        raise ColumnsMissingError.from_missing(["montary"], ["monetary"], where="features")
    return number


def own_processes():
    return {process.pid for process in psutil.Process().children(recursive=True)}


def test_results_come_in_the_order_of_the_items(compute):
    assert list(compute.map(late_when_early, range(20))) == list(range(20))
    assert list(compute.map(square, [])) == []


def test_progress_counts_every_item(compute):
    told = []
    assert list(compute.map(square, range(5), progress=lambda done, items: told.append((done, items)))) == [
        0,
        1,
        4,
        9,
        16,
    ]
    assert told == [(done, 5) for done in range(1, 6)]


def test_an_error_of_the_work_arrives_as_itself(compute):
    with pytest.raises(ColumnsMissingError, match="did you mean 'monetary'") as caught:
        list(compute.map(raise_for_two, range(9)))
    assert isinstance(caught.value, KeyError)
    assert list(compute.map(square, range(3))) == [0, 1, 4]


def test_no_more_than_a_few_items_run_ahead(compute, tmp_path):
    def mark(number):
        (tmp_path / str(number)).touch()
        return number

    results = compute.map(mark, range(50))
    assert next(results) == 0
    time.sleep(0.3)
    # Two workers, and one result of each waiting.
    assert len(list(tmp_path.iterdir())) <= 5
    results.close()


def test_parts_are_held_and_worked_on_in_order(compute):
    held = compute.hold([[1, 2], [3], [4, 5, 6]])
    assert held.each(sum) == [3, 3, 15]
    assert held.each(lambda part, factor: factor * part[0], 10) == [10, 30, 40]
    assert held.each(lambda part, mine, factor: factor * part[mine], 10, own=[1, 0, 2]) == [20, 30, 60]
    with pytest.raises(DataError, match="no bucket"):
        held.each(lambda part: (_ for _ in ()).throw(DataError("no bucket")))


def test_a_worker_lost_while_it_works_costs_no_result(cluster, tmp_path):
    def die_once(number):
        once = tmp_path / "died"
        if number == 5 and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert list(cluster.map(die_once, range(12))) == list(range(12))
    assert (tmp_path / "died").exists()


def test_parts_lost_with_their_worker_are_sent_again(cluster, tmp_path):
    held = cluster.hold([[number] for number in range(6)])
    places = held.each(lambda part: os.getpid())
    assert len(set(places)) == 2
    os.kill(places[0], signal.SIGKILL)
    assert held.each(sum) == [0, 1, 2, 3, 4, 5]

    def die_once(part):
        once = tmp_path / "died"
        if part == [3] and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return part[0]

    assert held.each(die_once) == [0, 1, 2, 3, 4, 5]
    assert held.lazily(square_of_first, lambda delayed: [one.compute() for one in delayed]) == [0, 1, 4, 9, 16, 25]
    assert (tmp_path / "died").exists()


def square_of_first(part):
    return part[0] ** 2


def threads_of_worker(_):
    import numba

    return pl.thread_pool_size(), numba.config.NUMBA_NUM_THREADS


def test_workers_have_one_thread_each_and_listen_to_this_machine_only(started):
    cluster, processes = started
    assert set(cluster.map(threads_of_worker, range(4))) == {(1, 1)}
    listening = {
        connection.laddr.ip
        for process in processes
        if process.is_running()
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_work_that_ends_every_worker_is_given_up_and_nothing_is_left_behind(monkeypatch, capfd):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    monkeypatch.setattr(compute_dask, "LOSSES", 0)
    monkeypatch.setattr(compute_dask, "CONNECT_SECONDS", 4)
    before, environment, level = own_processes(), dict(os.environ), logging.getLogger("distributed").level
    folders = set(Path(tempfile.gettempdir()).glob("cartera-dask-*"))
    started = []

    def die(_):
        os.kill(os.getpid(), signal.SIGKILL)

    def give_up():
        with DaskCompute(workers=1) as lonely:
            started.extend(psutil.Process(pid) for pid in own_processes() - before)
            held = lonely.hold([1])
            with pytest.raises(SettingError, match=r"Lower compute\.workers"):
                list(lonely.map(die, [1]))
            with pytest.raises(SettingError, match=r"Lower compute\.workers"):
                held.each(die)
            # Now the scheduler too.
            os.kill(min(process.pid for process in started), signal.SIGKILL)
            with pytest.raises(SettingError, match="connection to the scheduler was lost"):
                list(lonely.map(time.sleep, [30]))
            held.each(abs)

    with pytest.raises(SettingError, match="connection to the scheduler was lost"):
        give_up()
    assert len(started) >= 2
    psutil.wait_procs(started, timeout=5)
    assert not any(process.is_running() for process in started)
    assert set(Path(tempfile.gettempdir()).glob("cartera-dask-*")) == folders
    assert (dict(os.environ), logging.getLogger("distributed").level) == (environment, level)
    assert capfd.readouterr() == ("", "")


# No guard around the call: workers must not run the caller's script again.
SCRIPT = """
import os, sys, time
from engine.compute import open_compute

def place(number):
    return number, os.getpid()

with open_compute("dask", workers=1) as compute:
    print(*(number for number, _ in compute.map(place, range(3))), next(compute.map(place, [0]))[1], flush=True)
    list(compute.map(time.sleep, [60]))
"""


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_workers_of_a_script_end_with_it(tmp_path, blow):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    path = str(Path(__file__).parents[1])
    caller = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
    )
    *numbers, worker = map(int, caller.stdout.readline().split())
    assert numbers == [0, 1, 2]
    process = psutil.Process(worker)
    caller.send_signal(blow)
    _, told = caller.communicate(timeout=30)
    assert caller.returncode == -blow
    assert told.strip().splitlines()[-1:] == (["KeyboardInterrupt"] if blow == signal.SIGINT else [])
    psutil.wait_procs([process], timeout=10)
    assert not process.is_running()


@pytest.mark.parametrize("seed", range(2))
def test_features_are_the_same_bytes_on_a_cluster(cluster, seed):
    source = RowsInMemory(make_transactions(seed), buckets=7)
    here, there = customer_table(source), customer_table(source, compute=cluster)
    assert here.frame.equals(there.frame)
    assert here.row_counts.equals(there.row_counts)
    assert (here.rows_left_out, here.left_out) == (there.rows_left_out, there.left_out)


def sales(rows=600):
    start = datetime(2023, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "customer_id": [row * 7 % 83 for row in range(rows)],
            "timestamp": [start + timedelta(hours=row) for row in range(rows)],
            "amount": [round(0.1 + row % 37 / 7, 2) for row in range(rows)],
        }
    )


def test_a_lake_and_a_frame_reach_the_workers(cluster, tmp_path, monkeypatch):
    sales().write_parquet(tmp_path / "sales.parquet")
    # A path relative to a folder in which no worker is.
    monkeypatch.chdir(tmp_path)
    columns = {name: name for name in sales().columns}
    ingest(Recipe(name="sales", path=("sales.parquet",), columns=columns), "lake", rejects="rejects.parquet", buckets=4)
    frame = FrameSource.from_frame(sales())
    for source in (Lake.open("lake"), frame):
        here, there = customer_table(source), customer_table(source, compute=cluster)
        assert here.frame.equals(there.frame)
        assert here.frame.height == 83
        assert here.monetary_total == there.monetary_total == frame.bucket(0)["amount"].sum()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"name": "dusk"}, "compute: expected one of local, dask; got 'dusk' .did you mean 'dask'"),
        ({"name": "local", "workers": 0}, "compute.workers: expected at least 1"),
        ({"name": "dask", "workers": -1}, "got -1"),
        ({"name": "dask", "workers": True}, "got True"),
        ({"name": "dask", "workers": 1.5}, "got 1.5"),
        (
            {"name": "dask", "workers": 4 * os.cpu_count() + 1},
            f"compute.workers: expected at most {4 * os.cpu_count()}",
        ),
        ({"name": "local", "workers": 10**6}, "for each core of this machine; got 1000000"),
        ({"name": "local", "scheduler": "tcp://127.0.0.1:8786"}, "Set compute=dask"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, expected):
    with pytest.raises(SettingError, match=expected):
        open_compute(**settings)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere", "http://127.0.0.1:9", ""])
def test_a_scheduler_that_does_not_answer_is_told(address, monkeypatch, capfd):
    monkeypatch.setattr(compute_dask, "CONNECT_SECONDS", 0.5)
    with pytest.raises(SettingError, match=f"no Dask scheduler answers at {address}"):
        open_compute("dask", scheduler=address).__enter__()
    assert capfd.readouterr() == ("", "")


def speak_html(connection):
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("answer", [None, speak_html], ids=["silence", "another protocol"])
def test_whatever_listens_instead_of_a_scheduler_is_told_and_the_process_ends(tmp_path, answer):
    script = tmp_path / "script.py"
    script.write_text(STRANGER)
    with socket.create_server(("127.0.0.1", 0)) as server:
        caller = subprocess.Popen(
            [sys.executable, script, f"tcp://127.0.0.1:{server.getsockname()[1]}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        server.settimeout(30)
        connection, _ = server.accept()
        with connection:
            if answer is not None:
                answer(connection)
            # What is left of a client that failed held up the end of the process, and spoke then.
            told, complaint = caller.communicate(timeout=15)
    assert (caller.returncode, complaint) == (0, "")
    assert told.startswith("compute.scheduler: no Dask scheduler answers at tcp://127.0.0.1")


STRANGER = """
import sys
from engine import compute_dask
from engine.compute import open_compute
from engine.errors import SettingError

compute_dask.CONNECT_SECONDS = 0.5
try:
    open_compute("dask", scheduler=sys.argv[1]).__enter__()
except SettingError as error:
    print(error)
"""


def test_a_worker_is_no_scheduler(cluster):
    worker = next(iter(cluster._client.nthreads()))
    with pytest.raises(SettingError, match="no Dask scheduler answers at"):
        open_compute("dask", scheduler=worker).__enter__()


def test_a_scheduler_that_runs_elsewhere_is_used_and_left_running(cluster, monkeypatch):
    address = cluster._client.scheduler.address
    for _ in range(2):
        with open_compute("dask", workers=2, scheduler=address) as opened:
            assert list(opened.map(square, range(4))) == [0, 1, 4, 9]
            assert opened.hold([[1, 2], [3]]).each(sum) == [3, 3]
    monkeypatch.setattr(compute_dask, "CONNECT_SECONDS", 0.5)
    with pytest.raises(SettingError, match="expected 9 of them; 2 came"):
        open_compute("dask", workers=9, scheduler=address).__enter__()
    monkeypatch.setattr(compute_dask, "__version__", "0.0.0-other")
    with pytest.raises(SettingError, match=r"this is 0\.0\.0-other"):
        open_compute("dask", scheduler=address).__enter__()
    assert list(cluster.map(square, range(3))) == [0, 1, 4]


def test_workers_that_do_not_start_are_told(monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD", "teleport")
    with pytest.raises(SettingError, match="the workers did not start"):
        open_compute("dask", workers=1).__enter__()


def test_dask_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match="use compute=local"):
        open_compute("dask")
