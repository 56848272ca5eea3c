"""Generation on Ray Data: a pool of model replicas, each row of the input one shard."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
import torch
from ray.data import ActorPoolStrategy

from synthray import storage
from synthray.artifact import Artifact
from synthray.config import Config, GenerateConfig
from synthray.data.schema import Kind
from synthray.distributed.board import FirstError, beside_driver
from synthray.distributed.failures import unwrapped
from synthray.distributed.metrics import GenerateMeters
from synthray.distributed.patience import patiently
from synthray.errors import ArtifactError, ClusterError, SynthRayError
from synthray.sampling import dataset
from synthray.sampling.card import dataset_card
from synthray.sampling.dataset import Plan, Receipt
from synthray.sampling.findings import look_at, try_first
from synthray.sampling.virtual import VirtualDataset

MAX_ATTEMPTS = 10
"""Lost workers after which a shard is taken for the cause: one that exhausts the memory, say."""


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Ledger(FirstError):
    """What the driver must know of the workers, and would not learn from Ray.

    Ray Data begins a shard anew, without end, when its worker dies; and it gives back the text of
    an error, not the error.
    """

    def __init__(self, limit: int, out: str) -> None:
        super().__init__()
        self._limit = limit
        self._meters = GenerateMeters(out)
        self._begun: Counter[int] = Counter()

    def begin(self, shard: int) -> bool:
        """Count, and say whether to go on."""
        self._begun[shard] += 1
        if self._begun[shard] > 1:
            self._meters.retried()
        return self._begun[shard] <= self._limit


class ShardWriter:
    """One replica of the model: computes shards and writes them to storage by itself, so that no
    rows pass through the object store.
    """

    def __init__(
        self, uri: str, plan: Plan, out: str, device: str, trust: tuple[str, ...], ledger: Any
    ) -> None:
        torch.set_num_threads(1)
        self.plan, self.out, self.ledger = plan, out, ledger
        self.meters = GenerateMeters(out)
        with self._told("a replica of the model could not be loaded"):
            artifact = patiently(uri, lambda: _checked(uri, plan.digest, trust))
            self.virtual = VirtualDataset(
                artifact,
                plan.seed,
                plan.where,
                plan.images,  # type: ignore[arg-type]
                device,
                plan.balance,
            )

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        receipts = [self._one(int(shard)) for shard in batch["shard"]]
        return {
            "shard": [receipt.shard for receipt in receipts],
            "receipt": [receipt.model_dump_json() for receipt in receipts],
        }

    def _one(self, shard: int) -> Receipt:
        with self._told(f"shard {shard} could not be generated"):
            if not ray.get(self.ledger.begin.remote(shard)):
                raise ClusterError(
                    f"shard {shard}: every worker that began it died",
                    "give workers more memory, or make shards smaller (generate.shard_rows); the "
                    "same command goes on from what is there",
                )
            began = time.monotonic()
            receipt = patiently(self.out, lambda: self._verified_or_written(shard))
            self.meters.took(time.monotonic() - began)
            return receipt

    def _verified_or_written(self, shard: int) -> Receipt:
        existing = dataset.verified(self.out, self.plan, shard)
        return existing or dataset.write_shard(self.virtual, self.plan, self.out, shard)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Tell the driver of an error before Ray does."""
        try:
            yield
        except Exception as error:
            own = (
                error
                if isinstance(error, SynthRayError)
                else ClusterError(
                    f"{what}: {type(error).__name__}: {error}",
                    "see the traceback with --debug; the same command goes on from what is there",
                )
            )
            ray.get(self.ledger.fail.remote(own))
            raise


@contextmanager
def _errors_of(ledger: Any) -> Iterator[None]:
    """Raise what the workers told, rather than what Ray makes of it."""
    try:
        with unwrapped():
            yield
    except ClusterError as error:
        with unwrapped():
            told = ray.get(ledger.error.remote())
        if told is None:
            raise
        raise told from error


def _checked(uri: str, digest: str, trust: tuple[str, ...]) -> Artifact:
    artifact = Artifact.load(uri, trust)
    if artifact.digest != digest:
        raise ArtifactError(
            f"{uri} is artifact {artifact.digest[:16]}…, the plan says {digest[:16]}…",
            "do not replace an artifact while a dataset is generated from it",
        )
    return artifact


def generate(
    artifact_uri: str,
    settings: GenerateConfig,
    out: str,
    config: Config | None = None,
    show: Callable[[int, int], None] = lambda *_: None,
    say: Callable[[str], None] = print,
) -> Plan:
    """Write a dataset of ``settings.rows`` rows to ``out``, or what is missing of it.

    Ray must be connected.

    Args:
        config: whose ``cluster`` says how many replicas, on what; its family is trusted.
        show: given the rows done and the rows in all.

    Raises:
        OutputTakenError: ``out`` belongs to another dataset; nothing was touched.
        NotFoundError, ArtifactError, ConditionError, StorageError, ClusterError.
    """
    trust = (config.model.name,) if config else ()
    artifact = Artifact.load(artifact_uri, trust)
    plan = Plan.of(artifact.digest, settings)
    virtual = VirtualDataset(artifact, plan.seed, plan.where, settings.images, balance=plan.balance)
    _try(virtual, plan, say)
    schema = virtual.arrow_schema
    storage.preflight(out)
    dataset.claim(out, plan)
    if dataset.read_manifest(out) is not None:
        say(f"{out} is already complete: {plan.rows:,} rows")
        return plan
    receipts = _write_missing(artifact_uri, plan, out, config, trust, show)
    findings = patiently(out, lambda: look_at(virtual, plan, out))
    card = dataset_card(artifact, plan, settings.license, findings).encode()
    patiently(out, lambda: storage.write_bytes(storage.join(out, "README.md"), card))
    patiently(out, lambda: storage.sweep(out))
    patiently(out, lambda: dataset.commit(out, plan, receipts, schema))
    return plan


def _try(virtual: VirtualDataset, plan: Plan, say: Callable[[str], None]) -> None:
    """Tell at once what cannot be met.

    Raises:
        ConditionError: too few rows have what they are sorted out for.
        SchemaError: a column's pattern has too few ids.
    """
    if any(column.kind == Kind.id for column in virtual.artifact.schema):
        virtual.rows(plan.rows - 1, 1)  # has the last of the ids
    try_first(virtual, plan)
    if virtual.acceptance is not None:
        say(f"{virtual.sorting}: {virtual.acceptance:.1%} of the rows drawn have it")


def _write_missing(
    artifact_uri: str,
    plan: Plan,
    out: str,
    config: Config | None,
    trust: tuple[str, ...],
    show: Callable[[int, int], None],
) -> dict[int, Receipt]:
    workers = config.cluster.replicas if config else 1
    gpus = config.cluster.gpus_per_worker if config else 0
    _quiet()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # A bug in a shard fails the run; only lost processes are tried again.
    context.max_errored_blocks = 0
    # Every shard is a block of its own, already in the object store: no read task needs a CPU.
    shards = [pa.table({"shard": pa.array([i], pa.int64())}) for i in range(plan.shards)]
    device = "cuda" if gpus else "cpu"
    size = min(workers, plan.shards)
    # Beside the driver: a lost node must not take along what every worker waits for.
    ledger = beside_driver(Ledger).remote(MAX_ATTEMPTS, out)
    written = ray.data.from_arrow(shards).map_batches(
        ShardWriter,
        fn_constructor_args=(artifact_uri, plan, out, device, trust, ledger),
        batch_size=1,
        num_cpus=1,
        num_gpus=gpus or None,
        # All are asked for from the beginning to the end, so that an autoscaler adds their nodes at
        # once and replaces lost ones; a cluster with room for fewer replicas will do. One shard
        # each: two on the first replica that comes would leave the last one without.
        compute=ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
    )
    receipts: dict[int, Receipt] = {}
    done = 0
    with _errors_of(ledger), GenerateMeters(out) as meters:
        meters.wanted(plan.rows)
        for batch in written.iter_batches(batch_size=None, prefetch_batches=0):
            for text in batch["receipt"]:
                receipt = Receipt.model_validate_json(str(text))
                receipts[receipt.shard] = receipt
                meters.finished(receipt)
                done += receipt.rows
            show(done, plan.rows)
    if len(receipts) != plan.shards:
        raise ClusterError(
            f"{plan.shards - len(receipts)} of {plan.shards} shards were not written",
            "run the same command again; it writes what is missing",
        )
    return receipts


def _quiet() -> None:
    """Ray Data tells its doings to its log file, and only errors to people."""
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.ERROR)
