"""TensorBoard's event files under OUTPUT/logs/.

A file grows on a local disk, as TensorBoard expects. For S3 it grows in a temporary folder and is
uploaded whole, atomically, now and then; it is kept small, and a new one begun, so that uploads do
not grow with the run. `tensorboard --logdir OUTPUT/logs` reads both.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import text

from synthray import storage
from synthray.config import dump
from synthray.tracking.run import Ending, Run

FLUSH_SECONDS = 10.0
FILE_BYTES = 4 << 20
"""Of a file that is uploaded again and again, about."""


class TensorBoard:
    """Writes event files."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._remote = storage.is_remote(run.place)
        self._flushed = time.monotonic()

    def begin(self, first: int | None) -> None:
        self._folder = (
            Path(tempfile.mkdtemp(prefix="synthray-logs-"))
            if self._remote
            else Path(storage.absolute(self._run.place))
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open()
        if first is not None:
            # The reader drops what an interrupted run had logged of later steps.
            self._write(Event(step=first, session_log=SessionLog(status=SessionLog.START)))
            told = f"```yaml\n{dump(self._run.config)}```"
            self._write(Event(step=first, summary=text("config", told)))
        self._flush()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        pairs = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(Event(step=step, summary=Summary(value=pairs)))

    def picture(self, step: int, png: bytes) -> None:
        with Image.open(io.BytesIO(png)) as opened:
            width, height = opened.size
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
        value = Summary.Value(tag="samples", image=image)
        self._write(Event(step=step, summary=Summary(value=[value])))

    def note(self, step: int, line: str) -> None:
        self._write(Event(step=step, summary=text("events", line)))

    def facts(self, facts: Mapping[str, str]) -> None:
        for name, value in facts.items():
            self._write(Event(summary=text(name, value)))

    def end(self, ending: Ending) -> None:
        self._flush()
        self._writer.close()
        if self._remote:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self) -> None:
        # Files are read in the order of their names, which begin with the second.
        before = set(self._folder.iterdir())
        self._writer = EventsWriter(str(self._folder / "events"), f".{time.time_ns():020}")
        self._writer.flush()
        (self._path,) = set(self._folder.iterdir()) - before

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        self._writer.flush()
        self._flushed = time.monotonic()
        if not self._remote:
            return
        place = storage.join(self._run.place, self._path.name)
        storage.write_bytes(place, self._path.read_bytes())
        if self._path.stat().st_size >= FILE_BYTES:
            self._writer.close()
            self._path.unlink()
            self._open()
