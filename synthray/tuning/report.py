"""What a search leaves: the best config as a file, a table of all trials, a picture."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from synthray.config import Config, dump
from synthray.tuning.objective import WORST, Score, SeedResult, median_of, score
from synthray.tuning.trial import Lineage

SHOWN_COURSES = 30
"""Trials whose courses are drawn; more would be a thicket."""


ENDINGS = ("finished", "stopped early", "gave up", "failed", "running")
"""Best first: all steps trained by one seed at least; stopped by the scheduler; all seeds given up
by the guard; an error."""


class TrialRow(BaseModel):
    """How one trial ended, one of `ENDINGS`, and where its seeds stand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    ended: str
    step: int
    lineage: Lineage
    seeds: list[SeedResult]
    why: str = ""

    @property
    def score(self) -> Score:
        return score(self.seeds)

    @property
    def verdicts(self) -> str:
        """How many seeds came to which verdict, and the median share of the data they cover."""
        found = Counter(seed.verdict for seed in self.seeds)
        covered = float(np.median([seed.coverage for seed in self.seeds]))
        counts = ", ".join(f"{count} {verdict}" for verdict, count in found.most_common())
        return f"{counts}; cover {covered:.2f}"

    @property
    def is_baseline(self) -> bool:
        """Whether it trained the config as it stands."""
        return not self.lineage.settings and not self.lineage.schedule


class Tuning(BaseModel):
    """All trials, in their order, and the best one trained again on fresh seeds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: list[TrialRow]
    fresh: list[SeedResult] = Field(default_factory=list)

    @property
    def ranked(self) -> list[TrialRow]:
        """Best first. One that was stopped early has not shown what it can, and comes after those
        that finished.
        """
        return sorted(self.trials, key=lambda row: (ENDINGS.index(row.ended), row.score.rank))

    @property
    def best(self) -> TrialRow:
        return self.ranked[0]

    @property
    def baseline(self) -> TrialRow | None:
        return next((row for row in self.trials if row.is_baseline), None)


def best_config(config: Config, tuning: Tuning) -> str:
    """The config of the best trial as YAML for `synthray train`, with its scores as comments."""
    best = tuning.best
    lines = [f"# The best of {len(tuning.trials)} trials: {told(best.score)}."]
    if not best.score.successes:
        lines.append(f"# No seed of any trial succeeded; those of this one: {best.verdicts}.")
    if tuning.fresh:
        lines.append(f"# On fresh seeds: {told(score(tuning.fresh))}.")
    for path, value in best.lineage.settings.items():
        lines.append(f"#   {path} = {_shown(value)}")
    for change in best.lineage.schedule:
        lines.append(f"#   from step {change.step:,}: {settings_told(change.set)}")
    return "\n".join(lines) + "\n\n" + dump(best.lineage.applied(config))


def told(found: Score) -> str:
    """A score in words."""
    return (
        f"{found.successes} of {found.seeds} seeds succeed (lower bound {100 * found.lower:.0f} "
        f"%), median distance {limited(found.distance)}, spread {limited(found.spread)}, "
        f"{found.seconds:.0f} s a seed"
    )


def trials_table(config: Config, tuning: Tuning, none: str = "") -> list[list[str]]:
    """A header and one row a trial, best first, as text; ``none`` where there is no distance."""
    paths = list(config.tune.space)
    head = ["rank", "trial", "ended", "step", "seeds", "lower", "distance", "spread", "seconds"]
    rows = [[*head, "verdicts", *paths, "schedule", "why"]]
    for rank, row in enumerate(tuning.ranked, start=1):
        found = row.score
        now = row.lineage.now
        values = [_shown(now[path]) if path in now else "" for path in paths]
        changes = [{"step": 0, "set": row.lineage.settings}] if row.lineage.schedule else []
        changes += [change.model_dump(mode="json") for change in row.lineage.schedule]
        why = row.why or "; ".join(dict.fromkeys(s.why for s in row.seeds if s.why))
        rows.append(
            [
                str(rank),
                f"{row.number} (config)" if row.is_baseline else str(row.number),
                row.ended,
                str(row.step),
                f"{found.successes}/{found.seeds}",
                f"{found.lower:.3f}",
                limited(found.distance, none),
                limited(found.spread, none),
                f"{found.seconds:.1f}",
                row.verdicts,
                *values,
                json.dumps(changes) if changes else "",
                why,
            ]
        )
    return rows


def shown(config: Config, tuning: Tuning, rows: int = 10) -> list[str]:
    """The first rows of the table as lines of text, and how the best compares with the config."""
    table = trials_table(config, tuning, "none")
    narrow = [row[:-2] for row in table[: rows + 1]]
    widths = [max(len(row[i]) for row in narrow) for i in range(len(narrow[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in narrow]
    if len(table) > len(narrow):
        lines.append(f"… {len(table) - len(narrow)} more in trials.csv")
    if tuning.fresh:
        lines.append(f"the best on fresh seeds: {told(score(tuning.fresh))}")
    if any(row.lineage.schedule for row in tuning.trials):
        lines.append("settings are those at the end; how they came there is in trials.csv")
    if tuning.baseline is not None:
        same = tuning.best.is_baseline
        lines.append(
            "no trial is better than the config as it stands"
            if same
            else f"the config as it stands: {told(tuning.baseline.score)}"
        )
    return [line.rstrip() for line in lines]


def as_csv(table: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(table)
    return out.getvalue().encode()


def settings_told(settings: Mapping[str, Any]) -> str:
    """Settings in words."""
    return ", ".join(f"{path} = {_shown(value)}" for path, value in settings.items())


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def limited(value: float, none: str = "none") -> str:
    """A distance, or ``none`` where the seed was given up."""
    return none if value >= WORST / 2 else f"{value:.3g}"


def plot(tuning: Tuning) -> bytes:
    """A PNG: left the distance of every seed, trial by trial; right their course."""
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(12, 5), layout="constrained")
    dots, courses = figure.subplots(1, 2)
    _draw_seeds(dots, tuning)
    _draw_courses(courses, tuning)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()


GOOD, BAD, BEST, REST = "#1b7f4d", "#c2452d", "#1b4f9c", "#9aa3ad"


def _draw_seeds(axis: Any, tuning: Tuning) -> None:
    ranked = tuning.ranked
    finite = [s.distance for row in ranked for s in row.seeds if not s.why] or [1.0]
    top = 3 * max(finite)
    for place, row in enumerate(ranked):
        for index, seed in enumerate(row.seeds):
            shift = 0.3 * ((index + 0.5) / len(row.seeds) - 0.5)
            axis.plot(
                place + shift,
                top if seed.why else max(seed.distance, 1e-12),
                marker="x" if seed.why else "o",
                color=GOOD if seed.success else BAD,
                linestyle="none",
                fillstyle="full" if row.ended == "finished" else "none",
            )
    names = [f"{row.number}\nconfig" if row.is_baseline else str(row.number) for row in ranked]
    axis.set_xticks(range(len(ranked)), names, fontsize=8 if len(ranked) <= 20 else 6)
    axis.set_yscale("log")
    axis.set_xlabel("trial, best first")
    axis.set_ylabel("Fréchet distance, data's variance = 1")
    for label, colour, marker, style in (
        ("succeeds", GOOD, "o", "full"),
        ("does not", BAD, "o", "full"),
        ("given up", BAD, "x", "full"),
        ("stopped early", REST, "o", "none"),
    ):
        axis.plot([], [], marker, color=colour, fillstyle=style, label=label)
    axis.legend(fontsize=8, title="each seed", title_fontsize=8)
    axis.set_title("Where the seeds of every trial ended")
    axis.grid(axis="y", alpha=0.3)


def _draw_courses(axis: Any, tuning: Tuning) -> None:
    best, baseline, drawn = tuning.best, tuning.baseline, False
    for row in reversed(tuning.ranked[:SHOWN_COURSES]):
        course = _median_course(row)
        if not course:
            continue
        steps, distances = zip(*course, strict=True)
        look: dict[str, Any] = {"color": REST, "linewidth": 1, "alpha": 0.7}
        if row is baseline:
            look = {"color": BAD, "linewidth": 2, "label": f"trial {row.number}, the config"}
        if row is best:
            look = {"color": BEST, "linewidth": 2.5, "label": f"trial {row.number}, the best"}
        axis.plot(steps, distances, marker=".", **look)
        drawn |= "label" in look
    axis.set_yscale("log")
    axis.set_xlabel("step")
    axis.set_ylabel("median distance of the seeds")
    axis.set_title("How they came there")
    if drawn:
        axis.legend(fontsize=8)
    axis.grid(alpha=0.3)


def _median_course(row: TrialRow) -> list[tuple[int, float]]:
    by_step: dict[int, list[float]] = {}
    for seed in row.seeds:
        for step, distance in seed.course:
            by_step.setdefault(step, []).append(distance)
    return [(step, median_of(found)) for step, found in sorted(by_step.items())]
