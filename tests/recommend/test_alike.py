from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from engine.recommend import affinity, alike
from tests.recommend.test_synthetic import odd_shop
from tests.reference import next_basket_twin as twin


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("most", [3, 400])
def test_reference_customers_are_those_of_the_twin(seed: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "MOST_PRODUCTS", most)
    customers, m = odd_shop(seed)
    history = twin.baskets_of(customers, m)
    rows = alike.reference_customers(history, 15, np.random.default_rng(seed))
    found = alike.people_of(history, affinity.distinct(history), rows)
    vectors = []
    for number, row in enumerate(rows.tolist()):
        counts = twin.distinct(customers[row], most)
        length = sum(count * count for count in counts.values()) ** 0.5
        vectors.append({item: count / length for item, count in counts.items()})
        here = slice(found.start[number], found.start[number + 1])
        shares = dict(zip(found.item[here].tolist(), found.share[here].tolist(), strict=True))
        assert shares == pytest.approx({item: count / len(customers[row]) for item, count in counts.items()}, rel=1e-6)
    for item in range(m):
        here = slice(found.post_start[item], found.post_start[item + 1])
        postings = dict(zip(found.post_row[here].tolist(), found.post_weight[here].tolist(), strict=True))
        assert postings == pytest.approx(
            {row: vector[item] for row, vector in enumerate(vectors) if item in vector}, rel=1e-6
        )
        assert list(postings) == sorted(postings)


def test_who_is_compared_with() -> None:
    customers, m = odd_shop(1)
    history = twin.baskets_of(customers, m)
    able = [c for c, own in enumerate(customers) if own]
    assert alike.reference_customers(history, 10_000, np.random.default_rng(0)).tolist() == able
    drawn = [alike.reference_customers(history, 6, np.random.default_rng(seed)).tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    for some in drawn:
        assert some == sorted(set(some))
        assert set(some) <= set(able)
        assert len(some) == 6


def test_customers_are_found_by_their_ids() -> None:
    references = pl.Series(["b", "d", "a"])
    assert alike.rows_among(pl.Series(["a", "x", "b", "a"]), references).tolist() == [2, -1, 0, 2]
    assert alike.rows_among(pl.Series([], dtype=pl.String), references).tolist() == []
    # Numbers are no names: customer 1 of another base is a stranger.
    assert alike.rows_among(pl.Series([1, 2]), references).tolist() == [-1, -1]
    assert alike.rows_among(pl.Series([5, 9]), pl.Series([9, 8])).tolist() == [-1, 0]
