"""The settings in force at a step: the run's own, its schedule, and what the guard left of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synthray import models
from synthray.config import Change, Ramp, peak
from synthray.models.adversarial import PENALTIES
from synthray.models.base import GenerativeModel, OptimizerConfig


@dataclass(frozen=True)
class Relief:
    """Factors of learning rates and of gradient penalties."""

    slow: float = 1.0
    more: float = 1.0


def in_force(
    model: GenerativeModel, original: Any, changes: Sequence[Change], relief: Relief
) -> Any:
    """The family's config that follows from ``original``, the changes so far, and the relief.

    Raises:
        ConfigError: a change of what the family does not have, or of what shapes its networks.
    """
    scheduled = {path: value for change in changes for path, value in change.set.items()}
    config = models.with_settings(model, scheduled, original) if scheduled else original
    if relief == Relief():
        return config
    return models.with_settings(model, gentler(config, relief.slow, relief.more), config)


def gentler(config: Any, slow: float, more: float) -> dict[str, Any]:
    """Settings by dotted path: learning rates times ``slow``, gradient penalties times ``more``."""
    settings: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, OptimizerConfig):
            settings[f"{name}.lr"] = value.lr * slow
        elif name in PENALTIES and peak(value) > 0:
            if isinstance(value, Ramp):
                grown = {"first": value.first * more, "last": value.last * more}
                settings[name] = grown | {"until": value.until}
            else:
                settings[name] = value * more
    return settings
