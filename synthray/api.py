"""Python in three lines: fit, load, evaluate. In this process; the command line runs on Ray."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pyarrow as pa

from synthray import artifact as artifacts
from synthray import models
from synthray.adapting import adapting, adopt_base, with_conditions
from synthray.config import Config, parse
from synthray.data.batches import MemoryBatches
from synthray.data.prepare import encode_all, fit_codec, open_data
from synthray.errors import UsageError
from synthray.metrics.judging import judge
from synthray.metrics.report import Report
from synthray.metrics.tables.report import TableReport
from synthray.rng import Rows
from synthray.sampling.virtual import VirtualDataset
from synthray.sampling.wishes import Shares, Value
from synthray.training.checkpoint import CheckpointStore
from synthray.training.fingerprint import fingerprint
from synthray.training.loop import Hooks, Progress, check_model, new_engine, train


class Artifact(artifacts.Artifact):
    """A trained generator; with a seed, an endless table."""

    def rows(
        self,
        start: int,
        count: int,
        *,
        seed: int = 0,
        where: Mapping[str, Value] | None = None,
        balance: Mapping[str, Shares] | None = None,
    ) -> pa.Table:
        """Rows start … start + count of the virtual dataset (artifact, seed, where, balance)."""
        return VirtualDataset(self, seed, where, balance=balance).rows(start, count)

    def sample(
        self,
        rows: int,
        *,
        seed: int = 0,
        where: Mapping[str, Value] | None = None,
        balance: Mapping[str, Shares] | None = None,
    ) -> pa.Table:
        """The first ``rows`` rows."""
        return self.rows(0, rows, seed=seed, where=where, balance=balance)


def load(uri: str, trust: Collection[str] = ()) -> Artifact:
    """A trained artifact, local or s3://, every byte of it checked.

    Args:
        trust: families module:Class that the artifact may name, beside the installed ones.

    Raises:
        NotFoundError, ArtifactError.
    """
    return Artifact.load(uri, trust)


def fit(
    source: str,
    *,
    output: str | None = None,
    base: str | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    **sections: Any,
) -> Artifact:
    """Train on the data at ``source`` in this process.

    Args:
        source: a folder of images, or Parquet, CSV or JSON Lines; local or s3://.
        output: where the artifact and the checkpoints go; None keeps them in memory.
        base: an artifact to adapt to the data (AD-GAN), instead of training from nothing.
        sections: of the config, as in the file: ``model={"name": "cvae"}, train={"steps": 500}``.

    Raises:
        ConfigError, SourceError, SchemaError, StorageError, TrainingError.
    """
    if output is None:
        with tempfile.TemporaryDirectory(prefix="synthray-") as place:
            return fit(source, output=place, base=base, on_progress=on_progress, **sections)
    data = dict(sections.pop("data", {}))
    if "source" in data:
        raise UsageError(f"data.source: {data['source']!r} beside {source!r}", "give one source")
    data["source"] = source
    config = parse({"data": data, "output": output, **sections}, where="fit")
    return _fit(config if base is None else adapting(config, base), on_progress)


def _fit(config: Config, on_progress: Callable[[Progress], None]) -> Artifact:
    if config.model.name != "adgan":
        models.check_params(config.model)
    opened, codec = open_data(config.data, models.coding(config.model))
    fit_codec(opened, codec, map)
    config = with_conditions(config, codec)
    check_model(config, codec)
    data = encode_all(opened, codec, map)
    name = fingerprint(config, codec, data)
    engine = new_engine(config, codec, Rows.all(config.train.batch_size), prepare=adopt_base)
    batches = MemoryBatches(data, config.train.batch_size, config.seed)
    store = CheckpointStore(config.place("checkpoints"), name, config.train.keep_checkpoints)
    outcome = train(engine, codec, batches, store, Hooks(on_progress=on_progress))
    artifacts.save_trained(config, engine, codec, outcome, name)
    return Artifact.load(config.place("artifact"), trust=[config.model.name])


def evaluate(
    real: str | pa.Table,
    synthetic: str | pa.Table,
    *,
    holdout: str | pa.Table | None = None,
    data: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Report | TableReport:
    """Judge synthetic images or rows of a table against real ones.

    Args:
        real: a URI, or a table without images.
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
        synthetic,
        real=None if isinstance(real, str) else real,
        holdout=None if isinstance(holdout, str) else holdout,
    )
