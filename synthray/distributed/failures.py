"""Errors that crossed process borders, brought back to what they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ray.exceptions import RayError

from synthray.errors import ClusterError, SynthRayError


@contextmanager
def unwrapped(*others: type[Exception]) -> Iterator[None]:
    """Raise SynthRay's own errors as they were in the worker, others as a ClusterError.

    Args:
        others: what may be raised beside Ray's core errors. They are named by the caller, for to
            import Ray Train here would cost every process of every task a second.
    """
    kinds: tuple[type[Exception], ...] = (RayError, *others)
    try:
        yield
    except SynthRayError as error:
        raise _plain(error) from None
    except kinds as error:
        own = own_cause(error)
        if own is not None:
            raise _plain(own) from None
        raise ClusterError(
            f"a task on the cluster failed for good: {last_line(error)}",
            "see the traceback with --debug; the same command goes on from what is there",
        ) from error


def _plain(error: SynthRayError) -> SynthRayError:
    """Ray raises a class that mixes the error's own with RayTaskError; give the own one back."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, SynthRayError) else error


def own_cause(error: BaseException) -> SynthRayError | None:
    """SynthRay's own error among the causes, if there is one."""
    seen: list[BaseException] = [error]
    while seen:
        current = seen.pop()
        if isinstance(current, SynthRayError):
            return current
        parts = [getattr(current, "cause", None), current.__cause__]
        parts += list(getattr(current, "worker_failures", {}).values())
        seen += [part for part in parts if isinstance(part, BaseException)]
    return None


def last_line(error: BaseException) -> str:
    """Of what Ray says at length, the end: that is where the cause stands."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
