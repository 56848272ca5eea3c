"""Inception score: exactly the same however its rows are sharded."""

import numpy as np
import pytest

from synthray.errors import UsageError
from synthray.metrics.base import Features
from synthray.metrics.inception_score import BITS, InceptionScore, score_note

ROWS = 1_003  # no multiple of the splits


def probabilities(rows=ROWS, classes=6, seed=0):
    logits = np.random.default_rng(seed).normal(size=(rows, classes)) * 3
    p = np.exp(logits - logits.max(1, keepdims=True))
    return (p / p.sum(1, keepdims=True)).astype(np.float32)


def features(index, p):
    index = np.asarray(index, dtype=np.int64)
    return Features(index, np.zeros((len(index), 1)), p[index])


def score(parts, p, splits=10):
    metric = InceptionScore(len(p), splits)
    state = metric.init()
    for part in parts:
        state = metric.merge(metric.update(metric.init(), features(part, p)), state)
    return metric.compute(state, state)


def direct(p, splits=10):
    """exp of the mean KL per contiguous split, as written in the paper."""
    p = p.astype(np.float64)
    scores = []
    for k in range(splits):
        part = p[k * len(p) // splits : (k + 1) * len(p) // splits]
        kl = (part * (np.log(part) - np.log(part.mean(0)))).sum(1)
        scores.append(np.exp(kl.mean()))
    return np.mean(scores), np.std(scores)


@pytest.mark.parametrize("splits", [1, 3, 10])
def test_definition(splits):
    p = probabilities()
    got = score([np.arange(ROWS)], p, splits)
    # Fixed point rounds every term by at most 2^-41; six classes add up to below 1e-11.
    assert (got["score"], got["score_std"]) == pytest.approx(direct(p, splits), abs=1e-10)


def test_any_sharding_gives_the_same_bits():
    p = probabilities()
    expected = score([np.arange(ROWS)], p)
    rng = np.random.default_rng(1)
    for pieces in (1, 2, 50, ROWS):
        assert score(np.array_split(rng.permutation(ROWS), pieces), p) == expected


def test_sums_are_integers_that_cannot_overflow():
    metric = InceptionScore(4, 1)
    p = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    state = metric.update(metric.init(), features(range(4), p))
    assert state.p.tolist() == [[2 << BITS, 2 << BITS]]
    assert type(state.p[0, 0]) is int
    assert metric.compute(state, state)["score"] == pytest.approx(2, rel=1e-15)


def test_errors():
    p = probabilities(20)
    metric = InceptionScore(20)
    half = metric.update(metric.init(), features(range(10), p))
    with pytest.raises(UsageError, match="10 rows counted of 20"):
        metric.compute(half, half)
    with pytest.raises(UsageError, match="20 rows counted of 20"):  # right number, wrong rows
        metric.compute(half, metric.merge(half, half))
    with pytest.raises(UsageError, match="row number 19 of a data set of 10 rows"):
        InceptionScore(10).update(InceptionScore(10).init(), features(range(20), p))
    with pytest.raises(UsageError, match="states of 20 rows"):
        metric.merge(metric.init(), InceptionScore(10).init())
    with pytest.raises(UsageError, match="without probabilities"):
        metric.update(metric.init(), Features(np.arange(2), np.ones((2, 2))))
    with pytest.raises(UsageError, match="5 rows, needs at least 10"):
        InceptionScore(5)
    other = metric.update(metric.init(), features(range(10, 20), probabilities(20, classes=3)))
    with pytest.raises(UsageError, match="6 and 3 classes"):
        metric.merge(half, other)


def test_note():
    assert score_note(50_000, 10) is None
    assert "biased" in score_note(49_999, 10)
