"""When training counts as collapsed, and what is done about it. Reasons: docs/stability.md."""

from __future__ import annotations

from pydantic import Field

from synthray.config.strict import Strict


class GuardConfig(Strict):
    """The guard of training. Scores are those of `synthray.metrics.quick`."""

    enabled: bool = True
    rows: int = Field(
        2_000, ge=100, description="real rows to judge by; half of them are the measure"
    )
    warm_up: int = Field(
        200, ge=0, description="steps before anything but values that are not finite counts"
    )
    look_every: int = Field(
        50, ge=1, description="steps between looks at the critic's gradients; each costs a step"
    )
    sign: float = Field(
        0.95, gt=0, le=1, description="mean sign between evaluations at which the critic has won"
    )
    gradient: float = Field(
        10.0, gt=1, description="gradient norm at generated rows, as a multiple of its median"
    )
    ratio: float = Field(
        100.0, gt=1, description="gradient norm at real rows over that at generated, or inverse"
    )
    coverage: float = Field(
        0.2, ge=0, le=1, description="least coverage, as a share of what real rows get"
    )
    rise: float = Field(
        2.0, gt=1, description="distance, as a multiple of the best, after a third of rising"
    )
    distance: float = Field(
        0.05, ge=0, description="distance up to which rises are noise; 1 is the data's variance"
    )
    far: float = Field(
        0.2, gt=0, description="distance above which twice the least coverage is asked for"
    )
    max_recoveries: int = Field(3, ge=0, description="returns to a healthy checkpoint")
    slow_down: float = Field(0.3, gt=0, lt=1, description="of learning rates, each time")
    penalise: float = Field(3.0, ge=1, description="growth of gradient penalties, each time")
    patience: int | None = Field(
        None, ge=1, description="evaluations without a better distance, then stop; none: never"
    )
