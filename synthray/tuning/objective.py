"""What makes one trial better than another: first that its seeds succeed, then how well.

In order: the lower bound of Wilson's interval for the share of seeds that succeed, the median
distance, its spread over the seeds, the cost. Distances and spreads count to two digits: what
differs by less is noise, and then the next figure decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from synthray.metrics.utility import wilson

WORST = 1e6
"""The distance of a training that was given up; noise without structure has about 1."""


class SeedResult(BaseModel):
    """Where one seed's training stands.

    coverage: as a share of what real rows get; distance: of `synthray.metrics.quick`;
    seconds: of the processor, or of the clock where a GPU trains; why: it was given up;
    course: (step, distance) at every evaluation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int
    step: int
    verdict: str
    coverage: float
    distance: float
    seconds: float
    success: bool
    why: str = ""
    course: list[tuple[int, float]] = Field(default_factory=list)


class Score(BaseModel):
    """Of a trial's seeds together.

    lower: of Wilson's 95 % interval; distance, seconds: medians; spread: interquartile range of
    the distances. Quartiles are distances that seeds have, the outer ones, and the larger of two
    medians: they are never between a distance and that of a seed that was given up.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: int
    successes: int
    lower: float
    distance: float
    spread: float
    seconds: float

    @property
    def rank(self) -> tuple[float, float, float, float]:
        """Smaller is better."""
        return -self.lower, _two_digits(self.distance), _two_digits(self.spread), self.seconds

    @property
    def objective(self) -> float:
        """The first two figures as one number, larger is better, for schedulers that take one: the
        successes, plus less than one for the distance. Of trials with as many seeds.
        """
        return self.successes + 1 / (1 + self.distance)


def score(results: Sequence[SeedResult]) -> Score:
    """The score of a trial, at any time of it."""
    distances = [WORST if result.why else result.distance for result in results]
    low = np.percentile(distances, 25, method="lower")
    high = np.percentile(distances, 75, method="higher")
    successes = sum(result.success for result in results)
    return Score(
        seeds=len(results),
        successes=successes,
        lower=wilson(successes, len(results))[0],
        distance=median_of(distances),
        spread=float(high - low) if high < WORST else WORST,
        seconds=float(np.median([result.seconds for result in results])),
    )


def median_of(distances: Sequence[float]) -> float:
    """The larger of two: one that a seed has."""
    return float(np.percentile(distances, 50, method="higher"))


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")
