"""Fréchet distance: against an independent formula, and over shards."""

import numpy as np
import pytest
import scipy.linalg

from synthray.errors import SynthRayError, UsageError
from synthray.metrics.base import Features
from synthray.metrics.frechet import Frechet, frechet_distance, frechet_note


def features(x, start=0):
    return Features(np.arange(start, start + len(x), dtype=np.int64), x)


def whole(x):
    metric = Frechet()
    return metric.update(metric.init(), features(x))


def sharded(x, cuts, order, tree=False):
    metric = Frechet()
    parts = np.split(x, cuts)
    states = [metric.update(metric.init(), features(parts[i])) for i in order]
    while tree and len(states) > 1:
        states = [
            metric.merge(*pair) if len(pair) == 2 else pair[0]
            for pair in (states[i : i + 2] for i in range(0, len(states), 2))
        ]
    total = metric.init()
    for state in states:
        total = metric.merge(total, state)
    return total


def textbook(x, y):
    """|m1 - m2|² + tr(S1 + S2 - 2 (S1 S2)^½) with scipy's sqrtm, for well-conditioned input."""
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(s1 @ s2).real
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s1 + s2 - 2 * root)


def test_equals_the_textbook_formula():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 20)) @ rng.normal(size=(20, 20))
    y = rng.normal(size=(400, 20)) @ rng.normal(size=(20, 20)) + 0.3
    # Both are float64; sqrtm's own error is about 1e-12 at this condition number.
    assert frechet_distance(whole(x), whole(y)) == pytest.approx(textbook(x, y), rel=1e-9)


def test_moments_are_numpy_cov_and_mean():
    x = np.random.default_rng(1).normal(size=(100, 7))
    state = whole(x)
    np.testing.assert_allclose(state.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(state.covariance, np.cov(x, rowvar=False), rtol=1e-12)


@pytest.mark.parametrize(
    ("mean", "sd", "rows", "dim"),
    [
        (0.0, 1.0, 3000, 16),
        (1e4, 1e-2, 3000, 16),  # spread a millionth of the mean
        (-1e6, 1e-3, 3000, 16),
        (1e-8, 1e-9, 3000, 16),
        (1.0, 1e3, 3000, 16),
        (0.5, 1.0, 40, 64),  # fewer rows than dimensions: singular covariance
    ],
)
def test_sharded_equals_whole(mean, sd, rows, dim):
    rng = np.random.default_rng(2)
    scales = np.geomspace(1, 1e-3, dim)
    x = mean + sd * rng.normal(size=(rows, dim)) * scales
    y = mean + sd * (rng.normal(size=(rows, dim)) * scales * 1.1 + 0.05)
    expected = frechet_distance(whole(x), whole(y))
    cuts = np.sort(rng.choice(np.arange(1, rows), 23, replace=False))
    for order, tree in (
        (range(24), False),
        (range(23, -1, -1), False),
        (rng.permutation(24), True),
    ):
        value = frechet_distance(sharded(x, cuts, order, tree), sharded(y, cuts, order, tree))
        assert value == pytest.approx(expected, rel=1e-9)  # the promise of the design


def test_raw_moments_would_have_failed():
    """The adversarial magnitudes above are adversarial: the naive formula is far off there."""
    x = 1e4 + 1e-2 * np.random.default_rng(3).normal(size=(3000, 4))
    naive = (x.T @ x - len(x) * np.outer(x.mean(0), x.mean(0))) / (len(x) - 1)
    assert np.abs(np.diag(naive) / np.var(x, axis=0, ddof=1) - 1).max() > 1e-5


def test_singular_covariances():
    x = np.random.default_rng(4).normal(size=(50, 3))
    flat = np.hstack([x, x])  # rank 3 in 6 dimensions
    assert frechet_distance(whole(flat), whole(flat)) == pytest.approx(0, abs=1e-12)
    # Doubling every coordinate doubles the distance, singular or not.
    y = np.random.default_rng(5).normal(size=(50, 3)) * 2
    assert frechet_distance(whole(flat), whole(np.hstack([y, y]))) == pytest.approx(
        2 * frechet_distance(whole(x), whole(y)), rel=1e-9
    )
    constant = np.ones((5, 3))
    assert frechet_distance(whole(constant), whole(constant + 1)) == pytest.approx(3)


def test_update_leaves_its_arguments_alone():
    metric = Frechet()
    x = np.random.default_rng(6).normal(size=(10, 3))
    copy = x.copy()
    state = metric.update(metric.init(), features(x))
    before = state.m2.copy()
    metric.update(state, features(x))
    np.testing.assert_array_equal(state.m2, before)
    np.testing.assert_array_equal(x, copy)


def test_errors():
    metric = Frechet()
    one = whole(np.ones((1, 3)))
    good = whole(np.random.default_rng(7).normal(size=(9, 3)))
    with pytest.raises(UsageError, match="1 row, needs at least 2"):
        frechet_distance(one, good)
    with pytest.raises(UsageError, match="0 rows, needs at least 2"):
        metric.compute(good, metric.init())
    with pytest.raises(UsageError, match="3 and of 4 dimensions"):
        metric.compute(good, whole(np.random.default_rng(8).normal(size=(9, 4))))
    with pytest.raises(UsageError, match="3 and of 4 dimensions"):
        metric.merge(good, whole(np.ones((2, 4))))
    bad = np.ones((4, 3))
    bad[2, 1] = np.nan
    with pytest.raises(SynthRayError, match="1 rows are NaN or infinite, first row 12"):
        features(bad, start=10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.arange(2), np.ones((3, 2))), "one int64 row number per row"),
        ((np.arange(2, dtype=np.int32), np.ones((2, 2))), "one int64 row number per row"),
        ((np.array([-1]), np.ones((1, 2))), "row number -1"),
        ((np.arange(2), np.ones(2)), r"shape \[2\]"),
        ((np.arange(2), np.ones((2, 2), dtype=np.float16)), "float16"),
        ((np.arange(2), np.ones((2, 2)), np.ones((3, 2)) / 2), "probabilities have shape"),
        ((np.arange(2), np.ones((2, 2)), np.ones((2, 2))), "add up to 1"),
    ],
)
def test_features_are_checked(arguments, message):
    with pytest.raises(UsageError, match=message):
        Features(*arguments)


def test_no_rows_are_no_rows():
    metric = Frechet()
    assert metric.update(metric.init(), features(np.empty((0, 3)))) is None


def test_the_bias_is_told():
    assert "singular" in frechet_note(64, 64)
    assert "biased" in frechet_note(65, 64)
    assert frechet_note(640, 64) is None
