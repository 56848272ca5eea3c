"""A dataset written without Ray, for the tests of its files and of its readers."""

from __future__ import annotations

import pyarrow as pa
from tiny import codec, save_artifact

from synthray import storage
from synthray.artifact import Artifact
from synthray.config import GenerateConfig
from synthray.sampling import dataset
from synthray.sampling.card import dataset_card
from synthray.sampling.dataset import Plan
from synthray.sampling.findings import look_at
from synthray.sampling.virtual import VirtualDataset

SETTINGS = GenerateConfig(rows=2500, shard_rows=1024, seed=5)


def small_artifact(place: str) -> Artifact:
    """Untrained, with two conditions, whose names and values are awkward on purpose."""
    digits = pa.array([0, 1, 2] * 4)
    save_artifact(place, codec({"label": digits, "odd|name": pa.array(["x|y", "z"] * 6)}))
    return Artifact.load(place)


def write_dataset(artifact: Artifact, out: str, settings: GenerateConfig) -> Plan:
    """What generation does, step by step."""
    plan = Plan.of(artifact.digest, settings)

    def opened() -> VirtualDataset:
        where, balance = plan.where, plan.balance
        return VirtualDataset(artifact, plan.seed, where, settings.images, balance=balance)

    virtual = opened()
    dataset.claim(out, plan)
    receipts = {i: dataset.write_shard(virtual, plan, out, i) for i in range(plan.shards)}
    card = dataset_card(artifact, plan, settings.license, look_at(opened(), plan, out)).encode()
    storage.write_bytes(storage.join(out, "README.md"), card)
    dataset.commit(out, plan, receipts, virtual.arrow_schema)
    return plan


def files(out: str) -> dict[str, bytes]:
    """Everything under a URI, hidden files as well."""
    listed = storage.list_files(out, hidden=True) if storage.exists(out) else []
    return {f.uri.removeprefix(out): storage.read_bytes(f.uri) for f in listed}
