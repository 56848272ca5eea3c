"""A map over chunks on the cluster, in order, with a bounded number under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import ray
import torch

from synthray.distributed.failures import unwrapped


@ray.remote(num_cpus=1, max_retries=5)
def _apply(function: Callable[[Any], Any], item: Any) -> Any:
    torch.set_num_threads(1)
    return function(item)


def cluster_map(
    function: Callable[[Any], Any], items: Sequence[Any], advance: Callable[[], None] | None = None
) -> Iterable[Any]:
    """Apply ``function`` to each item in a task of its own; lost tasks are run again.

    Errors that the function raises come out as they are.
    """
    return _results(ray.put(function), items, advance or (lambda: None))


def _results(
    function: ray.ObjectRef, items: Sequence[Any], advance: Callable[[], None]
) -> Iterator[Any]:
    waiting: deque[ray.ObjectRef] = deque()
    for item in items:
        if len(waiting) >= _bound():
            yield _take(waiting, advance)
        waiting.append(_apply.remote(function, item))
    while waiting:
        yield _take(waiting, advance)


def _bound() -> int:
    """Of tasks under way: twice what runs at once; more than fits lets a cluster grow."""
    return 2 * max(int(ray.cluster_resources().get("CPU", 1)), 1)


def _take(waiting: deque[ray.ObjectRef], advance: Callable[[], None]) -> Any:
    with unwrapped():
        result = ray.get(waiting.popleft())
    advance()
    return result
