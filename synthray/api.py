"""Python in three lines: fit, load, evaluate. In this process; the command line runs on Ray."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from synthray import artifact as artifacts
from synthray import artifact_files, models, tracking
from synthray.adapting import adapting, adopt_base, with_conditions
from synthray.advice import advise
from synthray.config import Config, ModelConfig, parse
from synthray.data.batches import in_memory as batches_in_memory
from synthray.data.chunks import Source, in_memory
from synthray.data.codec import Codec, Value
from synthray.data.prepare import encode_all, fit_codec, left_out, open_data
from synthray.data.source import open_source
from synthray.errors import UsageError
from synthray.frames import Frame, frame_of, from_arrow, to_arrow
from synthray.metrics.judging import judge
from synthray.metrics.report import Report
from synthray.metrics.tables.report import TableReport
from synthray.rng import Rows
from synthray.sampling.virtual import VirtualDataset
from synthray.sampling.wishes import Shares
from synthray.training.beginning import check_model, new_engine
from synthray.training.checkpoint import CheckpointStore
from synthray.training.engine import Engine
from synthray.training.fingerprint import fingerprint
from synthray.training.loop import Hooks, Progress, train
from synthray.training.pictures import picture

log = logging.getLogger(__name__)
IN_MEMORY = "a table in memory"
UNTRACKED = {"tensorboard": False}
Table = Any
"""A pandas or Polars DataFrame, or an Arrow table."""


@dataclass(frozen=True)
class Artifact(artifacts.Artifact):
    """A trained generator; with a seed, an endless table.

    Attributes:
        frame: the kind of table that it gives.
        kept: its files, by name, or where they are.
    """

    frame: Frame = "arrow"
    kept: Mapping[str, bytes] | str = ""

    @classmethod
    def load(cls, uri: str, trust: Collection[str] = ()) -> Self:
        return replace(super().load(uri, trust), kept=uri)

    def save(self, uri: str) -> None:
        """Write the artifact to a folder, local or s3://: the same bytes, and so the same digest.

        Raises:
            OutputTakenError: another artifact is there.
            StorageError: it cannot be written, or what it was loaded from is gone.
        """
        artifact_files.copy(self.manifest, self.kept, uri)

    def rows(
        self,
        start: int,
        count: int,
        *,
        seed: int = 0,
        where: Mapping[str, Value] | None = None,
        balance: Mapping[str, Shares] | None = None,
        frame: Frame | None = None,
    ) -> Table:
        """Rows start … start + count of the virtual dataset (artifact, seed, where, balance).

        Args:
            where: values to hold, by column; balance: shares of values to hit, by column.
            frame: "arrow", "pandas" or "polars"; None: the kind that `fit` was given.

        Raises:
            ConditionError: what is asked for is not known, or comes too rarely.
            MissingDependencyError: the frame's library is not installed.
        """
        table = VirtualDataset(self, seed, where, balance=balance).rows(start, count)
        return from_arrow(table, frame or self.frame)

    def sample(
        self,
        rows: int,
        *,
        seed: int = 0,
        where: Mapping[str, Value] | None = None,
        balance: Mapping[str, Shares] | None = None,
        frame: Frame | None = None,
    ) -> Table:
        """The first ``rows`` rows: see `rows`."""
        return self.rows(0, rows, seed=seed, where=where, balance=balance, frame=frame)


def load(uri: str, trust: Collection[str] = ()) -> Artifact:
    """A trained artifact, local or s3://, every byte of it checked.

    Args:
        trust: families module:Class that the artifact may name, beside the installed ones.

    Raises:
        NotFoundError, ArtifactError.
    """
    return Artifact.load(uri, trust)


def fit(
    source: Any,
    *,
    output: str | None = None,
    base: str | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    **sections: Any,
) -> Artifact:
    """Train in this process on the data at ``source``, or on a table in memory.

    Where none is given, family and, of tables, length of training are those of `synthray.advice`.

    Args:
        source: a folder of images, or Parquet, CSV or JSON Lines; local or s3://. Or a pandas or
            Polars DataFrame or an Arrow table; the artifact then gives the same kind.
        output: where the artifact and the checkpoints go; None keeps them in memory.
        base: an artifact to adapt to the data (AD-GAN), instead of training from nothing.
        sections: of the config, as in the file: ``model={"name": "cvae"}, train={"steps": 500}``.
            Without ``track`` nothing is logged.

    Raises:
        ConfigError, SourceError, SchemaError, StorageError, TrainingError;
        MissingDependencyError: train.privacy without Opacus, or a tracker's package.
    """
    if output is None:
        with tempfile.TemporaryDirectory(prefix="synthray-") as place:
            made = fit(source, output=place, base=base, on_progress=on_progress, **sections)
            return replace(made, kept=artifact_files.files_of(made.manifest, str(made.kept)))
    data = dict(sections.pop("data", {}))
    if "source" in data:
        raise UsageError(f"data.source: {data['source']!r} beside another", "give one source")
    frame: Frame = "arrow" if isinstance(source, str) else frame_of(source)
    data["source"] = source if isinstance(source, str) else IN_MEMORY
    tree = {"data": data, "output": output, "track": UNTRACKED, **sections}
    config = parse(tree, where="fit")  # what is wrong with it is told before the source is read
    if isinstance(source, str):
        opened = open_source(source)
    else:
        opened = in_memory(IN_MEMORY, to_arrow(source))
    config = parse(tree | _advised(opened, sections, config.model), where="fit")
    made = _fit(config if base is None else adapting(config, base), opened, on_progress)
    return replace(made, frame=frame)


def _advised(opened: Source, sections: Mapping[str, Any], named: ModelConfig) -> dict[str, Any]:
    """The sections model and train, with a family where none is named, and the length of training
    where they leave it out, unless they name a family of images or numbers.

    Args:
        named: the section model as it was read.
    """
    model, train = (dict(sections.get(name) or {}) for name in ("model", "train"))
    together = 1
    if "name" in model:
        if named.name == "adgan" or models.coding(named) == "numbers":
            return {}
        together = models.rows_together(named)
    advice = advise(opened, together)
    length = {"steps": advice.steps, "batch_size": advice.batch_size}
    return {"model": {"name": advice.family} | model, "train": length | train}


def _fit(config: Config, opened: Source, on_progress: Callable[[Progress], None]) -> Artifact:
    tracking.check(config)
    if config.model.name != "adgan":
        models.check_params(config.model)
    opened, codec = open_data(config.data, models.coding(config.model), opened=opened)
    fit_codec(opened, codec, map, counts=config.train.privacy is None)
    config = with_conditions(config, codec)
    check_model(config, codec)
    data = encode_all(opened, codec, map)
    name = fingerprint(config, codec, data)
    engine = new_engine(config, codec, Rows.all(config.train.batch_size), prepare=adopt_base)
    batches = batches_in_memory(config, data)
    store = CheckpointStore(config.place("checkpoints"), name, config.train.keep_checkpoints)
    with tracking.tracking(config, name, log.warning) as trackers:
        outcome = train(engine, codec, batches, store, _hooks(trackers, codec, on_progress))
        artifacts.save_trained(config, engine, codec, outcome, name, left_out(opened, codec))
        made = Artifact.load(config.place("artifact"), trust=[config.model.name])
        trackers.artifact(made.digest, config.place("artifact"))
    return made


def _hooks(
    trackers: tracking.Tracking, codec: Codec, on_progress: Callable[[Progress], None]
) -> Hooks:
    def progressed(progress: Progress) -> None:
        on_progress(progress)
        trackers.progress(progress)

    def evaluated(progress: Progress, engine: Engine) -> bool:
        if trackers.on:
            trackers.evaluated(progress, picture(engine, codec))
        return False

    return Hooks(progressed, evaluated, trackers.note)


def evaluate(
    real: str | Table,
    synthetic: str | Table,
    *,
    holdout: str | Table | None = None,
    data: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Report | TableReport:
    """Judge synthetic images or rows of a table against real ones.

    Args:
        real: a URI, or a pandas, Polars or Arrow table without images.
        synthetic: a URI, or a table such as `Artifact.sample` gives.
        holdout: as ``real``: rows that the generator never saw.
        data: further settings of the config's ``data`` section, such as corrections of the schema.
        settings: of the config's ``evaluate`` section.

    Raises:
        ConfigError, SourceError, SchemaError, ConditionError, UsageError.
    """
    named = {"source": real if isinstance(real, str) else "."}
    held = holdout if isinstance(holdout, str) else None
    tree = {
        "data": {**(data or {}), **named},
        "output": ".",
        "evaluate": {**settings, "holdout": held},
    }
    return judge(
        parse(tree, where="evaluate"),
        synthetic if isinstance(synthetic, str) else to_arrow(synthetic),
        real=None if isinstance(real, str) else to_arrow(real),
        holdout=None if held is not None or holdout is None else to_arrow(holdout),
    )
