"""`synthray.fit`: training in this process, on data at a URI or on a table in memory."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from synthray import arguments, artifact_files, models, tracking
from synthray import artifact as artifacts
from synthray.adapting import adapting, adopt_base, with_data
from synthray.advice import advise
from synthray.api import Artifact
from synthray.config import Config, ModelConfig, parse
from synthray.console import Screen
from synthray.data.batches import in_memory as batches_in_memory
from synthray.data.chunks import Source, check_names, in_memory
from synthray.data.codec import Codec
from synthray.data.prepare import encode_all, fit_codec, left_out, open_data
from synthray.data.source import open_source
from synthray.errors import UsageError
from synthray.frames import Frame, frame_of, template_of, to_arrow
from synthray.rng import Rows
from synthray.training.beginning import check_model, new_engine
from synthray.training.checkpoint import CheckpointStore
from synthray.training.device import here
from synthray.training.engine import Engine
from synthray.training.fingerprint import fingerprint
from synthray.training.loop import Hooks, Progress, train
from synthray.training.pictures import picture

log = logging.getLogger(__name__)
IN_MEMORY = "a table in memory"
UNTRACKED = {"tensorboard": False}


def fit(
    source: Any,
    *,
    output: str | None = None,
    base: str | None = None,
    progress: bool | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    **sections: Any,
) -> Artifact:
    """Train in this process on the data at ``source``, or on a table in memory.

    Where none is given, family and, of tables, length of training are those of `synthray.advice`.
    Columns that no family learns are left out, with a warning.

    Args:
        source: a folder of images, or Parquet, CSV or JSON Lines; local or s3://. Or a pandas or
            Polars DataFrame or an Arrow table; the artifact then gives the same kind.
        output: where the artifact and the checkpoints go; None keeps them in memory.
        base: an artifact to adapt to the data (AD-GAN), instead of training from nothing.
        progress: whether to show on stderr how far training is; None: on a terminal and in a
            notebook.
        on_progress: called with how far training is.
        sections: of the config, as in the file: ``model={"name": "cvae"}, train={"steps": 500}``;
            ``model="cvae"`` is short for the former. Without ``track`` nothing is logged.
            ``cluster={"gpus_per_worker": 1}`` trains on this machine's GPU.

    Raises:
        UsageError: no table.
        ConfigError, SourceError, SchemaError, StorageError, TrainingError;
        MissingDependencyError: train.privacy without Opacus, or a tracker's package.
    """
    given = {n: arguments.section(n, sections.get(n)) for n in ("data", "model", "train")}
    if "source" in given["data"]:
        raise UsageError(
            f"data.source: {given['data']['source']!r} beside another", "give one source"
        )
    frame: Frame = "arrow" if isinstance(source, str) else frame_of(source)
    given["data"]["source"] = source if isinstance(source, str) else IN_MEMORY
    with ExitStack() as stack:
        place = output or stack.enter_context(tempfile.TemporaryDirectory(prefix="synthray-"))
        tree = {"output": place, "track": UNTRACKED, **sections, **given}
        config = parse(tree, where="fit")  # what is wrong with it is told before the source is read
        opened = open_source(source) if isinstance(source, str) else _in_memory(source)
        config = parse(tree | _advised(opened, given, config.model), where="fit")
        config = config if base is None else adapting(config, base)
        told = stack.enter_context(_telling(progress, on_progress))
        made = _fit(config, opened, told, None if frame == "arrow" else frame)
        if output is None:
            made = replace(made, kept=artifact_files.files_of(made.manifest, str(made.kept)))
    return made if frame == "arrow" else replace(made, template=template_of(source))


def _in_memory(source: Any) -> Source:
    table = to_arrow(source)
    check_names(table.column_names, IN_MEMORY, "data.source")
    return in_memory(IN_MEMORY, table)


def _advised(opened: Source, given: Mapping[str, Any], named: ModelConfig) -> dict[str, Any]:
    """The sections model and train, with a family where none is named, and the length of training
    where they leave it out, unless they name a family of images or numbers.

    Args:
        named: the section model as it was read.
    """
    together = 1
    if "name" in given["model"]:
        if named.name == "adgan" or models.coding(named) == "numbers":
            return {}
        together = models.rows_together(named)
    advice = advise(opened, together)
    length = {"steps": advice.steps, "batch_size": advice.batch_size}
    return {
        "model": {"name": advice.family} | given["model"],
        "train": length | given["train"],
    }


@contextmanager
def _telling(
    progress: bool | None, on_progress: Callable[[Progress], None]
) -> Iterator[Callable[[Progress], None]]:
    """What to call with the progress of training, for the length of the block."""
    screen = Screen()
    if not (screen.watched if progress is None else progress):
        yield on_progress
        return
    with screen.bar("training", "steps") as bar:

        def both(told: Progress) -> None:
            bar.training(told)
            on_progress(told)

        yield both


def _fit(
    config: Config,
    opened: Source,
    on_progress: Callable[[Progress], None],
    frame: Frame | None,
) -> Artifact:
    tracking.check(config)
    device = here(config)
    if config.model.name != "adgan":
        models.check_params(config.model)
    opened, codec = open_data(config.data, models.coding(config.model), opened=opened)
    omitted = left_out(opened, codec)
    if not opened.image_columns:  # beside images, data.conditions names what is learned
        _warn(omitted, config)
    fit_codec(opened, codec, map, counts=config.train.privacy is None)
    config = with_data(config, codec)
    check_model(config, codec)
    data = encode_all(opened, codec, map)
    name = fingerprint(config, codec, data)
    rows = Rows.all(config.train.batch_size)
    engine = new_engine(config, codec, rows, device, prepare=adopt_base)
    batches = batches_in_memory(config, data)
    store = CheckpointStore(config.place("checkpoints"), name, config.train.keep_checkpoints)
    with tracking.tracking(config, name, log.warning) as trackers:
        outcome = train(engine, codec, batches, store, _hooks(trackers, codec, on_progress))
        artifacts.save_trained(config, engine, codec, outcome, name, omitted, frame)
        made = Artifact.load(config.place("artifact"), trust=[config.model.name])
        trackers.artifact(made.digest, config.place("artifact"))
    return made


def _warn(omitted: Mapping[str, str], config: Config) -> None:
    """Tell which columns are left out, but for those that the config has as text."""
    known = config.data.schema_
    found = {n: why for n, why in omitted.items() if known.get(n, {}).get("kind") != "text"}
    if not found:
        return
    remedies = ["leave them out yourself, or convert them to numbers, categories or dates"]
    text = [name for name, why in found.items() if why == "free text"]
    if text:
        remedies.append(
            f"data={{'schema': {{{text[0]!r}: {{'kind': 'categorical'}}}}}} learns text"
        )
    warnings.warn(
        "not learned, and not among the rows that come back: "
        + ", ".join(f"{name!r} ({why})" for name, why in found.items())
        + "\n  → "
        + "; ".join(remedies),
        stacklevel=4,
    )


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
