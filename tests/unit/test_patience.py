"""Waiting for a storage that comes back, and not for one that will not."""

from __future__ import annotations

import pytest

from synthray.distributed import patience
from synthray.distributed.patience import patiently
from synthray.errors import AccessDeniedError, NotFoundError, StorageError, StorageFullError


class Failing:
    """Fails a number of times, then works."""

    def __init__(self, times: int, error: type[Exception] = StorageError) -> None:
        self.left, self.error, self.calls = times, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error("s3://bucket: does not answer")
        return "done"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    taken: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", taken.append)
    return taken


def test_a_storage_that_comes_back_is_waited_for(pauses: list[float]) -> None:
    action = Failing(3)
    assert patiently("s3://bucket/x", action) == "done"
    assert action.calls == 4 and len(pauses) == 3
    assert all(0 < pause <= patience.LONGEST_PAUSE_SECONDS for pause in pauses)
    assert len(set(pauses)) == 3


def test_the_waiting_has_an_end() -> None:
    action = Failing(10**6)
    with pytest.raises(StorageError, match="does not answer"):
        patiently("s3://bucket/x", action)
    assert action.calls == patience.ATTEMPTS


@pytest.mark.parametrize(
    "error", [NotFoundError, AccessDeniedError, StorageFullError, ValueError, KeyboardInterrupt]
)
def test_what_does_not_pass_comes_out_at_once(error: type[Exception], pauses: list[float]) -> None:
    action = Failing(1, error)
    with pytest.raises(error):
        patiently("s3://bucket/x", action)
    assert action.calls == 1 and not pauses


def test_a_local_disk_is_not_waited_for() -> None:
    action = Failing(1)
    with pytest.raises(StorageError):
        patiently("/disk/x", action)
    assert action.calls == 1
