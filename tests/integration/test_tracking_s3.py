"""TensorBoard's files on S3, read there by TensorBoard's own reader."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from synthray import storage
from synthray.config import parse
from synthray.tracking import tensorboard, tracking
from synthray.training.loop import Progress


def test_event_files_are_uploaded_whole_in_several_parts(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setattr(tensorboard, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(tensorboard, "FILE_BYTES", 20_000)
    place = f"{s3_bucket}/digits"
    config = parse({"data": {"source": "digits"}, "output": place}, where="test")
    told = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (80, 80), dtype=np.uint8)
    Image.fromarray(noise).save(told, "PNG")
    lines: list[str] = []
    with tracking(config, "5" * 64, lines.append) as trackers:
        for step in range(10, 60, 10):
            progress = Progress(step, 50, {"critic": 1.0, "coverage": 0.5}, 1.0, 0.0)
            trackers.evaluated(progress, told.getvalue())
    files = [file.uri for file in storage.list_files(f"{place}/logs")]
    assert lines == [] and len(files) == 2
    found = reader.EventAccumulator(f"{place}/logs", size_guidance={"images": 0}).Reload()
    assert [event.step for event in found.Scalars("eval/coverage")] == [10, 20, 30, 40, 50]
    assert [event.step for event in found.Images("samples")] == [10, 20, 30, 40, 50]
