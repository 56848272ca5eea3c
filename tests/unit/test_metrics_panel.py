"""The panel: one state for all metrics, names that do not lie, floors and gates."""

import math
import pickle

import numpy as np
import pytest

from synthray.errors import ConfigError, GateError, UsageError
from synthray.metrics.base import Features
from synthray.metrics.gates import check_gates, flatten, raise_if_missed
from synthray.metrics.names import better, metric_name
from synthray.metrics.panel import Panel, with_floor

PLAIN = ("frechet", "kernel", "kernel_std", "score", "score_std")
PLAIN += ("precision", "recall", "density", "coverage")


def features(rows, shift=0.0, seed=0, classes=4):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(rows, 6)) + shift).astype(np.float32)
    p = rng.random((rows, classes)).astype(np.float32) if classes else None
    if p is not None:
        p /= p.sum(axis=1, keepdims=True)
    return Features(np.arange(rows, dtype=np.int64), x, p)


def part(whole, rows):
    p = None if whole.probabilities is None else whole.probabilities[rows]
    return Features(whole.index[rows], whole.features[rows], p)


def panel(rows, extractor="domain", **settings):
    return Panel(rows, extractor=extractor, subsample=400, **settings)


def state_of(whole, extractor="domain"):
    metrics = panel(len(whole), extractor)
    return metrics.update(metrics.init(), whole)


def test_inception_gets_the_published_names():
    assert [metric_name(name, "inception") for name in PLAIN] == [
        "fid", "kid", "kid_std", "is", "is_std", "precision", "recall", "density", "coverage",
    ]  # fmt: skip


@pytest.mark.parametrize("extractor", ["domain", "efficientnet-lite0", "inception-custom"])
def test_no_other_extractor_ever_does(extractor):
    names = [metric_name(name, extractor) for name in PLAIN]
    assert all(extractor.replace("-", "_") in name for name in names)
    assert not any(name.startswith(("fid", "kid")) or name == "is" for name in names)
    assert len(set(names)) == len(PLAIN)


def test_directions():
    lower = {
        name
        for name in (
            "fid",
            "kid",
            "is",
            "precision",
            "recall",
            "density",
            "coverage",
            "frechet_domain",
            "kernel_domain",
            "score_domain",
        )
        if better(name) == "lower"
    }
    assert lower == {"fid", "kid", "frechet_domain", "kernel_domain"}


def test_sharded_equals_whole():
    real, fake = features(900, seed=1), features(1_000, shift=0.3, seed=2)
    metrics = panel(1_000)
    expected = metrics.compare(state_of(real), state_of(fake))
    assert set(expected) == {metric_name(name, "domain") for name in PLAIN}

    total = metrics.init()
    for rows in np.array_split(np.random.default_rng(3).permutation(1_000), 13):
        shard = metrics.update(metrics.init(), part(fake, rows))
        total = metrics.merge(pickle.loads(pickle.dumps(shard)), total)
    got = metrics.compare(state_of(real), total)
    assert got.pop("frechet_domain") == pytest.approx(expected.pop("frechet_domain"), rel=1e-9)
    assert got == expected  # everything else exactly


def test_inception_values():
    whole = features(500)
    values = panel(500, "inception").compare(
        state_of(whole, "inception"), state_of(features(500, seed=9), "inception")
    )
    assert {"fid", "kid", "is"} <= set(values)


def test_without_probabilities_there_is_no_score():
    a, b = features(500, classes=0), features(500, seed=1, classes=0)
    values = panel(500).compare(state_of(a), state_of(b))
    assert "frechet_domain" in values
    assert not any(name.startswith("score") for name in values)


def test_floor():
    real, again, fake = features(600, seed=1), features(600, seed=2), features(600, 0.7, seed=3)
    metrics = panel(600)
    values = metrics.compare(state_of(real), state_of(fake))
    floor = metrics.compare(state_of(real), state_of(again))
    scores = with_floor(values, floor)
    frechet = scores["frechet_domain"]
    assert frechet["ratio"] == frechet["value"] / frechet["floor"] > 10
    assert scores["precision_domain"]["better"] == "higher"
    assert scores["kernel_domain"]["std"] == values["kernel_domain_std"]
    assert "kernel_domain_std" not in scores
    assert with_floor({"kid": 1.0}, {"kid": -0.1})["kid"]["ratio"] is None
    assert with_floor({"kid": 1.0})["kid"]["floor"] is None


def test_notes():
    notes = panel(100).notes(state_of(features(100)), state_of(features(50)))
    assert any("100 real and 50 synthetic" in note for note in notes)
    assert any("subsets of 50 rows" in note for note in notes)
    assert any("Score from splits" in note for note in notes)


def test_errors():
    whole = features(100)
    metrics = panel(100)
    full = state_of(whole)
    with pytest.raises(UsageError, match="synthetic data: 0 rows counted of 100"):
        metrics.compare(full, metrics.init())
    half = metrics.update(metrics.init(), part(whole, slice(0, 50)))
    with pytest.raises(UsageError, match="real data: 50 rows counted of 100"):
        metrics.compare(half, full)
    with pytest.raises(UsageError, match="two extractors: domain and inception"):
        metrics.compare(full, state_of(whole, "inception"))
    with pytest.raises(UsageError, match="two extractors"):
        metrics.merge(full, Panel(100, extractor="domain", digest="ab").init())
    with pytest.raises(UsageError, match="of 100 and of 50 rows"):
        metrics.merge(full, state_of(features(50)))
    with pytest.raises(UsageError, match="counted twice"):
        metrics.merge(half, half)
    with pytest.raises(UsageError, match="some have none"):
        metrics.merge(half, metrics.update(metrics.init(), features(50, classes=0)))
    assert metrics.update(half, part(whole, slice(0, 0))) is half


SCORES = {
    "frechet_domain": {"value": 9.0, "floor": 3.0, "ratio": 3.0, "better": "lower"},
    "kernel_domain": {"value": 0.1, "floor": 0.0, "ratio": None, "better": "lower", "std": 0.01},
    "coverage_domain": {"value": math.nan, "floor": 1.0, "ratio": math.nan, "better": "higher"},
    "tstr": 0.97,
}


def test_gates():
    results = check_gates(
        {
            "frechet_domain.ratio": {"max": 3.0},
            "frechet_domain": {"min": 1, "max": 5},
            "kernel_domain.ratio": {"max": 2},
            "kernel_domain.std": {"max": 0.02, "min": None},
            "coverage_domain": {"min": 0},
            "tstr": {"min": 0.97},
        },
        SCORES,
    )
    assert [(r.name, r.limit, r.passed) for r in results] == [
        ("frechet_domain.ratio", "max 3", True),
        ("frechet_domain", "min 1", True),
        ("frechet_domain", "max 5", False),
        ("kernel_domain.ratio", "max 2", False),
        ("kernel_domain.std", "max 0.02", True),
        ("coverage_domain", "min 0", False),
        ("tstr", "min 0.97", True),
    ]
    with pytest.raises(GateError) as error:
        raise_if_missed(results)
    assert error.value.exit_code == 3
    assert "3 of 7" in str(error.value)
    assert "frechet_domain is 9, gate: max 5" in str(error.value)
    assert "kernel_domain.ratio is not available" in str(error.value)
    raise_if_missed([r for r in results if r.passed])


def test_gates_that_cannot_be_checked_are_told_at_once():
    gates = {
        "frechet_domian": {"max": 1},
        "tstr": {"maximum": 1},
        "coverage_domain": {"min": "high"},
        "kernel_domain": {},
        "frechet_domain": {"max": True},
    }
    with pytest.raises(ConfigError) as error:
        check_gates(gates, SCORES)
    text = str(error.value)
    assert "frechet_domian: no such value; did you mean 'frechet_domain'?" in text
    assert "tstr.maximum: unknown limit" in text
    assert "coverage_domain.min: 'high' is no number" in text
    assert "kernel_domain: give min, max" in text
    assert "frechet_domain.max: True is no number" in text
    assert all(name in text for name in flatten(SCORES))
