"""Train on synthetic, test on real: which columns, which numbers, and what moves them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import roc_auc_score

from synthray.data.schema import Kind
from synthray.errors import ConfigError
from synthray.metrics.tables.columns import Compared, Frame
from synthray.metrics.tables.targets import Target, check_targets, choose_targets
from synthray.metrics.tables.utility import TargetUtility, judge_targets

COLUMNS = (
    Compared("x", Kind.continuous),
    Compared("where", Kind.categorical, ("a", "b", "c")),
    Compared("amount", Kind.integer),
    Compared("label", Kind.categorical, ("no", "yes", "maybe")),
)
BOTH = [Target("label", "classification"), Target("amount", "regression")]


def rows(count: int, seed: int, broken: bool = False, classes: int = 3) -> Frame:
    """A label and an amount that x and the place tell, unless broken."""
    random = np.random.default_rng(seed)
    x, where = random.normal(size=count), random.integers(0, 3, count)
    y = x + where - 1 + random.normal(scale=0.3, size=count)
    label = np.digitize(y, [-0.5, 0.8]).clip(0, classes - 1)
    if broken:
        y, label = random.permutation(y), random.permutation(label)
    x[random.random(count) < 0.05] = math.nan
    where[random.random(count) < 0.05] = -1
    data: dict[str, Any] = {"x": x, "where": where, "amount": np.round(10 * y), "label": label}
    return Frame(COLUMNS, data)


def judged(real: Frame, synthetic: Frame, targets: list[Target] = BOTH) -> list[TargetUtility]:
    return judge_targets(targets, real, synthetic, rows(400, 99), 0, map)


def test_fresh_rows_teach_as_much_as_real_ones() -> None:
    label, amount = judged(rows(600, 0), rows(600, 1))
    for name in ("macro_f1", "accuracy", "roc_auc"):
        assert label.trtr[name] > 0.75
        assert label.tstr[name] == pytest.approx(label.trtr[name], abs=0.06)
    assert amount.trtr["r2"] > 0.8
    assert amount.tstr["r2"] == pytest.approx(amount.trtr["r2"], abs=0.06)
    assert (label.train_rows, label.test_rows) == (600, 400)


def test_rows_without_the_dependence_teach_nothing() -> None:
    label, amount = judged(rows(600, 0), rows(600, 1, broken=True))
    assert label.tstr["roc_auc"] == pytest.approx(0.5, abs=0.1)
    assert label.tstr["macro_f1"] < label.trtr["macro_f1"] - 0.3
    assert amount.tstr["r2"] < 0.1 and amount.tstr["rmse"] > 2 * amount.trtr["rmse"]


def test_the_baseline_is_that_of_a_model_that_looks_at_nothing() -> None:
    real = rows(300, 0)
    label, amount = judged(real, rows(300, 1))
    dummy = DummyClassifier().fit(np.zeros((300, 1)), real["label"])
    truth = rows(400, 99)["label"]
    assert label.baseline["accuracy"] == dummy.score(np.zeros((400, 1)), truth)
    assert label.baseline["roc_auc"] == 0.5
    assert amount.baseline["r2"] == pytest.approx(0.0, abs=0.02)


def test_the_area_is_the_mean_over_classes_against_the_rest() -> None:
    from synthray.metrics.tables.utility import _auc

    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), 200)
    truth = random.integers(0, 3, 200)
    expected = roc_auc_score(truth, probabilities, multi_class="ovr")
    assert _auc(truth, probabilities, np.arange(3)) == pytest.approx(expected, abs=1e-12)
    two = truth % 2
    pair = probabilities[:, :2] / probabilities[:, :2].sum(axis=1, keepdims=True)
    assert _auc(two, pair, np.arange(2)) == pytest.approx(roc_auc_score(two, pair[:, 1]), abs=1e-12)


def test_a_class_that_synthetic_rows_lack_costs_its_score() -> None:
    (label,) = judged(rows(600, 0), rows(600, 1, classes=2), BOTH[:1])
    assert label.tstr["macro_f1"] < label.trtr["macro_f1"] - 0.15


def test_synthetic_rows_of_one_class_or_without_a_value_are_scored() -> None:
    synthetic = rows(100, 1, classes=1)
    synthetic["amount"][:] = math.nan
    label, amount = judged(rows(100, 0), synthetic)
    assert label.tstr["accuracy"] == pytest.approx(np.mean(rows(400, 99)["label"] == 0))
    assert math.isnan(amount.tstr["r2"]) and not math.isnan(amount.trtr["r2"])


def test_a_class_of_one_row_is_no_obstacle() -> None:
    synthetic = rows(12_000, 1, classes=2)  # so many that the boosting stops early
    synthetic["label"][0] = 2
    (label,) = judge_targets(BOTH[:1], rows(300, 0), synthetic.head(300), rows(400, 99), 0, map)
    assert label.tstr["accuracy"] > 0.5
    (label,) = judge_targets(BOTH[:1], synthetic, synthetic, rows(400, 99), 0, map)
    assert label.tstr == label.trtr


def test_many_categories_are_told_apart_as_far_as_the_model_can() -> None:
    random = np.random.default_rng(0)
    columns = (
        Compared("name", Kind.categorical, tuple(f"n{i}" for i in range(1000))),
        Compared("label", Kind.boolean, (False, True)),
    )
    name = np.minimum(random.zipf(1.3, 2000) - 1, 999)
    data: dict[str, Any] = {"name": name, "label": (name % 2).astype(np.int64)}
    frame = Frame(columns, data)
    (found,) = judge_targets([Target("label", "classification")], frame, frame, frame, 0, map)
    assert found.tstr["accuracy"] > 0.9


# Which columns.


def test_given_targets_are_taken_numbers_to_regress_categories_to_classify() -> None:
    targets, why = choose_targets(["amount", "label"], ["label"], rows(50, 0))
    assert targets == [Target("amount", "regression"), Target("label", "classification")]
    assert why == ""


def test_conditions_come_next_then_the_last_column_of_few_classes() -> None:
    targets, why = choose_targets([], ["where", "label"], rows(50, 0))
    assert [t.name for t in targets] == ["where", "label"] and "the conditions" in why
    targets, why = choose_targets([], [], rows(50, 0))
    assert [t.name for t in targets] == ["label"] and "evaluate.target can name" in why


def test_without_classes_the_last_number_is_predicted_and_of_one_column_nothing() -> None:
    frame = rows(50, 0)
    numbers = Frame(COLUMNS[::2], {name: frame[name] for name in ("x", "amount")})
    assert choose_targets([], [], numbers)[0] == [Target("amount", "regression")]
    alone = Frame(COLUMNS[:1], {"x": frame["x"]})
    targets, why = choose_targets([], [], alone)
    assert targets == [] and "nothing to predict it from" in why


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["lable"], "no column 'lable' to predict\n  → did you mean 'label'"),
        (["label", "label"], "'label' is given twice"),
    ],
)
def test_targets_that_cannot_be_are_told(names: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check_targets(names, [column.name for column in COLUMNS])


def test_the_only_column_is_no_target() -> None:
    with pytest.raises(ConfigError, match="'x' is the only column"):
        check_targets(["x"], ["x"])


def test_targets_of_one_class_or_of_very_many_are_told() -> None:
    frame = rows(200, 0, classes=1)
    with pytest.raises(ConfigError, match="'label' has one class in the real data"):
        choose_targets(["label"], [], frame)
    frame["x"][:] = 1.0
    with pytest.raises(ConfigError, match="'x' has one value in the real data"):
        choose_targets(["x"], [], frame)
    many = (Compared("c", Kind.categorical, tuple(range(60))), COLUMNS[0])
    data: dict[str, Any] = {"c": np.arange(200) % 60, "x": frame["x"]}
    with pytest.raises(ConfigError, match="'c' has 60 classes, more than 50"):
        choose_targets(["c"], [], Frame(many, data))
