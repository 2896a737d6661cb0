from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pytest

from engine.clustering import parity as module
from engine.clustering import parity_process
from engine.clustering.backends import cluster
from engine.clustering.parity import parity
from engine.clustering.parity_process import Fit, FitFailedError, Task, fit_apart
from engine.clustering.parity_result import Agreement, Line, Parity
from engine.clustering.parity_words import HEADS, of_index
from engine.clustering.rows_array import ArrayRows
from engine.errors import DataError, SettingError
from tests.reference.parity_twin import fit_here, slow_inertia, slow_rand

FAST = ("native", "sklearn")


def groups(seed: int, n: int = 120, k: int = 3, spread: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (8.0 * np.eye(3)[:k][rng.integers(0, k, n)] + spread * rng.normal(size=(n, 3))).astype(np.float32)


@pytest.fixture
def here(monkeypatch):
    """Fit in this process, so that what is compared is tested without waiting for imports."""
    monkeypatch.setattr(module, "fit_apart", fit_here)
    monkeypatch.setattr(module, "busy_cores", lambda: 0.0)


# In processes of their own


@pytest.fixture(scope="module")
def apart() -> tuple[np.ndarray, Parity]:
    matrix = groups(0, n=3_000)
    return matrix, parity(matrix, 3, backends=["native", "faiss"], seed=4, threads=1, bucket_rows=[1_000, 0, 2_000])


def test_a_process_of_its_own_finds_what_this_one_would(apart):
    matrix, found = apart
    for line in found.lines:
        same = cluster(matrix, 3, backend=line.backend, seed=4, threads=1)
        assert line.error == ""
        assert line.inertia == pytest.approx(same.inertia, rel=1e-6)
        assert (line.n_iter, line.stop_reason) == (same.n_iter, same.stop_reason)
        assert line.reported_inertia == pytest.approx(same.reported_inertia)
        assert line.rows_used == 3_000
        # A quick fit is made three times, for one short time says little.
        assert line.fits == 3
        assert 0 < line.seconds_lowest <= line.seconds <= line.seconds_highest < 60
        assert line.memory_added_mib is not None
        assert 0 <= line.memory_added_mib < 500


def test_the_rows_leave_nothing_behind_and_are_not_written_to(here, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    matrix = groups(1)
    matrix.flags.writeable = False
    parity(matrix, 3, backends=FAST, threads=1)
    assert list(tmp_path.iterdir()) == []


class Fake(NamedTuple):
    """A library that is found in place of FAISS, and what is told of it."""

    train: str
    expected: str
    limit_s: float = 60.0


FAISS = """
import os, signal, time
ClusteringInitMethod_KMEANS_PLUS_PLUS = 0
def omp_get_max_threads(): return 1
def omp_set_num_threads(threads): pass
class Kmeans:
    def __init__(self, d, k, **settings): self.k = k
    def train(self, X):
        self.obj, self.centroids = [1.0], X[: self.k].copy()
        if len(X) > 2048:
            {train}
"""


@pytest.mark.parametrize(
    "fake",
    [
        Fake("os.kill(os.getpid(), signal.SIGKILL)", "killed, as systems do when memory runs out"),
        Fake("time.sleep(600)", "ended after 0.2 s, the limit", 0.2),
        Fake("raise RuntimeError('std::bad_alloc')", "out of memory: std::bad_alloc"),
        Fake("self.much = bytearray(b'x') * (500 * 2**20); time.sleep(600)", "out of memory: it held"),
    ],
)  # fmt: skip
def test_a_backend_that_fails_leaves_its_reason_and_no_process(fake, monkeypatch, tmp_path):
    (tmp_path / "faiss.py").write_text(FAISS.format(train=fake.train), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    if "it held" in fake.expected:
        free = psutil.virtual_memory()._replace(available=450 * 2**20)
        monkeypatch.setattr(parity_process.psutil, "virtual_memory", lambda: free)
    file = tmp_path / "matrix.npy"
    np.save(file, groups(2, n=2_100))
    task = Task(matrix=str(file), folder=str(tmp_path), backend="faiss", solver="auto", k=3, seed=0, threads=1)
    with pytest.raises(FitFailedError, match=fake.expected):
        fit_apart(task, limit_s=fake.limit_s)
    assert [one for one in psutil.Process().children() if "parity_process" in " ".join(one.cmdline())] == []


REPEATED = """
import pathlib
def omp_get_max_threads(): return 1
def omp_set_num_threads(threads): pass
ClusteringInitMethod_KMEANS_PLUS_PLUS = 0
class Kmeans:
    def __init__(self, d, k, **settings): self.k = k
    def train(self, X):
        self.obj, self.centroids = [1.0], X[: self.k].copy()
        if len(X) > 2048:
            with open({log!r}, "a") as log:
                log.write("x")
            if len(pathlib.Path({log!r}).read_text()) > 1:
                Kmeans.much = bytearray(b"x") * (300 * 2**20)
"""


@pytest.mark.parametrize(("quick_s", "times"), [(60.0, 3), (0.0, 1)])
def test_a_quick_fit_is_repeated_and_only_its_first_counts_for_memory(quick_s, times, monkeypatch, tmp_path):
    log = tmp_path / "log"
    (tmp_path / "faiss.py").write_text(REPEATED.format(log=str(log)), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(parity_process, "QUICK_S", quick_s)
    file = tmp_path / "matrix.npy"
    np.save(file, groups(2, n=2_100))
    task = Task(matrix=str(file), folder=str(tmp_path), backend="faiss", solver="auto", k=3, seed=0, threads=1)
    found = fit_apart(task, limit_s=60.0)
    assert len(found.seconds) == len(log.read_text()) == times
    assert found.memory_added_mib < 150


@pytest.mark.parametrize(("solver", "draws"), [("full", 0), ("sample", 1)])
def test_the_kernel_that_draws_samples_is_warm_before_the_clock_starts(solver, draws, monkeypatch, tmp_path):
    drawn = []
    real = ArrayRows.draw
    monkeypatch.setattr(ArrayRows, "draw", lambda self, *given: (drawn.append(self.n), real(self, *given))[1])
    np.save(tmp_path / "matrix.npy", groups(3, n=3_000))
    task = Task(
        matrix=str(tmp_path / "matrix.npy"), folder="", backend="native", solver=solver, k=3, seed=0, threads=1
    )  # fmt: skip
    assert parity_process.warm(task) == {}
    assert drawn == [2_048] * draws


def test_cores_that_others_keep_busy_are_what_is_not_idle_and_not_our_own(monkeypatch):
    class Times(NamedTuple):
        user: float
        system: float
        idle: float
        iowait: float

    told = iter([Times(10.0, 5.0, 90.0, 3.0), Times(10.5, 5.1, 90.1, 3.2)])
    own = iter([1.0, 1.3])
    monkeypatch.setattr(module.psutil, "cpu_times", lambda: next(told))
    monkeypatch.setattr(module.psutil, "cpu_count", lambda: 8)
    monkeypatch.setattr(module.time, "process_time", lambda: next(own))
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    # Of 0.6 s of work in 0.3 s, half were this process's.
    assert module.busy_cores() == pytest.approx(1.0)


def test_a_backend_that_is_not_installed_is_a_line_and_the_others_go_on(monkeypatch, tmp_path):
    (tmp_path / "faiss.py").write_text("raise ModuleNotFoundError('no', name='faiss')", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    real = module.fit_apart

    def some(task: Task, *, limit_s: float) -> Fit:
        return (real if task.backend == "faiss" else fit_here)(task, limit_s=limit_s)

    monkeypatch.setattr(module, "fit_apart", some)
    told = []
    found = parity(groups(3), 3, backends=["faiss", *FAST], threads=1, on_line=lambda *one: told.append(one))
    assert [line.error for line in found.lines] == ["not installed: faiss", "", ""]
    assert (found.lines[0].inertia, found.lines[0].seconds) == (None, None)
    assert told == [("faiss", 1, 3), ("native", 2, 3), ("sklearn", 3, 3)]
    assert [(one.a, one.b) for one in found.agreements] == [FAST]
    assert "FAISS         not installed: faiss" in found.table()


def test_a_child_whose_parent_is_gone_leaves(tmp_path):
    task = {"matrix": "none.npy", "folder": str(tmp_path), "backend": "native", "solver": "full", "k": 1, "seed": 0}
    child = subprocess.Popen(
        [sys.executable, "-m", "engine.clustering.parity_process"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(task).encode() + b"\n")
    child.stdin.flush()
    # It has failed to warm up and waits to be told to go on.
    assert b"FileNotFoundError" in child.stdout.readline()
    child.stdin.close()
    assert child.wait(20) == 1
    child.stdout.close()


HOLDS = """
import mmap, sys
rows = open(sys.argv[1], "rb")
mapped = mmap.mmap(rows.fileno(), 0, access=mmap.ACCESS_READ)
print(sum(mapped[place] for place in range(0, len(mapped), 4096)), flush=True)
sys.stdin.readline()
held = bytearray(b"x") * (64 * 2**20)
print(len(held), flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells mapped files apart")
def test_memory_of_a_process_is_what_no_file_stands_behind(tmp_path):
    (tmp_path / "rows").write_bytes(bytes(64 * 2**20))
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "rows")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        mapped = parity_process.held_mib(child.pid)
        assert 1 < mapped < 40
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        assert parity_process.held_mib(child.pid) - mapped == pytest.approx(64, abs=2)
    assert parity_process.held_mib(child.pid) == 0.0


# What is compared


@pytest.mark.parametrize("seed", range(4))
def test_inertia_and_agreement_are_those_of_the_slow_twin(here, seed):
    matrix = groups(seed, n=60, spread=5.0)
    found = parity(matrix, 4, backends=FAST, seed=seed, threads=1)
    each = {name: cluster(matrix, 4, backend=name, seed=seed, threads=1) for name in FAST}
    totals = {name: slow_inertia(matrix, one.centroids) for name, one in each.items()}
    for line in found.lines:
        assert line.inertia == pytest.approx(totals[line.name], rel=1e-9)
        assert line.inertia_ratio == pytest.approx(totals[line.name] / min(totals.values()), rel=1e-9)
    (pair,) = found.agreements
    assert pair.adjusted_rand == pytest.approx(slow_rand(each["native"].labels, each["sklearn"].labels))
    # Matching loses nothing where divisions are the same, and keeps some row whatever they are.
    assert (pair.kept_share == 1.0) == (pair.adjusted_rand == 1.0)
    assert 0.25 <= pair.kept_share <= 1.0


@pytest.mark.parametrize("seed", range(3))
def test_the_lowest_has_ratio_one_and_separated_groups_are_the_same_people(here, seed):
    found = parity(groups(seed), 3, backends=FAST, seed=seed, threads=1)
    ratios = [line.inertia_ratio for line in found.lines]
    assert min(ratios) == 1.0
    assert found.best.inertia_ratio == 1.0
    assert found.rand("native", "sklearn") == found.rand("sklearn", "native") == 1.0
    assert "the same people" in found.people.en


def test_native_is_there_with_both_solvers_where_a_sample_makes_sense(here, monkeypatch):
    monkeypatch.setattr(module, "FULL_BELOW_ROWS", 100)
    found = parity(groups(5), 3, backends=FAST, threads=1)
    assert [(line.name, line.solver) for line in found.lines] == [
        ("native full", "full"),
        ("native sample", "sample"),
        ("sklearn", "full"),
    ]
    assert len(found.agreements) == 3
    monkeypatch.setattr(module, "FULL_BELOW_ROWS", 121)
    assert [line.name for line in parity(groups(5), 3, backends=FAST, threads=1).lines] == ["native", "sklearn"]


# What is said: lines set by hand


def a_line(name: str, seconds: float, inertia: float, ratio: float | None, **others) -> Line:
    return Line(
        name=name, backend=name.split()[0], solver="full", seconds=seconds, memory_added_mib=2.5, inertia=inertia,
        inertia_ratio=ratio, rows_used=1_000, n_iter=7, stop_reason="converged", **others,
    )  # fmt: skip


def made(*lines: Line, **rands: float) -> Parity:
    agreements = [Agreement(*key.split("__"), value, 0.9) for key, value in rands.items()]
    return Parity(rows=1_000, features=3, k=4, seed=0, lines=lines, agreements=tuple(agreements))


NATIVE, FAISS_LINE = a_line("native", 0.1, 102.0, 1.02), a_line("faiss", 2.0, 100.0, 1.0)


@pytest.mark.parametrize(
    ("rand", "en", "es"),
    [
        (0.951, "would be the same people (adjusted", "reunirían a las mismas personas (índice"),
        (0.95, "Most people would be together", "La mayoría de las personas"),
        (0.8, "Most people would be together", "La mayoría de las personas"),
        (0.799, "They are other segments", "Son otros segmentos"),
    ],
)
def test_the_sentence_says_how_far_and_whether_people_are_the_same(rand, en, es):
    finding = made(NATIVE, FAISS_LINE, native__faiss=rand).finding
    plain = finding.en.replace("\xa0", " ")
    assert plain.startswith(
        "native is the quickest (0.10 s); its inertia is 2.00% above the lowest, that of FAISS (2.00 s). "
    )
    assert en in plain
    assert finding.es.replace("\xa0", " ").startswith(
        "native es el más rápido (0,10 s); su inercia supera en un 2,00 % a la más baja, la de FAISS (2,00 s). "
    )
    assert es in finding.es


@pytest.mark.parametrize(
    ("rand", "en", "es"),
    [
        (0.99, "With any of the others", "Con cualquiera de los demás"),
        (0.9, "With Dask-ML most people", "Con Dask-ML la mayoría"),
        (0.2, "Dask-ML finds other segments", "Dask-ML encuentra otros segmentos"),
    ],
)
def test_where_the_quickest_is_the_best_the_farthest_of_the_others_is_looked_at(rand, en, es):
    best = a_line("sklearn", 0.05, 100.0, 1.0)
    dask = a_line("dask_ml", 4.0, 130.0, 1.3)
    found = made(best, FAISS_LINE, dask, sklearn__faiss=0.995, sklearn__dask_ml=rand, faiss__dask_ml=0.1)
    assert "scikit-learn is the quickest" in found.finding.en
    assert "and finds the lowest inertia. " in found.finding.en
    assert found.people.en.startswith(en)
    assert found.people.es.startswith(es)


def test_too_few_answers_are_said_to_be_too_few():
    failed = Line(name="faiss", backend="faiss", solver="auto", error="killed")
    assert made(NATIVE, failed).finding.en == "Only native finished: there is nothing to compare it with."
    assert made(failed).finding.es == "Ningún motor ha terminado."
    assert (made(failed).best, made(failed).quickest, made(failed).rand("faiss", "faiss")) == (None, None, None)
    assert made(failed).figures() == {}


def test_a_lowest_inertia_of_nothing_has_no_ratio(here):
    found = parity(np.array([[0.0], [1.0], [5.0]], np.float32), 3, backends=FAST, threads=1)
    assert [line.inertia_ratio for line in found.lines] == [1.0, 1.0]
    nothing = made(a_line("native", 0.1, 5.0, None), a_line("faiss", 2.0, 0.0, 1.0), native__faiss=0.5)
    assert "its inertia is not the lowest, that of FAISS" in nothing.finding.en


@pytest.mark.parametrize(("language", "figure"), [("en", "1.02000"), ("es", "1,02000")])
def test_the_table_lines_up_and_holds_every_figure(language, figure):
    failed = Line(name="sklearn", backend="sklearn", solver="auto", error="ended after 9 s, the limit")
    text = made(NATIVE, FAISS_LINE, failed, native__faiss=0.97).table(language)
    head, native, faiss, sklearn, blank, index, _, finding = text.splitlines()
    assert index == of_index().to_dict()[language]
    assert len(head) == len(native) == len(faiss)
    assert [word.to_dict()[language] for word in HEADS if word.to_dict()[language] not in head] == []
    assert figure in native
    assert sklearn.split(maxsplit=1) == ["scikit-learn", failed.error]
    assert (blank, finding) == ("", made(NATIVE, FAISS_LINE, native__faiss=0.97).finding.to_dict()[language])
    with pytest.raises(SettingError, match="fr"):
        made(NATIVE).table("fr")


def test_json_csv_and_tracked_figures_say_the_same():
    failed = Line(name="sklearn", backend="sklearn", solver="auto", error="killed")
    found = made(NATIVE, FAISS_LINE, failed, native__faiss=0.97)
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (content["best"], content["quickest"]) == ("faiss", "native")
    assert content["lines"][0]["label"] == {"en": "native", "es": "native"}
    rows = found.to_rows()
    assert [row["adjusted_rand_native"] for row in rows] == [1.0, 0.97, None]
    assert [row["kept_share_faiss"] for row in rows] == [0.9, 1.0, None]
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    assert (content["notes"], content["busy_cores"]) == ([], None)
    figures = found.figures()
    assert figures["parity_native_inertia_ratio"] == content["lines"][0]["inertia_ratio"] == 1.02
    assert figures["parity_native_adjusted_rand_with_best"] == 0.97
    assert not [name for name in figures if "sklearn" in name]


REPEATS = {"seconds_lowest": 0.08, "seconds_highest": 0.3, "fits": 3}


def noted(language: str, rows: int = 1_000, busy: float | None = None, **changes) -> str:
    lines = (replace(NATIVE, **changes), FAISS_LINE)
    agreements = (Agreement("native", "faiss", 0.97, 0.9),)
    found = Parity(
        rows=rows, features=3, k=4, seed=0, lines=lines, agreements=agreements, busy_cores=busy
    )  # fmt: skip
    return found.table(language).replace("\xa0", " ")


def test_the_table_says_once_what_one_must_know_to_read_it():
    plain = noted("en")
    assert plain.count("\nAdjusted Rand index: ") == 1
    assert "above 0.95 they count as the same segments, below 0.80 as other segments." in plain
    assert "rand with" not in plain.lower().replace("rand index", "")
    assert not [word for word in ("Seconds:", "busy", "Native used") if word in plain]
    assert "0.100 (0.080–0.300)" in noted("en", **REPEATS)
    assert "Seconds: of fits under 5 s, the median of 3 and in brackets their range." in noted("en", **REPEATS)
    assert "0,100 (0,080–0,300)" in noted("es", **REPEATS)
    assert "Segundos: en los ajustes de menos de 5 s, la mediana de 3" in noted("es", **REPEATS)


@pytest.mark.parametrize(("busy", "told"), [(None, False), (0.4, False), (0.5, True), (1.3, True)])
def test_a_busy_machine_is_told(busy, told):
    assert ("The machine was busy" in noted("en", busy=busy)) == told
    assert ("usaban 1,3 de sus núcleos" in noted("es", busy=busy)) == (busy == 1.3)


def test_fewer_rows_than_there_are_have_a_reason():
    merged, sampled = {"rows_used": 25}, {"rows_used": 900, "solver": "sample"}
    assert "Native used fewer than 1,000 rows: customers with the same measures are one row" in noted("en", **merged)
    assert "Native used fewer than 1,000 rows: with “sample” it searches a sample." in noted("en", **sampled)
    assert "Native ha usado menos de 1.000 filas: los clientes con las mismas medidas" in noted("es", **merged)


def test_identical_rows_are_merged_by_native_alone(here):
    matrix = np.random.default_rng(0).integers(0, 5, (600, 2)).astype(np.float32)
    found = parity(matrix, 3, backends=FAST, threads=1)
    assert [line.rows_used for line in found.lines] == [25, 600]
    (note,) = [note.en for note in found.notes if "fewer" in note.en]
    assert "sample" not in note


# Bad input


@pytest.mark.parametrize(
    ("given", "error", "expected"),
    [
        ({"k": 121}, DataError, "121 clusters were asked for, but among 120 customers only 120 differ"),
        ({"k": 0}, SettingError, "clustering.k"),
        ({"backends": ["native"]}, SettingError, "expected at least two backends to compare, of .*; got native"),
        ({"backends": "faiss"}, SettingError, "expected at least two backends"),
        ({"backends": []}, SettingError, "got none"),
        ({"backends": ["native", "native"]}, SettingError, "expected each backend once"),
        ({"backends": ["native", "fais"]}, SettingError, r"got 'fais' \(did you mean 'faiss'\?\)"),
        ({"seed": -1}, SettingError, "seed: expected 0 to"),
        ({"threads": 0}, SettingError, "threads"),
        ({"limit_s": 0.0}, SettingError, "limit_s: expected seconds above 0"),
        ({"bucket_rows": [100, 19]}, DataError, "120"),
        ({"matrix": np.full((4, 2), np.nan, np.float32), "k": 2}, DataError, "NaN"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_starts(given, error, expected, monkeypatch):
    monkeypatch.setattr(module, "fit_apart", lambda *one, **two: pytest.fail("a process was started"))
    settings = {"matrix": groups(0), "k": 3, "backends": FAST, **given}
    with pytest.raises(error, match=expected):
        parity(settings.pop("matrix"), settings.pop("k"), **settings)


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_too_little_room_for_another_copy_is_told_before_anything_is_written(where, monkeypatch):
    class Room(NamedTuple):
        available: int = 2**40
        free: int = 2**40

    scarce = Room(100, 100)
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: scarce if where == "memory" else Room())
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: scarce if where == "disk" else Room())
    monkeypatch.setattr(module.np, "save", lambda *one: pytest.fail("the rows were written"))
    with pytest.raises(SettingError, match="expected room for another copy of the rows") as told:
        parity(groups(0), 3, backends=FAST)
    assert ("where=" in str(told.value)) == (where == "memory")
    assert ("TMPDIR" in str(told.value)) == (where == "disk")
