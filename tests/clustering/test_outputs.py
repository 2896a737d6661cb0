"""What is refused before a kernel would write beyond it."""

from __future__ import annotations

import numpy as np
import pytest

from engine.clustering.rows_array import ArrayRows
from engine.errors import DataError


@pytest.mark.parametrize("distances", [None, np.empty(9, np.float32)])
@pytest.mark.parametrize("labels", [np.empty(9, np.int32), np.empty(11, np.int32)])
def test_room_for_labels_is_that_of_the_rows(labels, distances):
    with pytest.raises(DataError, match="room for 10 rows"):
        ArrayRows(np.zeros((10, 2))).assign(np.zeros((1, 2)), labels, distances)


def test_room_for_distances_is_that_of_the_rows():
    with pytest.raises(DataError, match="room for 10 rows"):
        ArrayRows(np.zeros((10, 2))).assign(np.zeros((1, 2)), np.empty(10, np.int32), np.empty(9))


def test_no_centroids_and_no_models():
    rows = ArrayRows(np.zeros((10, 2)))
    assert rows.step([]) == []
    with pytest.raises(DataError, match="k of 1 or more"):
        rows.step([np.zeros((1, 2)), np.empty((0, 2))])
    with pytest.raises(DataError, match="finite numbers; got NaN"):
        rows.step([np.full((1, 2), np.nan)])
