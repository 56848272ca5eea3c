"""Which columns a model is to predict, when synthetic rows are judged by what they teach."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from synthray.data.schema import Kind
from synthray.errors import ConfigError
from synthray.metrics.tables.columns import MISSING, Compared, Frame

MOST_CLASSES = 50
"""Classes that a target may have: boosting grows a tree for each in every round."""
FEW_CLASSES = 20
"""Classes of a target that is chosen by itself."""


@dataclass(frozen=True)
class Target:
    """A column to predict from all others."""

    name: str
    task: Literal["classification", "regression"]


def check_targets(names: Sequence[str], columns: Sequence[str]) -> None:
    """Refuse targets that are not compared.

    Raises:
        ConfigError: an unknown column, one given twice, or the only one.
    """
    for name in names:
        if name not in columns:
            close = difflib.get_close_matches(name, columns, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(
                f"evaluate.target: no column {name!r} to predict",
                f"{hint}the compared columns are: {', '.join(columns)}",
            )
    twice = [name for name in names if list(names).count(name) > 1]
    if twice:
        raise ConfigError(f"evaluate.target: {twice[0]!r} is given twice", "name each column once")
    if names and len(columns) < 2:
        raise ConfigError(
            f"evaluate.target: {names[0]!r} is the only column", "leave evaluate.target out"
        )


def choose_targets(
    given: Sequence[str], conditions: Sequence[str], real: Frame
) -> tuple[list[Target], str]:
    """The targets, and why these.

    Args:
        given: by the config; the conditions, if it gives none; otherwise the last column of 2 to
            20 categories, or the last one of numbers.

    Raises:
        ConfigError: a given target with one value, or with too many classes.
    """
    columns = {column.name: column for column in real.columns}
    if given:
        return [_target(columns[name], real, "evaluate.target") for name in given], ""
    if len(columns) < 2:
        return [], "A table of one column has nothing to predict it from."
    labels = [
        name for name in conditions if name in columns and _why_not(columns[name], real) == ""
    ]
    if labels:
        names = " and ".join(labels)
        found = [_target(columns[name], real, "data.conditions") for name in labels]
        return found, f"Models predict {names}, the condition{'s' * (len(labels) > 1)}."
    fit = [c for c in reversed(real.columns) if _why_not(c, real) == ""]
    few = [c for c in fit if not c.numeric and _classes(c, real) <= FEW_CLASSES]
    numbers = [c for c in fit if c.kind in (Kind.continuous, Kind.integer)]
    for column in [*few, *numbers]:
        note = f"Models predict {column.name}, chosen by itself: evaluate.target can name others."
        return [_target(column, real, "evaluate.target")], note
    return [], "No column can be predicted: none has between 2 and 50 categories, or numbers."


def _target(column: Compared, real: Frame, key: str) -> Target:
    why = _why_not(column, real)
    if why:
        raise ConfigError(f"{key}: {column.name!r} {why}", "name another column in evaluate.target")
    return Target(column.name, "regression" if column.numeric else "classification")


def _why_not(column: Compared, real: Frame) -> str:
    x = real[column.name]
    if column.numeric:
        known = x[~np.isnan(x)]
        return "" if len(np.unique(known)) > 1 else "has one value in the real data"
    classes = _classes(column, real)
    if classes < 2:
        return "has one class in the real data" if classes else "has no values in the real data"
    if classes > MOST_CLASSES:
        return f"has {classes} classes, more than {MOST_CLASSES}"
    return ""


def _classes(column: Compared, real: Frame) -> int:
    codes = real[column.name]
    return len(np.unique(codes[codes != MISSING]))
