"""Training on Ray Train: the loop of `synthray.training` in every worker of a group."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback

from synthray import artifact, storage, tracking
from synthray.adapting import adopt_base, with_data
from synthray.artifact import Artifact
from synthray.config import ClusterConfig, Config
from synthray.data.batches import Batches, check_size, in_memory
from synthray.data.codec import Codec, Encoded
from synthray.data.prepare import encode_all, fit_codec, left_out, open_data
from synthray.data.source import Source
from synthray.distributed.asked import Asked
from synthray.distributed.audience import Audience, picture_of
from synthray.distributed.board import new_board
from synthray.distributed.failures import unwrapped
from synthray.distributed.mapping import cluster_map
from synthray.distributed.regrouping import Regrouping
from synthray.distributed.stopping import ending_in_order
from synthray.distributed.streaming import StreamBatches, streamed_dataset
from synthray.errors import ConfigError, NotFoundError, OutputTakenError, SynthRayError
from synthray.models import check_params, coding, rows_together
from synthray.rng import Rows
from synthray.sampling.wishes import check_wishes
from synthray.training.beginning import check_model, new_engine
from synthray.training.checkpoint import CheckpointStore
from synthray.training.device import deterministic
from synthray.training.engine import Engine
from synthray.training.fingerprint import fingerprint
from synthray.training.loop import Hooks, Progress
from synthray.training.loop import train as train_loop
from synthray.training.pictures import picture

Show = Callable[[Any], None]
RESIZE_SECONDS = 60.0
"""How often an elastic training looks whether there is room for other workers."""
START_SECONDS = 5
"""How long an elastic training waits for processors that may be those of a dead node, before it
asks anew how many there are. Ray's 60 s suit a fixed number of workers."""
Opened = tuple[Source, Codec]
"""What `open_data` gives: a source, and its codec before the fit."""


@dataclass(frozen=True)
class Job:
    """What every worker is given."""

    config: Config
    codec: Codec
    fingerprint: str
    data: ray.ObjectRef | None
    """The encoded rows in the object store; None when they stream."""
    board: Any
    left_out: tuple[str, ...]
    """The source's columns that are not learned."""


def train(
    config: Config,
    show: Show = lambda _: None,
    say: Callable[[str], None] = print,
    opened: Opened | None = None,
) -> str:
    """Train the config's model, from its checkpoints if there are any. Ray must be connected.

    Args:
        show: given a `Progress` now and then.
        say: given a line about what was decided.
        opened: the config's data, where it has been opened already.

    Returns:
        the artifact's digest. An artifact of the same settings and data is left as it is.

    Raises:
        SourceError, SchemaError, ConfigError, ConditionError, OutputTakenError, StorageError,
        TrainingError, ClusterError; MissingDependencyError: a package that the config needs.
    """
    tracking.check(config)
    if config.model.name != "adgan":  # whose settings are whole only when the data is known
        check_params(config.model)
    storage.preflight(config.output)
    source, codec, data = prepare(config, say, opened)
    config = with_data(config, codec)
    name = fingerprint(config, codec, data if data is not None else source)
    existing = _existing(config, name)
    if existing is not None:
        say(f"artifact {existing[:12]} is already trained")
        return existing
    step = _store(config, name).newest_step()
    if step is not None:
        say(f"going on from the checkpoint of step {step:,}")
    board = new_board()
    unknown = tuple(left_out(source, codec))
    job = Job(config, codec, name, None if data is None else ray.put(data), board, unknown)
    with tracking.tracking(config, name, say) as trackers:
        listening = Audience(config, show, say, trackers).listening(board)
        with ending_in_order(board, say), listening:
            _fit(job, source)
        error = ray.get(board.error.remote())
        if error is not None:
            raise error
        trained = Artifact.load(config.place("artifact"), trust=[config.model.name])
        trackers.artifact(trained.digest, config.place("artifact"))
    return trained.digest


def prepare(
    config: Config, say: Callable[[str], None], opened: Opened | None = None
) -> tuple[Source, Codec, Encoded | None]:
    """Open the data, fit its codec on the cluster, and encode it; None where it has to stream.

    Raises:
        SourceError, SchemaError, ConfigError: the data, or settings that do not fit it.
        ConditionError: generate.where or generate.balance asks for what cannot be had of it.
    """
    source, codec = opened or open_data(config.data, coding(config.model), cluster_map)
    say(f"{source.rows:,} rows at {source.uri}")
    private = config.train.privacy is not None
    fit_codec(source, codec, cluster_map, counts=not private)
    cleaning, spec = codec.cleaning, codec.spec
    if cleaning is not None and cleaning.unreadable:
        say(f"skipped {cleaning.unreadable} {cleaning.what} of {cleaning.rows}:")
        for name, reason in cleaning.examples:
            say(f"  {name}: {reason}")
    omitted = left_out(source, codec)
    if omitted:
        say(f"left out, for they cannot be learned: {', '.join(omitted)}")
    check_size(spec.rows, config.train.batch_size)
    check_shares(config, stream=False)
    check_model(with_data(config, codec), codec)
    check_wishes(config, codec)
    gigabytes = spec.rows * math.prod(spec.shape) * codec.storage.itemsize / 1e9
    stream = config.data.stream == "always" or (
        config.data.stream == "auto" and gigabytes > config.data.memory_gb
    )
    if stream and private:
        raise ConfigError(
            f"data.stream: {gigabytes:.3g} GB would stream, and rows that stream are no Poisson "
            "samples, which train.privacy is accounted for",
            "set data.stream: never, or raise data.memory_gb",
        )
    if stream:
        check_shares(config, stream=True)
    where = "streams through Ray Data" if stream else "stays in memory"
    say(f"encoded to {spec.shape}, {gigabytes:.3g} GB: {where}")
    return source, codec, None if stream else encode_all(source, codec, cluster_map)


def check_shares(config: Config, stream: bool) -> None:
    """Raises: ConfigError: a batch that cannot be shared among the workers."""
    size, crews = config.train.batch_size, config.cluster.crews
    together = rows_together(config.model)
    if size % together or size < together * crews[-1]:
        raise ConfigError(
            f"train.batch_size: {size} rows make no {crews[-1]} shares of multiples of {together}, "
            f"which {config.model.name} takes its rows in",
            f"make it a multiple of {together}, and at least {together * crews[-1]}",
        )
    odd = [workers for workers in crews if size % (workers * together)]
    if stream and odd:
        raise ConfigError(
            f"train.batch_size: {size} rows do not divide among {odd[0]} workers; rows that stream "
            "are dealt out in equal parts",
            f"use a multiple of {math.lcm(*crews) * together}, or set data.stream: never",
        )


def _existing(config: Config, name: str) -> str | None:
    try:
        found = Artifact.load(config.place("artifact"), trust=[config.model.name])
    except NotFoundError:
        return None
    if found.card.get("fingerprint") != name:
        raise OutputTakenError(
            f"output: {config.place('artifact')} was trained with other settings or data",
            "choose another output, restore the settings, or delete the artifact",
        )
    return found.digest


class _Trainer(TorchTrainer):
    def _register_sigint_handler(self, controller: Any) -> None:
        """Leaves Ctrl-C to whoever called; Ray's handler would end the process with code 1."""

    def _create_default_callbacks(self) -> list[Any]:
        """Without the one that starts an actor for the datasets, where there are none."""
        callbacks = super()._create_default_callbacks()  # type: ignore[misc]
        return [c for c in callbacks if self.datasets or not isinstance(c, DatasetsCallback)]


def _store(config: Config, name: str) -> CheckpointStore:
    return CheckpointStore(config.place("checkpoints"), name, config.train.keep_checkpoints)


def _fit(job: Job, source: Source) -> None:
    config = job.config
    place = config.place("checkpoints", "ray")
    filesystem, path = storage.filesystem(place)
    logging.getLogger("ray.train").setLevel(logging.WARNING)
    # Ray takes any callback, and names the type of one kind.
    callbacks: list[Any] = [Regrouping(job.board, _store(config, job.fingerprint), config.cluster)]
    trainer = _Trainer(
        _worker,
        train_loop_config={"job": job},
        scaling_config=_scaling(config.cluster),
        run_config=ray.train.RunConfig(
            # The name is the run's identity when the driver comes back.
            name=f"train-{job.fingerprint[:16]}",
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=ray.train.FailureConfig(max_failures=config.train.max_failures),
            callbacks=callbacks,
        ),
        torch_config=TorchConfig(backend=None if config.cluster.gpus_per_worker else "gloo"),
        datasets=None if job.data else {"train": streamed_dataset(source, job.codec, config)},
    )
    with unwrapped(ray.train.TrainingFailedError):
        trainer.fit()
    storage.delete_tree(place)


def _scaling(cluster: ClusterConfig) -> ray.train.ScalingConfig:
    resources = {"CPU": cluster.cpus_per_worker, "GPU": cluster.gpus_per_worker}
    settings: dict[str, Any] = {
        "num_workers": cluster.workers,
        "use_gpu": cluster.gpus_per_worker > 0,
        "resources_per_worker": {k: v for k, v in resources.items() if v},
    }
    if len(cluster.crews) > 1:
        os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(START_SECONDS))
        settings["num_workers"] = (cluster.crews[0], cluster.workers)
        settings["elastic_resize_monitor_interval_s"] = RESIZE_SECONDS
    return ray.train.ScalingConfig(**settings)


def _worker(settings: dict[str, Any]) -> None:
    job: Job = settings["job"]
    if ray.get(job.board.error.remote()) is not None or ray.get(job.board.stopping.remote()):
        return  # Trying again is no use; the driver raises what is on the board, or ends.
    try:
        _train_here(job)
    except SynthRayError as error:
        ray.get(job.board.fail.remote(error))
        raise


def _train_here(job: Job) -> None:
    config = job.config
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(config.cluster.cpus_per_worker)
    deterministic()
    device = ray.train.torch.get_device() if config.cluster.gpus_per_worker else "cpu"
    together = rows_together(config.model)
    rows = Rows.share(config.train.batch_size, rank, workers, together)
    engine = new_engine(config, job.codec, rows, device, prepare=adopt_base)
    store = _store(config, job.fingerprint)
    hooks = Hooks(
        on_progress=lambda progress: job.board.post.remote(progress),
        on_eval=lambda progress, engine: _on_eval(job, rank, progress, engine),
        on_event=lambda line: job.board.tell.remote(line),
        ask=Asked(job.board, rank, elastic=len(config.cluster.crews) > 1),
    )
    batches = _batches(job, rank, workers, together)
    if rank == 0:
        job.board.begin.remote()
    outcome = train_loop(engine, job.codec, batches, store, hooks, rank=rank)
    if outcome.interrupted:
        if rank == 0:
            ray.get(job.board.tell.remote(f"left a checkpoint of step {engine.step:,}"))
    elif rank == 0:
        left_out = job.left_out
        artifact.save_trained(config, engine, job.codec, outcome, job.fingerprint, left_out)


def _batches(job: Job, rank: int, workers: int, together: int) -> Batches:
    config = job.config
    if job.data is None:
        return StreamBatches(config, ray.train.get_dataset_shard("train"), workers)
    return in_memory(config, ray.get(job.data), rank, workers, together)


def _on_eval(job: Job, rank: int, progress: Progress, engine: Engine) -> bool:
    if rank == 0:
        sheet = picture(engine, job.codec)
        if sheet is not None:
            storage.write_bytes(picture_of(job.config, progress.step), sheet)
        job.board.evaluated.remote(progress)
    ray.train.report({"step": progress.step, **progress.terms})
    return False
