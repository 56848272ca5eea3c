"""How values are named: the one place that may write 'fid'.

A Fréchet distance is an FID only on the Inception network's features, with its original weights.
With any other extractor the same formula gives another number, which nobody may compare with
published ones, so its name carries the extractor.
"""

from __future__ import annotations

from typing import Literal

INCEPTION = "inception"

_INCEPTION_NAMES = {
    "frechet": "fid",
    "kernel": "kid",
    "kernel_std": "kid_std",
    "score": "is",
    "score_std": "is_std",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}
_DISTANCES = ("frechet", "kernel", "fid", "kid")


def metric_name(plain: str, extractor: str) -> str:
    """The published name of a value.

    `metric_name("frechet", "inception")` is 'fid', `metric_name("frechet", "domain")` is
    'frechet_domain', `metric_name("kernel_std", "efficientnet-lite0")` is
    'kernel_efficientnet_lite0_std'.

    Args:
        plain: a metric's own name for it: a key of a `compute`.
        extractor: the extractor's name.
    """
    if extractor == INCEPTION:
        return _INCEPTION_NAMES[plain]
    metric, _, std = plain.partition("_")
    parts = [metric, extractor.replace("-", "_"), *([std] if std else [])]
    return "_".join(parts)


def spread_name(name: str) -> str:
    """The name of the standard deviation that belongs to a value."""
    return f"{name}_std"


def better(name: str) -> Literal["lower", "higher"]:
    """Which direction is good, by published name."""
    return "lower" if name.startswith(_DISTANCES) else "higher"
