"""How much of a privacy budget a run has spent, kept beside its checkpoints.

Steps are written down before they are taken. A crash loses steps, but not that they were taken:
what was written counts as spent, and training ends so much earlier.
"""

from __future__ import annotations

from synthray import storage
from synthray.errors import ArtifactError, NotFoundError, OutputTakenError, StorageError
from synthray.training.checkpoint import CheckpointStore

NAME = "privacy.json"
AHEAD = 100
"""At most so many steps, and at most a hundredth of all, are written down at a time."""


class Ledger:
    """The steps that one run has taken, over all its processes.

    Args:
        steps: that the budget is meant for.
        writes: whether this process writes: rank 0 does.

    Raises:
        OutputTakenError: there is one of a run with other settings.
        ArtifactError: it is damaged: what was spent is not known.
    """

    def __init__(self, store: CheckpointStore, steps: int, writes: bool) -> None:
        self._uri = storage.join(store.uri, NAME)
        self._fingerprint, self._steps, self._writes = store.fingerprint, steps, writes
        self.spent = self._written = self._read() if writes else 0

    @property
    def left(self) -> int:
        return max(self._steps - self.spent, 0)

    def take(self) -> None:
        """Count a step that is about to be taken."""
        self.spent += 1
        if self.spent > self._written:
            ahead = max(1, min(AHEAD, self._steps // 100))
            self._write(min(self.spent + ahead - 1, max(self._steps, self.spent)))

    def settle(self) -> None:
        """Write down what was taken, no more: training stands at a checkpoint."""
        if self._written != self.spent:
            self._write(self.spent)

    def _write(self, spent: int) -> None:
        self._written = spent
        if self._writes:
            storage.write_json(self._uri, {"fingerprint": self._fingerprint, "steps": spent})

    def _read(self) -> int:
        try:
            tree = storage.read_json(self._uri)
            fingerprint, spent = tree["fingerprint"], int(tree["steps"])
        except NotFoundError:
            return 0
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(str(error)) from error
        except StorageError as error:
            if isinstance(error.__cause__, ValueError):
                raise self._damaged(error.what) from error
            raise
        if fingerprint != self._fingerprint:
            raise OutputTakenError(
                f"output: {self._uri} is the privacy ledger of a run with other settings",
                "choose another output: what that run spent and what this one spends add up",
            )
        return spent

    def _damaged(self, why: str) -> ArtifactError:
        return ArtifactError(
            f"{self._uri} is damaged, and what was spent of the privacy budget is not known: {why}",
            "choose another output: what this run spent and what the new one spends add up",
        )
