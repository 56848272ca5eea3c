"""Quality gates: limits on named values, from the config.

    evaluate:
      gates:
        frechet_domain.ratio: {max: 3.0}
        coverage_domain: {min: 0.8}

A value equal to its limit passes; NaN and missing values never do.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthray.errors import ConfigError, GateError


@dataclass(frozen=True)
class GateResult:
    """One limit and whether it was kept.

    Attributes:
        name: the value's name.
        value: None if there is no such number, a ratio to a floor of 0 or NaN, say. Never passes.
        limit: such as 'max 3' or 'min 0.8'.
        passed: a value equal to its limit passes.
    """

    name: str
    value: float | None
    limit: str
    passed: bool


def flatten(scores: Mapping[str, Any]) -> dict[str, float | None]:
    """Values by the names that gates use.

    A plain number stays as it is. A score of `with_floor` becomes `name`, `name.floor`,
    `name.ratio` and, where there is one, `name.std`.
    """
    values: dict[str, float | None] = {}
    for name, score in scores.items():
        if not isinstance(score, Mapping):
            values[name] = score
            continue
        values[name] = score["value"]
        for part in ("floor", "ratio", "std"):
            if part in score:
                values[f"{name}.{part}"] = score[part]
    return values


def check_names(gates: Mapping[str, Mapping[str, float | None]], known: Sequence[str]) -> None:
    """Refuses gates that can never be checked; call it before the work, not after.

    Raises:
        ConfigError: unknown names, unknown limits, limits that are no numbers: all at once.
    """
    problems = []
    for name, limits in gates.items():
        key = f"evaluate.gates.{name}"
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            problems.append(f"{key}: no such value{hint}")
        if not isinstance(limits, Mapping) or not limits:
            problems.append(f"{key}: give min, max or both, as {{max: 3.0}}")
            continue
        for limit, bound in limits.items():
            if bound is None and limit in ("min", "max"):
                continue
            if limit not in ("min", "max"):
                problems.append(f"{key}.{limit}: unknown limit; use min or max")
            elif not _is_number(bound):
                problems.append(f"{key}.{limit}: {bound!r} is no number")
    if problems:
        raise ConfigError("\n".join(problems), f"known values: {', '.join(sorted(known))}")


def check_gates(
    gates: Mapping[str, Mapping[str, float | None]], scores: Mapping[str, Any]
) -> list[GateResult]:
    """One result for every limit, in the config's order.

    Args:
        gates: {name: {min: …, max: …}}; a limit that is None is no limit.
        scores: plain numbers or scores of `with_floor`, by name.

    Raises:
        ConfigError: see `check_names`.
    """
    values = flatten(scores)
    check_names(gates, list(values))
    results = []
    for name, limits in gates.items():
        value = values[name]
        value = None if value is None or math.isnan(value) else value
        for limit, bound in limits.items():
            if bound is None:
                continue
            passed = value is not None and (value <= bound if limit == "max" else value >= bound)
            results.append(GateResult(name, value, f"{limit} {bound:g}", passed))
    return results


def raise_if_missed(results: Sequence[GateResult]) -> None:
    """Raises `GateError` (exit code 3) that names every gate that was missed."""
    missed = [r for r in results if not r.passed]
    if missed:
        lines = [
            f"{r.name} is {'not available' if r.value is None else format(r.value, '.4g')}, "
            f"gate: {r.limit}"
            for r in missed
        ]
        raise GateError(
            f"{len(missed)} of {len(results)} quality gates missed\n" + "\n".join(lines),
            "train longer, or change evaluate.gates",
        )


def _is_number(bound: object) -> bool:
    # YAML's true is a bool, and Python's bool is an int.
    return isinstance(bound, int | float) and not isinstance(bound, bool) and not math.isnan(bound)
