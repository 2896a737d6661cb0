"""The machine code: every width, every edge of a tile and a chunk, both orders, and what it is compiled to."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.clustering import jit, kernels, search_kernels, seeding_kernels
from engine.clustering.rows_array import ArrayRows
from tests.reference import kmeans_twin

WIDTHS = [*range(1, 18), 24, 31, 33, 63, 64, 65]
EDGES = [1, 15, 16, 17, 255, 256, 257]
CHUNK_EDGES = [8191, 8192, 8193]


def whole_numbers(seed, n, d, k, dtype, reach=8):
    """Rows and centroids whose distances and sums no precision rounds, with many rows halfway between centroids."""
    rng = np.random.default_rng([seed, n, d, k])
    X = rng.integers(-reach, reach + 1, size=(n, d)).astype(dtype)
    C = rng.integers(-reach, reach + 1, size=(k, d)).astype(np.float64)
    return X, C, rng.integers(0, 4, size=n).astype(float)


def answers(rows, C):
    """All that the kernels say of one set of centroids."""
    (stats,) = rows.step([C])
    labels, distances = np.full(rows.n, -7, np.int32), np.full(rows.n, -7, rows.matrix.dtype)
    inertia = rows.assign(C, labels, distances)
    drawn = rows.draw(C, 0.3, 0.01, 5)
    return {
        "labels": labels,
        "distances": distances,
        "counts": stats.counts,
        "sums": stats.sums,
        "sse": stats.sse,
        "inertia": np.float64(inertia),
        "farthest": rows.farthest(C),
        "drawn": drawn.index,
        "drawn squared": drawn.squared,
        "drawn inertia": np.float64(drawn.inertia),
    }


def assert_equal(one, other):
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def expected(X, C, weights):
    """The same from the twin, except which rows are drawn."""
    labels, squared, counts, sums, sse = kmeans_twin.read(X, C, weights)
    return {
        "labels": labels,
        "distances": np.sqrt(squared.astype(X.dtype)),
        "counts": counts,
        "sums": sums,
        "sse": sse,
        "inertia": sse.sum(),
        "farthest": kmeans_twin.farthest(labels, squared, len(C), weights),
        "drawn inertia": sse.sum(),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", WIDTHS)
def test_reads_of_whole_numbers_are_exact_at_every_edge(d, dtype):
    turn = WIDTHS.index(d)
    sizes = [*EDGES, CHUNK_EDGES[turn % 3]]
    for place, n in enumerate(sizes):
        k = (turn * len(sizes) + place) % 40 + 1
        X, C, some = whole_numbers(0, n, d, k, dtype)
        some[0] = 1.0
        for weights in (None, some):
            told = expected(X, C, weights)
            first = answers(ArrayRows(X, weights, threads=1), C)
            assert_equal(told, first)
            for given in (X, np.asfortranarray(X)):
                # Several threads have something to do on several chunks only.
                assert_equal(first, answers(ArrayRows(given, weights, threads=1 if n < 8_000 else 2), C))


def test_every_number_of_clusters_up_to_forty_was_asked_for():
    sizes = len(EDGES) + 1
    assert {(turn * sizes + place) % 40 + 1 for turn in range(len(WIDTHS)) for place in range(sizes)} == set(
        range(1, 41)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 3, 8, 20, 65])
def test_reads_of_any_numbers_agree_with_the_twin(d, dtype):
    rng = np.random.default_rng(d)
    X, weights = rng.normal(size=(9_000, d)).astype(dtype), rng.random(9_000)
    C = rng.normal(size=(11, d)).astype(dtype).astype(np.float64)
    # A sum of d squares in the rows' precision, one rounding for each.
    close = {"rtol": 2 * d * float(np.finfo(dtype).eps), "atol": 1e-30}
    for given in (X, np.asfortranarray(X)):
        told = answers(ArrayRows(given, weights), C)
        squared = np.stack([((X.astype(np.float64) - centre) ** 2).sum(axis=1) for centre in C], axis=1)
        np.testing.assert_allclose(squared[np.arange(9_000), told["labels"]], squared.min(axis=1), **close)
        np.testing.assert_allclose(told["distances"], np.sqrt(squared.min(axis=1)), **close)
        own = told["labels"][:, np.newaxis] == np.arange(11)
        np.testing.assert_allclose(told["counts"], weights @ own, rtol=1e-12)
        np.testing.assert_allclose(told["sums"], (own * weights[:, np.newaxis]).T @ X.astype(np.float64), atol=1e-9)
        np.testing.assert_allclose(told["sse"], (weights * squared.min(axis=1)) @ own, rtol=close["rtol"] + 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_lowest_of_equal_centroids_takes_the_rows(dtype):
    X, C, _ = whole_numbers(1, 300, 5, 6, dtype)
    twice = np.concatenate([C, C[::-1], C])
    told = answers(ArrayRows(X), twice)
    assert (told["labels"] < 6).all()
    assert (told["farthest"][6:] == -1).all()
    assert not told["counts"][6:].any()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 3, 7, 8, 9, 15, 17])
def test_what_lies_beside_the_matrix_does_not_matter(d, dtype, order):
    for n in (1, 16, 255, 256, 512, 700):
        X, C, _ = whole_numbers(2, n, d, 5, dtype)
        buffer = np.full(n * d + 1_000, np.nan, dtype)
        place = buffer[500 : 500 + n * d]
        given = place.reshape(n, d) if order == "C" else place.reshape(d, n).T
        given[:] = X
        rows = ArrayRows(given)
        assert np.shares_memory(rows.matrix, buffer)
        assert_equal(expected(X, C, None), answers(rows, C))
        shares = np.random.default_rng(n).random((2, min(n, 4), 3))
        np.testing.assert_array_equal(rows.seeds(shares), ArrayRows(X).seeds(shares))
        for found, same in zip(
            rows.settle([C, C[::-1]], 5, 0.0), ArrayRows(X).settle([C, C[::-1]], 5, 0.0), strict=True
        ):
            np.testing.assert_array_equal(found, same)


AT_THE_END = """
import ctypes, mmap, sys
import numpy as np
from engine.clustering.rows_array import ArrayRows

libc, kept = ctypes.CDLL(None, use_errno=True), []

def at_the_end(values):
    # Behind the last value begins a page that may not be read.
    size = -(-values.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.mprotect(ctypes.c_void_p(first + size), mmap.PAGESIZE, 0) == 0
    kept.append(memory)
    flat = np.frombuffer(memory, values.dtype, values.size, size - values.nbytes)
    flat[:] = values
    return flat

rng = np.random.default_rng(0)
for d in (1, 3, 8, 9, 15):
    for n in (1, 17, 255, 256, 8192, 8200):
        X = rng.normal(size=(n, d)).astype(np.float32)
        for given in (at_the_end(X.ravel()).reshape(n, d), at_the_end(X.T.ravel()).reshape(d, n).T):
            rows = ArrayRows(given, at_the_end(np.ones(n)))
            C = X[: min(n, 4)].astype(np.float64)
            rows.step([C]), rows.farthest(C), rows.draw(C, 0.1, 0.1, 0)
            rows.assign(C, at_the_end(np.zeros(n, np.int32)), at_the_end(np.zeros(n, np.float32)))
            rows.seeds(rng.random((2, len(C), 3))), rows.settle([C], 2, 0.0)
            rows.breathe([C], np.full(d, 0.1), width=2, moves=(2, 2), shift_tolerance=0.0, better=1e-4)
print("read")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="pages are guarded in another way there")
def test_nothing_is_read_or_written_behind_the_last_value():
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_END], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "read\n"), done.stderr


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_file_that_must_not_be_written_to_is_read_where_it_lies(dtype, order, tmp_path):
    X, C, _ = whole_numbers(3, 1_000, 6, 4, dtype)
    np.save(tmp_path / "rows.npy", np.asarray(X, order=order))
    before = (tmp_path / "rows.npy").read_bytes()
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    rows = ArrayRows(mapped)
    assert np.shares_memory(rows.matrix, mapped)
    assert_equal(answers(ArrayRows(X), C), answers(rows, C))
    kept = X.copy()
    kept.setflags(write=False)
    assert_equal(answers(ArrayRows(X), C), answers(ArrayRows(kept), C))
    assert (kept == X).all()
    assert (tmp_path / "rows.npy").read_bytes() == before


def test_values_that_are_not_aligned_are_read():
    X, C, _ = whole_numbers(4, 600, 3, 4, np.float32)
    shifted = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape)
    assert not shifted.flags.aligned
    assert_equal(answers(ArrayRows(X), C), answers(ArrayRows(shifted), C))


SINGLE = re.compile(r"= f(mul|sub|add) [a-z ]*float ")


def vector_calls():
    """The functions that take the time, with arguments of float32."""
    L = kernels.LANES
    columns, centres = np.zeros(8 * L + 16, np.float32), np.zeros(16, np.float32)
    squared, nearest, weights = np.zeros(L, np.float32), np.zeros(L, np.int32), np.ones(L)
    near = np.ones(L + 16, np.float32)
    tile = (columns, 0, L)
    return {
        "nearest_centroids": (
            kernels.nearest_centroids,
            (*tile, 8, centres, 0, 2, squared, nearest, columns, 2 * L, 1, L),
        ),
        "_to_seed": (seeding_kernels._to_seed, (columns, L, 8, 0, L, 3, weights, near, True, np.zeros(16))),
        "_add_losses": (
            search_kernels._add_losses,
            (*tile, L, 0, np.empty(0), centres, 2, np.zeros(2), squared, squared.copy(), nearest),
        ),
        "add_rows": (
            kernels.add_rows,
            (columns, 0, 8, L, 8, weights, 0, squared, nearest, 0, np.zeros(100), 0, np.zeros((2, 4))),
        ),
    }


def fresh_code(function, arguments):
    """LLVM's text: compiled anew, because numba does not show the code of what it has on disk."""
    import numba

    anew = numba.njit(nogil=True, error_model="numpy", fastmath=set(jit.MATH))(function.py_func)
    anew(*arguments)
    (code,) = anew.inspect_llvm().values()
    return code


def blocks_of(code):
    """The stretches of a function that are run from their first line to the last."""
    return re.split(r"\n(?=[\w.\"]+:)", code)


@pytest.mark.parametrize("name", ["nearest_centroids", "_to_seed", "_add_losses"])
def test_distances_are_taken_sixteen_at_a_time(name):
    # One number at a time is ten times slower, and no result would show it. The number of features is not known to
    # the code: what holds for these arguments holds for every width.
    code = fresh_code(*vector_calls()[name])
    hot = [block for block in blocks_of(code) if "@llvm.fmuladd.v16f32" in block.partition("\ndeclare")[0]]
    assert any("fsub" in block for block in hot)
    for block in hot:
        assert not SINGLE.search(block), block
    if name == "nearest_centroids":
        # Four vectors of rows for each centroid, and nothing beside them.
        assert any(block.count("@llvm.fmuladd.v16f32") >= 4 for block in hot)
        assert not SINGLE.search(code)


def test_the_next_rows_are_fetched_while_distances_are_taken():
    code = fresh_code(*vector_calls()["nearest_centroids"])
    assert code.count("call void @llvm.prefetch") >= 4


@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_every_line_of_a_later_tile_is_fetched(by_rows, kind):
    n, d, L = 10 * kernels.LANES, 5, kernels.LANES
    X = np.zeros(n * d, kind)
    lanes = 64 // X.itemsize
    ahead, row_step, feature_step = kernels.to_come.py_func(X, n, d, by_rows, 3 * L)
    lines = {
        (ahead + r * row_step + f * feature_step + i * lanes) // lanes
        for r in range(0, L, 4 * lanes)
        for f in range(d)
        for i in range(4)
    }
    places = np.arange(n * d).reshape((n, d) if by_rows else (d, n))
    later = places[5 * L : 6 * L] if by_rows else places[:, 5 * L : 6 * L]
    assert lines == set((later.ravel() // lanes).tolist())


def test_rows_are_added_to_sums_eight_features_at_a_time():
    code = fresh_code(*vector_calls()["add_rows"])
    assert "@llvm.fmuladd.v8f64" in code
    assert re.search(r"= fadd [a-z ]*<8 x double> ", code)
    # Single numbers are the weights and the squared distances alone, two tallies on each of the three ways.
    assert len(re.findall(r"= fadd [a-z ]*double ", code)) <= 2 * 2 * 3
    assert not SINGLE.search(code)


def test_one_machine_code_serves_all_widths():
    for d in (3, 8, 20, 64):
        X, C, _ = whole_numbers(5, 300, d, 3, np.float32)
        ArrayRows(X).step([C])
        ArrayRows(np.asfortranarray(X)).step([C])
        read_only = X.copy()
        read_only.setflags(write=False)
        ArrayRows(read_only).step([C])
    of_float32 = [kinds for kinds in kernels.step_chunks.signatures if "float32" in str(kinds[0])]
    assert len(of_float32) == 1


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of the compiled sources, to be changed."""
    for name in jit.SOURCES:
        (tmp_path / f"{name}.py").write_bytes((Path(jit.__file__).parent / f"{name}.py").read_bytes())
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "jit.py"))
    jit._content.cache_clear()
    yield tmp_path
    jit._content.cache_clear()


def test_every_source_with_compiled_functions_is_watched():
    folder = Path(jit.__file__).parent
    using = {path.stem for path in folder.glob("*.py") if re.search(r"^@compiled\(", path.read_text(), re.M)}
    assert using | {"jit", "simd"} == set(jit.SOURCES)


@pytest.mark.parametrize("name", jit.SOURCES)
def test_the_stamp_changes_with_every_source(name, sources):
    before = jit._content()
    jit._content.cache_clear()
    assert jit._content() == before
    path = sources / f"{name}.py"
    path.write_bytes(path.read_bytes() + b"#")
    jit._content.cache_clear()
    assert jit._content() != before


def test_so_does_every_file_of_kernels_in_another_package(tmp_path):
    (tmp_path / "new_kernels.py").write_text("a = 1")
    before = jit._content(tmp_path)
    assert before != jit._content()
    (tmp_path / "new_kernels.py").write_text("a = 2")
    jit._content.cache_clear()
    assert jit._content(tmp_path) != before


SUMMED = """
from engine.clustering.jit import compiled


@compiled()
def doubled(x):
    return 2.0 * x
"""


def test_machine_code_is_kept_on_disk_until_a_source_changes(sources, tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    module = tmp_path / "summed.py"
    module.write_text(SUMMED)

    def fresh():
        spec = importlib.util.spec_from_file_location("summed", module)
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        assert loaded.doubled(4.0) == 8.0
        (hits,), (misses,) = (
            counts.values() or [0] for counts in (loaded.doubled.stats.cache_hits, loaded.doubled.stats.cache_misses)
        )
        return hits, misses

    assert fresh() == (0, 1)
    assert fresh() == (1, 0)
    (sources / "simd.py").write_text("changed")
    jit._content.cache_clear()
    assert fresh() == (0, 1)
    assert fresh() == (1, 0)


def test_a_second_process_takes_the_machine_code_from_disk():
    # This process has compiled it, or found it.
    X, C, _ = whole_numbers(6, 20, 3, 2, np.float32)
    ArrayRows(X).step([C])
    script = (
        "import numpy as np; from engine.clustering import kernels; from engine.clustering.rows_array import ArrayRows;"
        "ArrayRows(np.zeros((20, 3), np.float32)).step([np.zeros((2, 3))]); stats = kernels.step_chunks.stats;"
        "print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 0\n"


def test_numba_still_keeps_its_stamp_where_it_is_set():
    import numba

    @numba.njit(cache=True)
    def plain(x):
        return x

    stamp = getattr(plain._cache._cache_file, "_source_stamp", None)
    assert stamp is not None, "numba keeps the stamp of a cached file elsewhere now: engine.clustering.jit must follow"
    assert kernels.padded._cache._cache_file._source_stamp == jit._content()
