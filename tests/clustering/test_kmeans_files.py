"""The estimator on rows in a file: what it says of the same rows in memory."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from engine.clustering import KMeans
from engine.clustering.rows_file import FileRows
from engine.errors import DataError

NAMES = ["recency_days", "frequency", "monetary"]


def some(seed=0, n=400, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 3)) + 7.0 * rng.integers(0, 4, size=(n, 1))).astype(dtype)


def npy(folder, X, **options):
    np.save(folder / "rows.npy", X)
    return FileRows.npy(folder / "rows.npy", **options)


def parquet(folder, X, **options):
    for number, part in enumerate(np.array_split(X, 3)):
        pl.DataFrame(part, schema=NAMES).write_parquet(folder / f"{number}.parquet")
    return FileRows.parquet(folder, dtype=X.dtype, **options)


KINDS = pytest.mark.parametrize("opened", [npy, parquet])


@KINDS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
# Far from zero the rows are moved as they are read, as those in memory are before.
@pytest.mark.parametrize("away", [0.0, 2.0**14])
def test_every_answer_is_that_of_the_matrix(tmp_path, opened, dtype, away):
    X = some(dtype=dtype) + dtype(away)
    rows = opened(tmp_path, X, block_rows=128)
    model, plain = KMeans(4, random_state=0), KMeans(4, random_state=0).fit(X)
    np.testing.assert_array_equal(model.fit_predict(rows), plain.labels_)
    np.testing.assert_array_equal(model.cluster_centers_, plain.cluster_centers_)
    assert model.cluster_centers_.dtype == dtype
    assert model.inertia_ == pytest.approx(plain.inertia_, rel=1e-12)
    assert (model.n_iter_, model.stop_reason_, model.residual_) == (plain.n_iter_, plain.stop_reason_, plain.residual_)
    np.testing.assert_array_equal(model.predict(rows), plain.labels_)
    distances = model.transform(rows)
    assert distances.dtype == dtype
    np.testing.assert_array_equal(distances, plain.transform(X))
    np.testing.assert_array_equal(KMeans(4, random_state=0).fit_transform(rows), distances)
    assert model.score(rows) == pytest.approx(plain.score(X), rel=1e-12)


@pytest.mark.parametrize("seed", range(2))
def test_rows_that_are_searched_on_a_sample_are_those_of_the_matrix(tmp_path, seed):
    X = some(seed, n=120_000, dtype=np.float32)
    file, memory = (KMeans(6, random_state=seed, max_passes=3).fit(one) for one in (npy(tmp_path, X), X))
    np.testing.assert_array_equal(file.cluster_centers_, memory.cluster_centers_)
    np.testing.assert_array_equal(file.labels_, memory.labels_)
    assert file.stop_reason_ == memory.stop_reason_


@KINDS
def test_batches_may_come_from_files(tmp_path, opened):
    X = some()
    rows = opened(tmp_path, X, block_rows=128)
    model = KMeans(4, random_state=0).partial_fit(rows).partial_fit(rows)
    plain = KMeans(4, random_state=0).partial_fit(X).partial_fit(X)
    np.testing.assert_allclose(model.cluster_centers_, plain.cluster_centers_, rtol=1e-12)
    np.testing.assert_array_equal(model.labels_, plain.labels_)
    fitted = KMeans(4, random_state=0).fit(rows).partial_fit(rows)
    np.testing.assert_allclose(fitted.cluster_centers_, KMeans(4, random_state=0).fit(X).cluster_centers_, rtol=1e-12)


@KINDS
def test_given_starts_are_moved_over_the_file(tmp_path, opened):
    X = some()
    rows, seen = opened(tmp_path, X), []

    def first_rows(held, n_clusters, random_state):
        seen.append(held)
        return held.take(np.arange(n_clusters))

    for init in (X[:4], first_rows):
        model = KMeans(4, init=init, n_init=1).fit(rows)
        np.testing.assert_allclose(model.cluster_centers_, KMeans(4, init=X[:4]).fit(X).cluster_centers_, rtol=1e-9)
    assert seen == [rows]


def test_columns_of_parquet_name_the_features_and_are_compared(tmp_path):
    X = some()
    rows, frame = parquet(tmp_path, X), pl.DataFrame(X, schema=NAMES)
    model = KMeans(4, random_state=0).fit(rows)
    assert model.feature_names_in_.tolist() == NAMES
    assert model.n_features_in_ == 3
    np.testing.assert_array_equal(model.predict(frame), model.labels_)
    np.testing.assert_array_equal(KMeans(4, random_state=0).fit(frame).predict(rows), model.labels_)
    with pytest.raises(DataError, match="feature names should match"):
        model.predict(FileRows.parquet(tmp_path, NAMES[::-1]))
    with pytest.raises(DataError, match=r"[Ff]eature names"):
        model.predict(FileRows.parquet(tmp_path, "monetary"))


def test_a_file_without_names_is_compared_by_its_width(tmp_path):
    model = KMeans(4, random_state=0).fit(npy(tmp_path, some()))
    assert not hasattr(model, "feature_names_in_")
    with pytest.raises(DataError, match="X has 2 features, but KMeans is expecting 3"):
        model.predict(npy(tmp_path, some()[:, :2]))


@KINDS
def test_what_a_file_cannot_be_asked_is_refused(tmp_path, opened):
    X = some()
    rows = opened(tmp_path, X)
    for ask in (KMeans(4).fit, KMeans(4).partial_fit, KMeans(4, random_state=0).fit(X).score):
        with pytest.raises(DataError, match="sample_weight: rows in a file count once each"):
            ask(rows, sample_weight=np.ones(len(X)))
    with pytest.raises(DataError, match="n_samples=400 should be >= n_clusters=401"):
        KMeans(401).fit(rows)
    X[399, 1] = np.nan
    bad = opened(tmp_path, X)
    with pytest.raises(DataError, match=r"(rows.npy, row 399|2.parquet, row 132): expected finite"):
        KMeans(4).fit(bad)
    with bad, rows:
        pass
    with pytest.raises(DataError, match="were closed"):
        KMeans(4).fit(bad)
