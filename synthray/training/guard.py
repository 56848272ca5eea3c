"""The judgement of the guard: from scores and signs to health or collapse. Pure, and JSON-able.

What counts as collapse is meant to be rare and sure. A winning critic, steep gradients and a low
coverage are how every training begins: they count only while samples are no better than before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from synthray.config import GuardConfig

Verdict = Literal["healthy", "recovered", "rising", "unjudged"]
LOOKS = 5
"""Looks at the gradients before their median means something."""
BETTER = 1.02
"""A distance larger by this factor is as good as the best, when it is asked what gets better."""
EVALUATIONS = 4
"""Evaluations before the quality's course means something."""


class Evaluation(BaseModel):
    """The quick scores of a step, and the mean sign of the critic since the evaluation before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int
    coverage: float
    distance: float
    sign: float | None = None


class GuardState(BaseModel):
    """All that the guard remembers; a checkpoint keeps it as JSON."""

    model_config = ConfigDict(extra="forbid")

    floor: float = 1.0
    """Coverage that real rows get."""
    base: Evaluation | None = None
    """Of the base, where a trained generator is adapted."""
    evaluations: list[Evaluation] = Field(default_factory=list)
    gradients: list[float] = Field(default_factory=list)
    """Norms at generated rows, look by look, since the last return."""
    alarm: str = ""
    """What the last look at the gradients found wrong."""
    sign_sum: float = 0.0
    sign_count: int = 0
    recoveries: int = 0
    events: list[str] = Field(default_factory=list)

    @property
    def best(self) -> Evaluation | None:
        """The evaluation with the smallest distance."""
        return min(self.evaluations, key=lambda e: e.distance, default=None)


class Guard:
    """Collects what training tells, and judges it."""

    def __init__(self, config: GuardConfig, state: GuardState | None = None) -> None:
        self.config = config
        self.state = state or GuardState()

    def begin(self, scores: Mapping[str, float]) -> None:
        """Take in the scores of the trained generator that training begins with: one evaluation
        like the others, and what the end is compared with.
        """
        base = Evaluation(step=0, coverage=scores["coverage"], distance=scores["distance"])
        if math.isfinite(base.distance):
            self.state.base, self.state.evaluations = base, [base]

    def step(self, terms: Mapping[str, float]) -> None:
        """Take in the terms of a step's losses."""
        if "critic_sign" in terms:
            self.state.sign_sum += terms["critic_sign"]
            self.state.sign_count += 1

    def look(self, told: Mapping[str, float]) -> None:
        """Take in what `Engine.diagnose` told: ``gradient_real`` and ``gradient_fake``."""
        if "gradient_fake" not in told:
            return
        fake, real = told["gradient_fake"], told["gradient_real"]
        seen, limit = self.state.gradients, self.config
        self.state.alarm = ""
        if len(seen) >= LOOKS and fake > limit.gradient * median(seen):
            self.state.alarm = (
                f"the critic's gradient at generated rows is {fake / max(median(seen), 1e-30):.0f} "
                "times its median"
            )
        ratio = real / max(fake, 1e-30)
        if len(seen) >= LOOKS and not 1 / limit.ratio < ratio < limit.ratio:
            self.state.alarm = f"the critic's gradient at real rows is {ratio:.2g} times the other"
        seen.append(fake)

    def judge(self, step: int, scores: Mapping[str, float], *, last: bool = False) -> str | None:
        """What is wrong at an evaluation, or None.

        Args:
            scores: of `QuickJudge.score`.
            last: whether training ends here: then a low coverage is told apart from a short
                training by whether samples still get better.
        """
        state, limit = self.state, self.config
        sign = state.sign_sum / state.sign_count if state.sign_count else None
        state.sign_sum, state.sign_count = 0.0, 0
        before = state.best
        now = Evaluation(
            step=step, coverage=scores["coverage"], distance=scores["distance"], sign=sign
        )
        if not math.isfinite(now.distance):
            return "samples are not finite"
        state.evaluations.append(now)
        if before is None or step < limit.warm_up:
            return None
        if last and (fault := self._spoilt(now)):
            return fault
        if now.distance < before.distance:
            return self._flat(now, last) if last else None
        lost = now.coverage < limit.coverage * state.floor
        worse = now.distance > limit.rise * before.distance + limit.distance
        if lost and worse:
            return f"coverage fell to {now.coverage:.3f}, distance rose to {now.distance:.3g}"
        if len(state.evaluations) < EVALUATIONS:
            return None
        if worse and self._rising():
            return (
                f"distance rises: {now.distance:.3g}, after {before.distance:.3g} at step "
                f"{before.step:,}"
            )
        if sign is not None and sign > limit.sign and lost:
            return f"the critic wins (mean sign {sign:.3f}), coverage is {now.coverage:.3f}"
        if state.alarm and (lost or worse):
            return state.alarm
        return self._flat(now, last)

    def _spoilt(self, now: Evaluation) -> str | None:
        """Whether samples are worse than those of the trained generator that training began with.

        Of an untrained one nothing follows: a game's first steps may well lead away.
        """
        base, limit = self.state.base, self.config
        if base is None or now.distance <= limit.rise * base.distance + limit.distance:
            return None
        return f"distance is {now.distance:.3g}, that of the base {base.distance:.3g}"

    def _flat(self, now: Evaluation, last: bool) -> str | None:
        if self._unlike(now) and self._stuck(last):
            quality = f"coverage is {now.coverage:.3f}, distance {now.distance:.3g}"
            return f"{quality}, and it gets no better"
        return None

    def _unlike(self, now: Evaluation) -> bool:
        """Whether samples are not the data's: little is covered, or not much and from far away. One
        class of ten, or blots where digits should be, cover a quarter of what real rows do; an
        autoencoder's blurred rows are far too, but cover half.
        """
        share = now.coverage / max(self.state.floor, 1e-12)
        limit = self.config
        return share < limit.coverage or (share < 2 * limit.coverage and now.distance > limit.far)

    def _rising(self) -> bool:
        """Over the last third: more pairs of evaluations rise than fall, by far (Kendall's tau)."""
        part = self.state.evaluations[-max(len(self.state.evaluations) // 3, 4) :]
        values = [e.distance for e in part]
        pairs = [(b > a) - (b < a) for i, a in enumerate(values) for b in values[i + 1 :]]
        return sum(pairs) >= len(pairs) / 3

    def _stuck(self, last: bool) -> bool:
        """No better distance for half of the evaluations, and at least eight; at the end of the
        training a third, and at least three.
        """
        found = [e.distance for e in self.state.evaluations]
        since = next(i for i, distance in enumerate(found) if distance <= min(found) * BETTER)
        idle, count = len(found) - 1 - since, len(found)
        return idle >= (max(3, count / 3) if last else max(8, count / 2))

    def _since_best(self) -> int:
        best = self.state.best
        return sum(best is not None and e.step > best.step for e in self.state.evaluations)

    def enough(self) -> bool:
        """Whether quality has stopped improving, by the configured patience."""
        patience = self.config.patience
        return patience is not None and self._since_best() >= patience

    def returned(self, step: int, why: str, at: int) -> None:
        """Note a return to the checkpoint of ``step``; what came after it is forgotten."""
        state = self.state
        state.recoveries += 1
        state.events.append(f"step {at:,}: {why}; back to step {step:,} with lower learning rates")
        state.evaluations = [e for e in state.evaluations if e.step <= step]
        state.gradients, state.alarm = [], ""
        state.sign_sum, state.sign_count = 0.0, 0

    def verdict(self) -> Verdict:
        """At the end of a training that was not given up."""
        state = self.state
        if not state.evaluations or state.evaluations[-1].step < self.config.warm_up:
            return "unjudged"
        end = state.evaluations[-1]
        if self._unlike(end):
            return "rising"
        return "recovered" if state.recoveries else "healthy"
