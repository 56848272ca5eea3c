"""A run in MLflow, by its client: no global state, no autologging."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from PIL import Image

from synthray.config import MlflowConfig
from synthray.tracking.run import Ending, Run

LIMIT = 6000
"""Characters of a parameter, by MLflow's own limit."""
AT_ONCE = 100
"""Parameters in one request, by its limit too."""
STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}


class Mlflow:
    """Logs to one MLflow run, which an interrupted training goes on with."""

    def __init__(self, run: Run, settings: MlflowConfig) -> None:
        self._run, self._settings = run, settings
        self._notes = 0

    def begin(self, first: int | None) -> None:
        self._client = MlflowClient(tracking_uri=self._settings.uri)
        known = self._find()
        run = known or self._create()
        self._id = run.info.run_id
        if known is None:
            self._run.remember("mlflow", self._id)
        else:
            self._client.update_run(self._id, status="RUNNING")
        # A parameter cannot be changed; what differs since does not change the weights.
        params = [
            Param(name, value[:LIMIT])
            for name, value in self._run.parameters().items()
            if name not in run.data.params
        ]
        for start in range(0, len(params), AT_ONCE):
            self._client.log_batch(self._id, params=params[start : start + AT_ONCE])

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(_allowed(name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def picture(self, step: int, png: bytes) -> None:
        with Image.open(io.BytesIO(png)) as image:
            self._client.log_image(self._id, image, key="samples", step=step)

    def note(self, step: int, line: str) -> None:
        self._notes += 1
        self._client.set_tag(self._id, f"event.step-{step:09}.{self._notes}", line)

    def facts(self, facts: Mapping[str, str]) -> None:
        for name, value in facts.items():
            self._client.set_tag(self._id, f"synthray.{name}", value)

    def end(self, ending: Ending) -> None:
        self._client.set_terminated(self._id, STATUS[ending])

    def _find(self) -> MlflowRun | None:
        """The run that was begun, if the server still has it."""
        known = self._run.recall("mlflow")
        if known is None:
            return None
        try:
            run = self._client.get_run(known)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return run if run.info.lifecycle_stage == "active" else None

    def _create(self) -> MlflowRun:
        tags = {"synthray.fingerprint": self._run.fingerprint}
        return self._client.create_run(self._experiment(), tags=tags, run_name=self._run.name)

    def _experiment(self) -> str:
        name = self._settings.experiment
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name))
        except MlflowException as error:  # another run has just made it
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return str(self._client.get_experiment_by_name(name).experiment_id)


def _allowed(name: str) -> str:
    """A metric's name with nothing in it but what MLflow takes."""
    return "".join(c if (c.isascii() and c.isalnum()) or c in "_-./ " else "_" for c in name)
