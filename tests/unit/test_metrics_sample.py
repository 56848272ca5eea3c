"""The subsample: the same rows whatever the sharding, and uniform."""

import numpy as np
import pytest

from synthray.errors import UsageError
from synthray.metrics import sample as module
from synthray.metrics.base import Features
from synthray.metrics.sample import Subsample, row_hash

ROWS = 5_000


def features(index):
    index = np.asarray(index, dtype=np.int64)
    return Features(index, np.stack([index, index % 7], axis=1).astype(np.float32))


def take(metric, parts):
    states = [metric.update(metric.init(), features(part)) for part in parts]
    total = metric.init()
    for state in states:
        total = metric.merge(total, state)
    return total


@pytest.mark.parametrize("known_rows", [None, ROWS])
def test_sharding_cannot_change_it(known_rows):
    rng = np.random.default_rng(0)
    expected = take(Subsample(300), [np.arange(ROWS)])
    assert len(expected) == 300
    assert (np.diff(expected.index) > 0).all()
    np.testing.assert_array_equal(expected.features[:, 0], expected.index)
    for pieces in (2, 17, 400):
        shuffled = np.array_split(rng.permutation(ROWS), pieces)
        got = take(Subsample(300, rows=known_rows), shuffled)
        np.testing.assert_array_equal(got.index, expected.index)
        np.testing.assert_array_equal(got.features, expected.features)


def test_knowing_the_rows_keeps_states_small(monkeypatch):
    metric = Subsample(300, rows=ROWS)
    assert len(metric.update(None, features(np.arange(1000)))) < 100
    monkeypatch.setattr(module, "PLAN_ROWS", 10)
    assert len(metric.update(None, features(np.arange(1000)))) == 300


def test_few_rows_are_all_kept():
    assert len(take(Subsample(300, rows=20), [np.arange(20)])) == 20


def test_uniform():
    """Every row is equally likely: over 200 salts, hits are binomial(200, 0.1)."""
    hits = np.zeros(ROWS)
    for salt in range(200):
        hits[take(Subsample(ROWS // 10, salt=salt), [np.arange(ROWS)]).index] += 1
    assert hits.mean() == 20
    # Variance 200 * 0.1 * 0.9 = 18; its standard error over 5,000 rows is 0.36: four of them.
    assert hits.var() == pytest.approx(18, abs=1.5)
    # Neighbouring rows are independent.
    assert abs(np.corrcoef(hits[:-1], hits[1:])[0, 1]) < 0.06


def test_hash_is_splitmix64():
    """Vigna's reference: the first output of SplitMix64 seeded with 0."""
    assert int(module._mix(np.array([0], dtype=np.uint64))[0]) == 0xE220A8397B1DCDAF
    assert len(np.unique(row_hash(np.arange(100_000), 3))) == 100_000


def test_twice_counted_rows_are_found():
    metric = Subsample(300)
    state = metric.update(None, features(np.arange(100)))
    with pytest.raises(UsageError, match="row 0 was counted twice"):
        metric.merge(state, state)
    with pytest.raises(UsageError, match="0 rows"):
        Subsample(0)
