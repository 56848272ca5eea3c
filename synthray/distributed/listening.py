"""Hearing from Ray Tune how its trials are doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune

from synthray.distributed.failures import last_line
from synthray.distributed.metrics import TuneMeters
from synthray.distributed.trials import number_of
from synthray.tuning.report import TrialRow, limited, settings_told, told

Show = Callable[[int, int, str], None]


class Listener:
    """Tells people how a run of Ray Tune is doing.

    Args:
        show: given (steps done, steps in all, a line) after every report of a trial.
        say: given a line when a trial has ended.
        trials, steps: how many there will be, and how long each is.
        meters: of the search.
        unchanged: what a trial with no settings of its own is called.
    """

    def __init__(
        self,
        show: Show,
        say: Callable[[str], None],
        trials: int,
        steps: int,
        meters: TuneMeters,
        unchanged: str = "the config",
    ) -> None:
        self.show, self.say, self.trials, self.steps = show, say, trials, steps
        self.unchanged, self.meters = unchanged, meters

    def reported(self, trials: list[Any]) -> None:
        """The trials so far, of which one has reported."""
        done, ended, scores = 0, 0, []
        for trial in trials:
            row = (trial.last_result or {}).get("row")
            # One that was stopped early is done too.
            done += self.steps if trial.is_finished() else (row["step"] if row else 0)
            ended += trial.is_finished()
            if row and trial.is_finished():
                scores.append(TrialRow.model_validate(row).score)
        self.meters.trials(trial.status for trial in trials)
        line = f"{ended} of {self.trials} trials"
        if scores:
            best = min(scores, key=lambda found: found.rank)
            self.meters.best(best.distance, best.successes)
            line += f"  best {best.successes}/{best.seeds} seeds, distance {limited(best.distance)}"
        self.show(done, self.trials * self.steps, line)

    def ended(self, trial: Any) -> None:
        row = (trial.last_result or {}).get("row")
        if row:
            found = TrialRow.model_validate(row)
            settings = settings_told(found.lineage.now) or self.unchanged
            early = "" if found.ended != "running" else f"stopped early at step {found.step:,}, "
            why = f": {found.why}" if found.why else ""
            self.say(f"trial {found.number} ({settings}): {early}{told(found.score)}{why}")

    def failed(self, trial: Any) -> None:
        number, error = number_of(trial.trial_id, trial.config), trial.get_error()
        self.say(f"trial {number} failed for good: {last_line(error) if error else 'no reason'}")

    def lost(self, trial: Any) -> None:
        number = number_of(trial.trial_id, trial.config)
        self.say(f"trial {number}: its process died; it goes on from its last checkpoint")


_listeners: list[Listener] = []
"""Ray pickles its callbacks, and what people look at cannot be: it waits here."""


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have `Listening` tell this listener within the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


class Listening(tune.Callback):
    """Passes on what happens to the trials."""

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any
    ) -> None:
        for listener in _listeners:
            listener.reported(trials)

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        for listener in _listeners:
            listener.lost(trial)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        for listener in _listeners:
            listener.failed(trial)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        for listener in _listeners:
            listener.reported(trials)
            listener.ended(trial)
