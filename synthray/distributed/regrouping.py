"""When workers are lost or more find room: a line about it, and a fresh look at the nodes."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
    get_or_create_autoscaling_coordinator,
)
from ray.exceptions import RayError
from ray.train import PreemptionError
from ray.train.v2._internal.exceptions import RayTrainError
from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.controller.state import (
    ReschedulingState,
    ResizingState,
    RestartingState,
    RunningState,
)

from synthray.config import ClusterConfig
from synthray.distributed.failures import last_line, own_cause
from synthray.errors import StorageError
from synthray.training.checkpoint import CheckpointStore

AGAIN_SECONDS = 60.0
"""Between two lines that say the same."""
LOOK_SECONDS = 5.0
STEP = "<step>"
"""In a line, until it is known."""
PARTNER_GONE = re.compile(r"gloo|nccl|connection (closed|reset)", re.IGNORECASE)
"""What those who are left say of it; often they notice first."""


class Regrouping(ControllerCallback):
    """Lives in Ray Train's controller.

    Ray looks at the nodes every 20 s, and would wait for the processors of a dead one twice.

    Args:
        board: where the driver hears the lines.
        store: the run's checkpoints.
    """

    def __init__(self, board: Any, store: CheckpointStore, cluster: ClusterConfig) -> None:
        self._board, self._store, self._crews = board, store, cluster.crews
        self._requester = ""
        self._waiting: float | None = None

    def after_controller_start(self, train_run_context: Any) -> None:
        self._requester = f"train-{train_run_context.run_id}"
        # Storage is asked for the step: nothing waits for the answer, and lines keep their order.
        self._speaker = ThreadPoolExecutor(1, thread_name_prefix="synthray-regrouping")

    async def before_controller_shutdown(self) -> None:
        self._speaker.shutdown()

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        if isinstance(current_state, RunningState):
            self._waiting = None
        elif type(current_state) is type(previous_state):
            return  # it is told already
        elif isinstance(current_state, RestartingState):
            error = current_state.training_failed_error
            if own_cause(error) is None:  # else the driver raises it, and nothing goes on
                self._tell(f"{reason(error)}: training goes on from {STEP} {self._then()}")
            self._look()
        elif isinstance(current_state, ReschedulingState):
            now = time.monotonic()
            if self._waiting is None or now - self._waiting >= AGAIN_SECONDS:
                self._waiting = now
                self._tell(f"not all workers have found room: training goes on {self._then()}")
            self._look()
        elif isinstance(current_state, ResizingState):
            decision: Any = current_state.scaling_decision
            workers = decision.num_workers
            self._tell(f"there is room for {workers} workers now: they start from {STEP} again")

    def _then(self) -> str:
        least, most = self._crews[0], self._crews[-1]
        if least == most:
            return f"as soon as {most} {'workers find' if most > 1 else 'worker finds'} room"
        return f"as soon as {least} of up to {most} workers find room"

    def _step(self) -> str:
        try:
            return f"step {self._store.newest_step() or 0:,}"
        except StorageError:  # the workers will meet it too, and say so
            return "the newest checkpoint"

    def _tell(self, line: str) -> None:
        self._speaker.submit(self._speak, line)

    def _speak(self, line: str) -> None:
        self._board.tell.remote(line.replace(STEP, self._step()) if STEP in line else line)

    def _look(self) -> None:
        """Have Ray count the nodes now."""
        if self._crews[0] == self._crews[-1]:
            return  # all are waited for, whatever there is
        coordinator: Any = get_or_create_autoscaling_coordinator()
        asked = coordinator.get_reserved_resources.remote(self._requester, recompute=True)
        try:
            ray.get(asked, timeout=LOOK_SECONDS)
        except RayError:
            return  # a little later Ray looks by itself


def reason(error: BaseException) -> str:
    """Why a group of workers ended."""
    if isinstance(error, PreemptionError):
        return "a node was taken away, as announced"
    parts = list(getattr(error, "worker_failures", {}).values()) or [error]
    if any(
        isinstance(part, (RayError, RayTrainError)) or PARTNER_GONE.search(str(part))
        for part in parts
    ):
        return "a worker or its node was lost"
    return f"a worker failed ({last_line(parts[0])})"
