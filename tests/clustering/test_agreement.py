from __future__ import annotations

import numpy as np
import pytest

from engine.clustering import agreement
from engine.clustering.agreement import Matching, adjusted_rand, match_clusters, stability
from engine.errors import DataError
from tests.reference.agreement_twin import adjusted_rand_by_pairs, most_rows_kept


def divisions(seed: int, n: int, k_a: int, k_b: int, noise: float):
    """Two divisions that agree but for a share of rows dealt anew."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, k_a, n)
    b = np.where(rng.random(n) < noise, rng.integers(0, k_b, n), a % k_b)
    return a.astype(np.int32), b.astype(np.int32)


CASES = [(2, 2, 2, 0.5), (30, 3, 3, 0.0), (40, 3, 4, 0.3), (40, 5, 2, 0.5), (50, 6, 6, 1.0), (12, 12, 1, 0.0)]


@pytest.mark.parametrize("cells", [2**22, 0], ids=["dense", "sparse"])
@pytest.mark.parametrize(("n", "k_a", "k_b", "noise"), CASES)
def test_adjusted_rand_equals_the_count_over_pairs_and_scikit_learn(n, k_a, k_b, noise, cells, monkeypatch):
    from sklearn.metrics import adjusted_rand_score

    monkeypatch.setattr(agreement, "_DENSE_CELLS", cells)
    for seed in range(5):
        a, b = divisions(seed, n, k_a, k_b, noise)
        assert adjusted_rand(a, b) == pytest.approx(adjusted_rand_by_pairs(a.tolist(), b.tolist()), abs=1e-15)
        assert adjusted_rand(a, b) == pytest.approx(adjusted_rand_score(a, b), abs=1e-12)


def test_adjusted_rand_published():
    # L. Hubert and P. Arabie (1985) index, worked on the table of K. Yeung and W. Ruzzo, "Details of the adjusted
    # Rand index and clustering algorithms" (2001), Table 2: cells (1, 1, 0), (1, 2, 1), (0, 0, 4); they give 0.313.
    a = np.repeat([0, 0, 0, 1, 1, 1, 2, 2, 2], [1, 1, 0, 1, 2, 1, 0, 0, 4])
    b = np.repeat([0, 1, 2, 0, 1, 2, 0, 1, 2], [1, 1, 0, 1, 2, 1, 0, 0, 4])
    assert adjusted_rand(a, b) == pytest.approx(0.313, abs=5e-4)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([], [], 1.0),
        ([3], [0], 1.0),
        ([0, 0, 0], [5, 5, 5], 1.0),  # all together in both
        ([0, 1, 2], [2, 0, 1], 1.0),  # each alone in both
        ([0, 0, 0], [0, 1, 2], 0.0),  # all together against each alone
        ([0, 0, 1, 1], [0, 1, 0, 1], -0.5),  # the least there is
        ([0, 0, 1, 1], [0, 0, 1, 2], 4 / 7),  # (1 - 2/6) / (1.5 - 2/6)
    ],
)
def test_adjusted_rand_at_the_edges(a, b, expected):
    assert adjusted_rand(np.array(a, np.int32), np.array(b, np.int32)) == pytest.approx(expected, abs=1e-16)


def test_numbers_of_clusters_and_order_of_rows_do_not_matter():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        a, b = divisions(seed, 300, 6, 5, 0.4)
        renumbered, order = np.array([70, 3, 2**31 - 1, 0, 12, 9], np.int32), rng.permutation(300)
        # Exact integers: not even the last bit may differ.
        assert adjusted_rand(b, a) == adjusted_rand(a, b) == adjusted_rand(renumbered[a][order], b[order])
        assert adjusted_rand(a, renumbered[a]) == 1.0


def test_divisions_that_know_nothing_of_each_other_agree_by_chance_only():
    # The index is corrected so that its mean over such divisions is 0.
    found = [adjusted_rand(*divisions(seed, 500, 4, 4, 1.0)) for seed in range(60)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(60)
    assert max(np.abs(found)) < 0.05


def test_pairs_are_counted_beyond_64_bits():
    # The product of two counts of pairs is near 1e25 here; int64 ends at 9e18.
    a, b = np.zeros(3_000_000, np.int32), np.zeros(3_000_000, np.int32)
    a[2_000_000:] = b[1_999_990:] = 1
    assert adjusted_rand(a, b) == _two_by_two(1_999_990, 10, 0, 1_000_000)


def _two_by_two(*cells: int) -> float:
    from fractions import Fraction
    from math import comb

    w, x, y, z = cells
    index = sum(comb(cell, 2) for cell in cells)
    rows, columns = comb(w + x, 2) + comb(y + z, 2), comb(w + y, 2) + comb(x + z, 2)
    expected = Fraction(rows * columns, comb(sum(cells), 2))
    return float((index - expected) / (Fraction(rows + columns, 2) - expected))


def test_blocks_of_rows_add_up(monkeypatch):
    a, b = divisions(0, 1_000, 5, 4, 0.4)
    whole = adjusted_rand(a, b)
    monkeypatch.setattr(agreement, "_BLOCK_ROWS", 7)
    assert adjusted_rand(a, b) == whole


@pytest.mark.parametrize("function", [adjusted_rand, match_clusters])
@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 1, 0], [0, 1], "one label for each of 3 rows"),
        ([0, 1], [0, -1], "labels from 0; got -1"),
        ([0, 1], [0.0, np.nan], "whole numbers; got float64"),
        ([[0, 1]], [[0, 1]], "one label for each of 1 rows"),
    ],
)
def test_labels_that_do_not_fit_are_refused(function, a, b, expected):
    with pytest.raises(DataError, match=expected):
        function(np.array(a), np.array(b))


# stability


def test_stability_is_the_mean_over_pairs():
    a, b = divisions(0, 100, 3, 3, 0.3)
    c, _ = divisions(1, 100, 4, 3, 0.3)
    expected = (adjusted_rand(a, b) + adjusted_rand(a, c) + adjusted_rand(b, c)) / 3
    assert stability([a, b, c]) == pytest.approx(expected, abs=1e-15)
    assert stability([a, a, a]) == 1.0


def test_stability_of_fewer_than_two_is_not_defined():
    assert stability([]) is None
    assert stability([np.array([0, 1])]) is None


# matching


@pytest.mark.parametrize(("n", "k_a", "k_b", "noise"), CASES[1:])
def test_matching_keeps_as_many_rows_as_any(n, k_a, k_b, noise):
    for seed in range(5):
        a, b = divisions(seed, n, k_a, k_b, noise)
        found = match_clusters(a, b)
        kept = sum(found.pairs.get(x) == y for x, y in zip(a.tolist(), b.tolist(), strict=True))
        assert found.kept_share == kept / n == most_rows_kept(a.tolist(), b.tolist()) / n
        assert len(set(found.pairs.values())) == len(found.pairs)
        assert match_clusters(b, a).kept_share == found.kept_share


def test_matching_looks_at_all_clusters_together():
    # Greedy would give cluster 0 its largest overlap (5 rows) and leave 1 with none: 5. The best keeps 4 + 4.
    a = np.repeat([0, 0, 1], [5, 4, 4])
    b = np.repeat([0, 1, 0], [5, 4, 4])
    assert match_clusters(a, b) == Matching(pairs={0: 1, 1: 0}, kept_share=8 / 13)


def test_matching_finds_a_renumbering():
    a, _ = divisions(0, 200, 5, 5, 0.0)
    renumbered = np.array([40, 2, 0, 7, 1], np.int32)
    assert match_clusters(a, renumbered[a]) == Matching(dict(enumerate(renumbered.tolist())), 1.0)


def test_clusters_without_a_row_in_common_are_not_matched():
    # Clusters 1 of both are left over, but no row is in both.
    a, b = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 0, 1, 0, 2, 2])
    assert match_clusters(a, b) == Matching({0: 0, 2: 2}, 4 / 6)


def test_no_rows_cannot_be_matched():
    with pytest.raises(DataError, match="at least one row"):
        match_clusters(np.array([], np.int32), np.array([], np.int32))
