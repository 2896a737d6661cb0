from __future__ import annotations

import logging
import threading
from functools import partial

import numpy as np
import pytest

from engine.errors import DataError, SettingError
from engine.neighbours import NeighbourIndex
from engine.neighbours.kinds import choose_kind, faiss_threads
from tests.reference.neighbours_twin import nearest

# Tests run side by side: threads that wait for each other would only take turns.
build = partial(NeighbourIndex.build, threads=1)

APPROXIMATE = ["ivf", "hnsw", "ivf_pq"]


def make_groups(seed: int, n: int, d: int, groups: int = 12) -> np.ndarray:
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(groups, d)) * 3
    return (centres[draw.integers(groups, size=n)] + draw.normal(size=(n, d))).astype(np.float32)


def share_found(index: NeighbourIndex, rows: np.ndarray, queries: np.ndarray, k: int) -> float:
    """Return which share of the neighbours found are no farther than the last true one, in distances taken anew."""
    limits = np.sort(np.sqrt(((queries[:, None].astype(float) - rows[None]) ** 2).sum(axis=2)), axis=1)[:, k - 1]
    ids = index.search(queries, k).ids
    distances = np.sqrt(((queries[:, None].astype(float) - rows[ids]) ** 2).sum(axis=2))
    return float((distances <= limits[:, None] * (1 + 1e-9)).mean())


@pytest.mark.parametrize(("kind", "seed"), [("ivf", 0), ("ivf", 1), ("ivf", 2), ("hnsw", 0), ("ivf_pq", 0)])
def test_the_recall_that_is_stored_is_found_again_with_other_queries(kind: str, seed: int) -> None:
    rows = make_groups(seed, 6_000, 4)
    index = build(rows, kind=kind, recall=0.95, seed=seed)
    queries = make_groups(seed, 6_400, 4)[6_000:]
    assert index.recall is not None
    assert (index.recall.at, index.recall.queries) == (10, 1_000)
    again = share_found(index, rows, queries, 10)
    # A query's ten neighbours are missed together: the error is that of 400 and 1,000 queries, not of neighbours.
    error = np.sqrt(index.recall.measured * (1 - index.recall.measured) * (1 / 400 + 1 / 1_000))
    assert abs(again - index.recall.measured) <= 4 * error + 0.002
    # More neighbours than the recall was measured for are found about as well.
    assert share_found(index, rows, queries[:100], 100) >= index.recall.measured - 0.05


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_more_recall_is_had_by_looking_farther(kind: str) -> None:
    rows = make_groups(5, 6_000, 16, groups=1)
    less, more = (build(rows, kind=kind, recall=asked) for asked in (0.6, 0.999))
    assert less.recall is not None
    assert more.recall is not None
    assert more.recall.measured >= 0.999 > less.recall.measured


def test_what_cannot_be_had_is_said(caplog: pytest.LogCaptureFixture) -> None:
    # One byte cannot tell rows apart that lie within a hundred thousandth of the range.
    rows = (np.random.default_rng(0).normal(size=(3_000, 2)) * 1e-5).astype(np.float32)
    rows[:20] *= 1e7
    with caplog.at_level(logging.WARNING):
        index = build(rows, kind="ivf_pq", recall=1.0)
    assert index.recall is not None
    assert index.recall.measured < 1.0
    assert "less than the 1.000 asked for" in caplog.text


def test_rows_that_are_equally_far_count_as_right() -> None:
    # Two hundred rows on each of twenty points: any ten of them are the nearest ten.
    rows = np.repeat(np.random.default_rng(3).normal(size=(20, 3)), 200, axis=0).astype(np.float32)
    index = build(rows, kind="ivf")
    assert index.recall is not None
    assert index.recall.measured == 1.0


@pytest.mark.parametrize("kind", ["flat", *APPROXIMATE])
@pytest.mark.parametrize("seed", range(2))
def test_what_is_removed_is_not_found_and_what_is_added_is(kind: str, seed: int) -> None:
    rows = make_groups(seed, 1_500, 3)
    ids = np.arange(1_500) * 7 + 1
    index = build(rows, ids, kind=kind, recall=0.999)
    # Every tenth leaves the graph standing; every third has it built anew.
    for every in (10, 3):
        gone = ids[::every]
        assert index.remove([*gone, 999_999, -5]) == np.isin(gone, ids).sum()
        assert index.remove(gone) == 0
        assert index.n == 1_500 - len(gone)
        found = index.search(rows, 5)
        assert not np.isin(found.ids, gone).any()
        staying = np.setdiff1d(np.arange(1_500), np.arange(0, 1_500, every))
        expected, _ = nearest(rows[:40], rows[staying], ids[staying], 5)
        assert (found.ids[:40] == np.array(expected)).mean() > 0.9
        index.add(rows[::every], gone)
        assert index.n == 1_500
        at_home = index.search(rows, 1)
        assert (at_home.ids[:, 0] == ids).mean() > 0.95


@pytest.mark.parametrize("kind", ["flat", *APPROXIMATE])
def test_an_id_that_is_added_again_is_replaced(kind: str) -> None:
    rows = make_groups(2, 600, 3)
    index = build(rows, kind=kind)
    far = np.full((1, 3), 40.0, np.float32)
    index.add(far, [17])
    assert index.n == 600
    assert index.search(far, 1).ids.tolist() == [[17]]
    assert (index.search(rows[17:18], 3).ids != 17).all()


def test_rows_can_be_given_other_ids() -> None:
    index = build(np.arange(5, dtype=np.float32)[:, None])
    index.remove([1])
    index.renumber([0, -1, 1, 2, 3])
    assert index.search([[2.0]], 4).ids.tolist() == [[1, 2, 0, 3]]
    with pytest.raises(DataError, match="repeat"):
        index.renumber([0, 0, 0, 0, 0])


@pytest.mark.parametrize("kind", ["flat", *APPROXIMATE])
def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads(kind: str, tmp_path) -> None:
    rows = make_groups(1, 4_000, 5)
    for threads in (1, 2):
        build(rows, kind=kind, seed=4, threads=threads).save(tmp_path / str(threads))
    for file in (tmp_path / "1").iterdir():
        # The manifest says how long a query took.
        if file.name != "manifest.json":
            assert file.read_bytes() == (tmp_path / "2" / file.name).read_bytes()


def test_auto_goes_by_rows_and_memory() -> None:
    assert choose_kind("auto", 100_000, 8, None).kind == "flat"
    assert choose_kind("auto", 100_001, 8, None).kind == "ivf"
    assert choose_kind("auto", 10_000_000, 8, 400).kind == "ivf"
    choice = choose_kind("auto", 10_000_000, 8, 300)
    assert choice.kind == "ivf_pq"
    assert "more than 300" in choice.reason
    with pytest.raises(SettingError, match=r"index\.memory_mib: 10,000,000 × 8 takes about 153 MiB .* got 100"):
        choose_kind("auto", 10_000_000, 8, 100)
    with pytest.raises(SettingError, match="hnsw over 1,000,000 × 8"):
        choose_kind("hnsw", 1_000_000, 8, 50)
    with pytest.raises(SettingError, match="did you mean 'hnsw'"):
        choose_kind("hsnw", 10, 2, None)
    with pytest.raises(SettingError, match="above 0"):
        choose_kind("flat", 10, 2, 0)


def test_the_repr_says_what_and_why() -> None:
    assert repr(build(np.eye(4))) == "<NeighbourIndex: flat over 4 × 4 (4 rows: every one is looked at)>"
    assert "(asked for); recall@10 " in repr(build(make_groups(0, 2_000, 2), kind="ivf"))


def test_threads_are_set_for_the_block_and_the_caller_only() -> None:
    import faiss

    before = faiss.omp_get_max_threads()
    seen = []
    with faiss_threads(before + 1):
        other = threading.Thread(target=lambda: seen.append(faiss.omp_get_max_threads()))
        other.start()
        other.join()
        seen.append(faiss.omp_get_max_threads())
    assert seen == [before, before + 1]
    assert faiss.omp_get_max_threads() == before


BAD_ROWS = {
    "NaN": [[1.0, np.nan], [0.0, 1.0]],
    "infinite": [[1.0, -np.inf], [0.0, 1.0]],
    "beyond float32": [[1.0, 1e300], [0.0, 1.0]],
}


@pytest.mark.parametrize("rows", BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_values_that_are_no_finite_numbers_are_refused(rows: list[list[float]]) -> None:
    with pytest.raises(DataError, match="1 of 2 rows hold a value that is missing, infinite or beyond"):
        build(np.array(rows))
    with pytest.raises(DataError, match="1 of 2 rows"):
        build(np.eye(2)).search(np.array(rows), 1)


def test_bad_input_is_refused_with_what_was_expected() -> None:
    rows = make_groups(0, 50, 3)
    index = build(rows)
    with pytest.raises(DataError, match=r"expected a matrix with rows and columns; got shape \(0, 3\)"):
        build(np.empty((0, 3)))
    with pytest.raises(DataError, match=r"shape \(rows, 3\); got float32 of shape \(50, 2\)"):
        index.search(rows[:, :2], 1)
    with pytest.raises(DataError, match=r"shape \(rows, 3\)"):
        index.search(rows[0], 1)
    with pytest.raises(DataError, match="<U1"):
        index.search(np.array([["a", "b", "c"]]), 1)
    with pytest.raises(DataError, match="1 of 50 ids repeat"):
        build(rows, np.maximum(np.arange(50), 1))
    with pytest.raises(DataError, match="expected 50 whole numbers"):
        build(rows, np.arange(49))
    with pytest.raises(DataError, match="at least 0; got -1"):
        build(rows, np.arange(50) - 1)
    with pytest.raises(DataError, match="ids to remove"):
        index.remove(["a"])
    with pytest.raises(DataError, match="one id to exclude for each of 2"):
        index.search(rows[:2], 1, exclude=[1])
    with pytest.raises(DataError, match="at least 256 rows"):
        build(rows, kind="ivf_pq")
    for k in (0, -1, 2.0, True):
        with pytest.raises(SettingError, match="whole number of at least 1"):
            index.search(rows, k)
    for recall in (0, 1.1, True, "high"):
        with pytest.raises(SettingError, match=r"index\.recall"):
            build(rows, recall=recall)
    with pytest.raises(SettingError, match="threads"):
        build(rows, threads=0)
