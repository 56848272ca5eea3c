"""What trackers are told of a run at its start, and what they keep to go on with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from synthray import storage
from synthray.config import Config
from synthray.errors import NotFoundError

Ending = Literal["finished", "failed", "killed"]


@dataclass(frozen=True)
class Run:
    """One training, as trackers know it.

    Args:
        config: of the run.
        fingerprint: names settings and data; another one under the same output is another run.
    """

    config: Config
    fingerprint: str

    @property
    def name(self) -> str:
        """For people."""
        return self.config.track.name or self.config.output.rstrip("/").rpartition("/")[2] or "run"

    @property
    def place(self) -> str:
        """Where logs are written."""
        return self.config.place("logs")

    def parameters(self) -> dict[str, str]:
        """The config by dotted path; lists as JSON."""
        return dict(_flat(self.config.model_dump(mode="json", by_alias=True, exclude={"track"})))

    def recall(self, tracker: str) -> str | None:
        """What the tracker called this run, before it was interrupted."""
        try:
            kept = storage.read_json(storage.join(self.place, "run.json"))
        except NotFoundError:
            return None
        found = kept.get(tracker) if kept.get("fingerprint") == self.fingerprint else None
        return None if found is None else str(found)

    def remember(self, tracker: str, name: str) -> None:
        """Keep what the tracker calls this run."""
        place = storage.join(self.place, "run.json")
        try:
            kept = storage.read_json(place)
        except NotFoundError:
            kept = {}
        if kept.get("fingerprint") != self.fingerprint:
            kept = {"fingerprint": self.fingerprint}
        storage.write_json(place, kept | {tracker: name})


class Tracker(Protocol):
    """One way to log. Calls come from one thread, and may raise what they like: see `telling`.

    ``step`` is the number of training steps done.
    """

    def begin(self, first: int | None) -> None:
        """Start, or go on; what was told of steps from ``first`` on is told anew."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...

    def picture(self, step: int, png: bytes) -> None: ...

    def note(self, step: int, line: str) -> None: ...

    def facts(self, facts: Mapping[str, str]) -> None: ...

    def end(self, ending: Ending) -> None: ...


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if isinstance(value, str) else json.dumps(value)
