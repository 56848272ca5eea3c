"""The whole judgement on small arrays: who is told apart from whom, and what the report says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tiny

from synthray.config import EvaluateConfig, Gate
from synthray.data.codec import Encoded
from synthray.data.image_codec import ImageCodec
from synthray.errors import ConfigError, GateError, SynthRayError, UsageError
from synthray.metrics.evaluation import check_settings, evaluate_images
from synthray.metrics.gates import raise_if_missed
from synthray.metrics.report import Report, report_html, report_json
from synthray.metrics.subjects import Subjects

SETTINGS = EvaluateConfig(epochs=12)
CLASSES = 2


def fitted(labelled: bool = True) -> ImageCodec:
    labels = pa.array([str(i % CLASSES) for i in range(20)])
    return tiny.codec({"label": labels} if labelled else {})


def real_rows(count: int, seed: int, spread: float = 40) -> Encoded:
    """A bright left half for one class, a bright right half for the other, and some noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    x = random.normal(64, spread, (count, 1, tiny.SIDE, tiny.SIDE))
    half = tiny.SIDE // 2
    x[labels == 0, :, :, :half] += 128
    x[labels == 1, :, :, half:] += 128
    return Encoded(x.clip(0, 255).astype(np.uint8), labels[:, None].astype(np.int64))


def noise_rows(count: int, seed: int) -> Encoded:
    random = np.random.default_rng(seed)
    x = random.integers(0, 256, (count, 1, tiny.SIDE, tiny.SIDE), dtype=np.uint8)
    return Encoded(x, random.integers(0, CLASSES, (count, 1)).astype(np.int64))


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def subjects() -> Subjects:
    return Subjects(real_rows(400, 0), real_rows(300, 1), real_rows(300, 2))


@pytest.fixture(scope="module")
def good(subjects: Subjects) -> Report:
    return evaluate_images(subjects, fitted(), SETTINGS)


@pytest.fixture(scope="module")
def bad(subjects: Subjects) -> Report:
    return evaluate_images(replace(subjects, synthetic=noise_rows(300, 3)), fitted(), SETTINGS)


def test_fresh_real_rows_score_as_the_floor_does(good: Report) -> None:
    frechet = good.scores["frechet_domain"]
    assert frechet["ratio"] is not None and 0.3 < frechet["ratio"] < 3
    for name in ("precision", "recall", "coverage"):
        score = good.scores[f"{name}_domain"]
        assert score["value"] == pytest.approx(score["floor"], abs=0.15)


def test_fresh_real_rows_train_as_good_a_classifier_as_real_ones(good: Report) -> None:
    assert good.utility is not None
    assert good.utility.trtr.value > 0.95
    assert good.utility.tstr.value == pytest.approx(good.utility.trtr.value, abs=0.05)


def test_noise_is_worse_by_every_metric(good: Report, bad: Report) -> None:
    assert set(good.scores) == set(bad.scores) and len(good.scores) >= 7
    for name, score in bad.scores.items():
        kind = name.partition("_")[0]
        ours, theirs = score["value"], good.scores[name]["value"]
        assert ours is not None and theirs is not None
        lower_is_better = kind in ("frechet", "kid", "kernel")
        assert ours > theirs if lower_is_better else ours < theirs, name
    assert bad.utility is not None and good.utility is not None
    assert bad.utility.tstr.value < good.utility.tstr.value
    assert bad.utility.trtr == good.utility.trtr


def test_without_a_holdout_a_fifth_of_the_real_rows_stands_in_and_it_is_said(
    subjects: Subjects,
) -> None:
    report = evaluate_images(replace(subjects, holdout=None), fitted(), SETTINGS)
    notes = " ".join(report.notes)
    assert "No holdout was given: a fifth of the real rows" in notes
    assert "320 real rows with 80 synthetic ones" in notes
    assert sum(row.real_rows for row in report.classes) == 320


def test_values_and_floors_come_from_as_many_rows(good: Report) -> None:
    assert "400 real rows with 300 synthetic ones" in " ".join(good.notes)


def test_the_report_has_a_row_for_each_label(good: Report) -> None:
    assert [(row.label, row.real_rows, row.synthetic_rows) for row in good.classes] == [
        ("0", 200, 150),
        ("1", 200, 150),
    ]
    assert all(row.scores["TRTR"] > 0.9 for row in good.classes)


def test_domain_features_need_labels() -> None:
    rows = real_rows(100, 0)
    plain = Encoded(rows.x, rows.cond[:, :0])
    with pytest.raises(ConfigError, match="the data has no labels"):
        evaluate_images(Subjects(plain, plain), fitted(labelled=False), SETTINGS)


@pytest.mark.parametrize("name", ["real", "synthetic", "holdout"])
def test_too_few_rows_are_told(subjects: Subjects, name: str) -> None:
    few = replace(subjects, **{name: real_rows(19, 0)})
    with pytest.raises(UsageError, match=f"{name} data: 19 rows are too few"):
        evaluate_images(few, fitted(), SETTINGS)


def quick(subjects: Subjects, **gates: Gate) -> Report:
    renamed = {name.replace("__", "."): gate for name, gate in gates.items()}
    settings = EvaluateConfig(epochs=1, gates=renamed)
    return evaluate_images(subjects, fitted(), settings)


def test_gates_hold_values_floors_ratios_and_accuracies(subjects: Subjects) -> None:
    report = quick(
        subjects,
        frechet_domain__ratio=Gate(max=1e6),
        precision_domain=Gate(min=0.0, max=0.0),
        tstr=Gate(min=1.1),
    )
    assert [(gate.name, gate.limit, gate.passed) for gate in report.gates] == [
        ("frechet_domain.ratio", "max 1e+06", True),
        ("precision_domain", "min 0", True),
        ("precision_domain", "max 0", False),
        ("tstr", "min 1.1", False),
    ]
    with pytest.raises(GateError, match="2 of 4 quality gates missed") as missed:
        raise_if_missed(report.gates)
    assert missed.value.exit_code == 3


def test_the_report_is_a_page_and_plain_json(good: Report) -> None:
    page = report_html(good)
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert page.count("data:image/png;base64,") >= 2
    tree = json.loads(json.dumps(report_json(good), allow_nan=False))
    assert tree["scores"]["frechet_domain"]["value"] == good.scores["frechet_domain"]["value"]
    assert tree["utility"]["tstr"]["accuracy"] == good.utility.tstr.value  # type: ignore[union-attr]
    assert tree["extractor"]["name"] == "domain"


def backwards(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
    return [function(item) for item in reversed(items)][::-1]


def in_threads(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(function, items))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"gates": {"frechet_domian": Gate(max=1)}}, "did you mean 'frechet_domain'"),
        ({"features": "domian"}, "'domian' is unknown"),
        ({"features": "inception", "weights": "none.pth"}, "none.pth does not exist"),
    ],
)
def test_settings_that_cannot_be_are_told_before_any_work(
    subjects: Subjects, settings: dict[str, Any], told: str
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("work was done")

    with pytest.raises(SynthRayError, match=told):
        evaluate_images(subjects, fitted(), EvaluateConfig(**settings), mapper=never)


def test_every_score_can_have_a_gate(good: Report) -> None:
    check_settings(EvaluateConfig(gates=dict.fromkeys(good.scores, Gate(min=0))), labelled=True)


@pytest.mark.parametrize("mapper", [backwards, in_threads])
def test_no_number_depends_on_where_the_parts_are_computed(
    subjects: Subjects, mapper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthray.metrics.evaluation.CHUNK", 64)
    settings = EvaluateConfig(epochs=2)
    here = evaluate_images(subjects, fitted(), settings)
    there = evaluate_images(subjects, fitted(), settings, mapper=mapper)
    assert report_json(here) == report_json(there)
    assert here.pictures == there.pictures
