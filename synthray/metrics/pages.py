"""Pages and plain data: what the reports of images and of tables share.

A page stands alone: it has no scripts and loads nothing.
"""

from __future__ import annotations

import base64
import math
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from synthray.metrics.panel import Score


def render(template: str, **values: Any) -> str:
    """A page from a template of this package."""
    environment = Environment(
        loader=PackageLoader("synthray.metrics"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["percent"] = percent
    environment.filters["thousandths"] = thousandths
    return environment.get_template(template).render(**values)


def score_row(
    name: str, score: Score, title: str, tells: str, silent: str, absent: str = "not defined here"
) -> dict[str, Any]:
    """What the page shows of a score.

    Args:
        tells, silent: what it tells, and what it cannot tell.
        absent: why there may be no number.
    """
    floor, value = score["floor"], score["value"]
    # How much of the way to real data: floor / value where lower is better, else value / floor.
    reached = None
    if floor is not None and floor > 0 and not math.isnan(value):
        if score["better"] == "higher":
            reached = value / floor
        else:
            reached = floor / value if value > 0 else 1.0
    return {
        **score,
        "name": name,
        "title": title,
        "tells": tells,
        "silent": silent,
        "absent": absent if math.isnan(value) else "",
        "std": score.get("std"),
        "reached": None if reached is None else min(1.0, max(0.0, reached)),
    }


def png_uri(png: bytes) -> str:
    """A PNG as an address that loads nothing."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def number(value: float | None) -> str:
    """Four significant digits, thousands separated; an en dash for none, and for NaN."""
    if value is None or math.isnan(value):
        return "–"
    if isinstance(value, int) or (abs(value) >= 1e4 and math.isfinite(value)):
        return f"{value:,.0f}"
    text = f"{value:.4g}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def percent(value: float) -> str:
    """With two decimals."""
    return f"{100 * value:.2f} %"


def thousandths(value: float) -> str:
    """With three decimals; an en dash for NaN."""
    return "–" if math.isnan(value) else f"{value:.3f}"


def finite(data: Any) -> Any:
    """Plain data with None for NaN and infinity, which JSON does not have."""
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
