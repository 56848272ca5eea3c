"""Usefulness of tables: gradient boosting trained on synthetic rows, tested on real ones.

TSTR beside TRTR (Esteban, Hyland and Rätsch 2017, arXiv 1706.02633): the same model with the same
settings and as many rows, trained on synthetic and on real rows, tested on the same rows of the
holdout. The baseline is what a model gets that knows nothing but the real target column: its most
frequent class, or its mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from synthray.data.prepare import Mapper
from synthray.metrics.tables.columns import MISSING, Frame
from synthray.metrics.tables.targets import Target

CLASSIFICATION = ("macro_f1", "accuracy", "roc_auc")
REGRESSION = ("r2", "rmse")
MOST_CATEGORIES = 254
"""Categories that the boosting tells apart; it takes 255."""
LEAST_ROWS = 2


@dataclass(frozen=True)
class TargetUtility:
    """What synthetic rows teach about one column.

    Attributes:
        target: the column.
        tstr, trtr, baseline: 'macro_f1', 'accuracy' and 'roc_auc' (one against the rest, mean over
            classes), or 'r2' and 'rmse'; NaN where there is none.
        train_rows: of each training.
        test_rows: rows of the holdout that both are tested on.
    """

    target: Target
    tstr: Mapping[str, float]
    trtr: Mapping[str, float]
    baseline: Mapping[str, float]
    train_rows: int
    test_rows: int


def judge_targets(
    targets: list[Target],
    real: Frame,
    synthetic: Frame,
    test: Frame,
    seed: int,
    mapper: Mapper,
) -> list[TargetUtility]:
    """TSTR and TRTR for each target; as many training rows of both, the first ones."""
    rows = min(len(real), len(synthetic))
    trained = {"tstr": synthetic.head(rows), "trtr": real.head(rows), "baseline": real.head(rows)}

    def score(item: tuple[Target, str]) -> dict[str, float]:
        target, which = item
        return _score(target, trained[which], test, seed, blind=which == "baseline")

    items = [(target, which) for target in targets for which in trained]
    scores = list(mapper(score, items))
    found = []
    for i, target in enumerate(targets):
        tested = int(np.count_nonzero(~test.missing(target.name)))
        three = scores[3 * i : 3 * i + 3]
        found.append(TargetUtility(target, three[0], three[1], three[2], rows, tested))
    return found


def _score(target: Target, train: Frame, test: Frame, seed: int, blind: bool) -> dict[str, float]:
    # One thread adds in one order, and on few rows more would only wait for each other.
    with threadpool_limits(limits=1, user_api="openmp"):
        return _tested(target, train, test, seed, blind)


def _tested(target: Target, train: Frame, test: Frame, seed: int, blind: bool) -> dict[str, float]:
    train, test = (_known(frame, target.name) for frame in (train, test))
    names = CLASSIFICATION if target.task == "classification" else REGRESSION
    if not len(train) or len(test) < LEAST_ROWS:
        return dict.fromkeys(names, math.nan)
    if target.task == "classification":
        return _classified(target, train, test, seed, blind)
    return _regressed(target, train, test, seed, blind)


def _regressed(
    target: Target, train: Frame, test: Frame, seed: int, blind: bool
) -> dict[str, float]:
    from sklearn.ensemble import HistGradientBoostingRegressor  # slow to import
    from sklearn.metrics import r2_score

    x, y = _features(train, target), train[target.name]
    truth = test[target.name]
    if blind or len(np.unique(y)) < 2:
        predicted = np.full(len(truth), y.mean())
    else:
        model = HistGradientBoostingRegressor(random_state=seed % 2**32, **_settings(train, target))
        predicted = model.fit(x, y).predict(_features(test, target))
    rmse = math.sqrt(float(np.mean((truth - predicted) ** 2)))
    r2 = float(r2_score(truth, predicted)) if len(np.unique(truth)) > 1 else math.nan
    return {"r2": r2, "rmse": rmse}


def _classified(
    target: Target, train: Frame, test: Frame, seed: int, blind: bool
) -> dict[str, float]:
    from sklearn.ensemble import HistGradientBoostingClassifier  # slow to import
    from sklearn.metrics import accuracy_score, f1_score

    y, truth = train[target.name], test[target.name]
    classes = np.unique(y)
    if blind or len(classes) < 2:
        share = np.bincount(y) / len(y)
        probabilities = np.tile(share[classes], (len(truth), 1))
    else:
        model = HistGradientBoostingClassifier(
            random_state=seed % 2**32, **_settings(train, target)
        )
        probabilities = _fit(model, _features(train, target), y).predict_proba(
            _features(test, target)
        )
    predicted = classes[probabilities.argmax(axis=1)]
    return {
        # Over the classes that the test rows have.
        "macro_f1": float(
            f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0.0)
        ),
        "accuracy": float(accuracy_score(truth, predicted)),
        "roc_auc": _auc(truth, probabilities, classes),
    }


def _fit(model: Any, x: NDArray[np.float64], y: NDArray[np.int64]) -> Any:
    """Fit, without a validation part where a class has too few rows for one."""
    if np.bincount(y)[np.unique(y)].min() < 2:
        model.set_params(early_stopping=False)
    return model.fit(x, y)


def _auc(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], classes: NDArray[np.int64]
) -> float:
    """Mean over the classes of the test rows; one that was never learned has probability 0."""
    from sklearn.metrics import roc_auc_score

    present = np.unique(truth)
    if len(present) < 2:
        return math.nan
    areas = []
    for label in present[:1] if len(present) == 2 else present:
        where = np.flatnonzero(classes == label)
        score = probabilities[:, where[0]] if len(where) else np.zeros(len(truth))
        areas.append(float(roc_auc_score(truth == label, score)))
    return float(np.mean(areas))


def _known(frame: Frame, name: str) -> Frame:
    """The rows whose target is known."""
    keep = ~frame.missing(name)
    return Frame(frame.columns, {key: x[keep] for key, x in frame.data.items()})


def _settings(frame: Frame, target: Target) -> dict[str, Any]:
    categorical = [not column.numeric for column in frame.columns if column.name != target.name]
    return {"categorical_features": np.array(categorical)}


def _features(frame: Frame, target: Target) -> NDArray[np.float64]:
    """All other columns, NaN where missing, [rows, columns]; rare categories are one."""
    features = []
    for column in frame.columns:
        if column.name == target.name:
            continue
        x = frame[column.name]
        if not column.numeric:
            codes = np.minimum(x, MOST_CATEGORIES - 1)
            x = np.where(x == MISSING, np.nan, codes.astype(np.float64))
        features.append(x)
    return np.stack(features, axis=1)
