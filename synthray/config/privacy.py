"""Training with differential privacy. What it promises, and what not: docs/privacy.md."""

from __future__ import annotations

from pydantic import Field

from synthray.config.strict import Strict


class PrivacyConfig(Strict):
    """The budget of one training, and how it is kept: DP-SGD (Abadi et al. 2016, 1607.00133)."""

    epsilon: float = Field(
        ge=0.05, le=100, description="what the weights may tell of any one row, at most"
    )
    delta: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="chance that they tell more; none given: 1 / (10 x rows)",
    )
    max_grad_norm: float = Field(
        1.0, gt=0, description="bound of each row's gradient, over all that a phase moves"
    )

    def delta_of(self, rows: int) -> float:
        """The delta in force for data of so many rows."""
        return self.delta if self.delta is not None else 1 / (10 * rows)
