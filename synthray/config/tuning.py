"""What `synthray tune` searches, how, and what counts as a success."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from synthray.config.strict import Strict


class Range(Strict):
    """Numbers from ``low`` to ``high``, both included."""

    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    log: bool = Field(False, description="as many values between 1 and 2 as between 10 and 20")
    integer: bool = False

    @model_validator(mode="after")
    def _from_low_to_high(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high {self.high:g}; low must be less")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low:g}; with log it must be above 0")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"low is {self.low:g}, high {self.high:g}; integers are needed")
        return self


def _choices_or_range(value: Any) -> str:
    return "(choices)" if isinstance(value, list | tuple) else "(range)"


# In brackets, so that messages can tell these names from keys.
Values = Annotated[
    Annotated[Range, Tag("(range)")]
    | Annotated[Annotated[list[Any], Field(min_length=2)], Tag("(choices)")],
    Discriminator(_choices_or_range),
]


class TuneConfig(Strict):
    """A search for settings that train stably; see docs/tuning.md."""

    space: dict[str, Values] = Field(
        {}, description="by dotted path a list of values, or {low: 1e-5, high: 1e-2, log: true}"
    )
    trials: int = Field(16, ge=2, description="of settings; the first are the config's own")
    seeds: int = Field(3, ge=1, description="trainings of a trial, seeds seed, seed + 1, …")
    coverage: float = Field(
        0.5, gt=0, le=1, description="a seed succeeds from this share of what real rows cover"
    )
    search: Literal["tpe", "nsga2", "random"] = Field("tpe", description="Optuna's samplers")
    scheduler: Literal["asha", "pbt", "none"] = Field(
        "asha", description="asha: stop what lags; pbt: copy what leads and vary it; none"
    )
    grace: float | None = Field(
        None, gt=0, le=1, description="share of the training before asha stops; none: the burn-in"
    )
    reduction: int = Field(3, ge=2, description="asha lets one of so many go on at each rung")
    perturb_every: int | None = Field(
        None, ge=1, description="steps between pbt's copies; none: a tenth of the training"
    )
    fresh_seeds: int | None = Field(
        None, ge=0, description="seeds that train the best once more; none: after pbt, as many"
    )
    concurrent: int | None = Field(
        None,
        ge=1,
        description="trials at a time; none: as many as there are processors for; "
        "not for pbt, whose trials train side by side",
    )
