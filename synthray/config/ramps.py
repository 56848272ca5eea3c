"""Settings that move while training goes on: a burn-in, then their final value."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

NonNegative = Annotated[float, Field(ge=0)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]


class Ramp(BaseModel):
    """From ``first`` to ``last`` along half a cosine, over the first ``until`` of the training.

    The burn-in of R3GAN (Huang et al. 2024, 2501.05441, appendix) is such a ramp.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    first: NonNegative
    last: NonNegative
    until: float = Field(1.0, gt=0, le=1, description="share of the training")

    def at(self, progress: float) -> float:
        """The value after a share of the training, 0 … 1."""
        share = (1 - math.cos(math.pi * min(progress / self.until, 1.0))) / 2
        return self.first + (self.last - self.first) * share


class ShareRamp(Ramp):
    """A ramp of what must stay below 1: decays and Adam's betas."""

    first: BelowOne
    last: BelowOne


def _number_or_ramp(value: Any) -> str:
    return "(ramp)" if isinstance(value, dict | Ramp) else "(number)"


# In brackets, so that messages can tell these names from keys.
_one_of = Discriminator(_number_or_ramp)
Scheduled = Annotated[
    Annotated[NonNegative, Tag("(number)")] | Annotated[Ramp, Tag("(ramp)")], _one_of
]
ScheduledShare = Annotated[
    Annotated[BelowOne, Tag("(number)")] | Annotated[ShareRamp, Tag("(ramp)")], _one_of
]


def value_at(setting: float | Ramp, progress: float) -> float:
    """A setting after a share of the training, 0 … 1."""
    return setting.at(progress) if isinstance(setting, Ramp) else setting


def peak(setting: float | Ramp) -> float:
    """The largest value that a setting takes."""
    return max(setting.first, setting.last) if isinstance(setting, Ramp) else setting
