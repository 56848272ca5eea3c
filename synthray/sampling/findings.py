"""What was found of a generated dataset: whether its constraints hold, how many rows were drawn."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.parquet as pq

from synthray import storage
from synthray.config import BLOCK_ROWS
from synthray.data.constrained_codec import ConstrainedCodec
from synthray.data.constraints import Violations
from synthray.sampling.dataset import Plan, shard_uri
from synthray.sampling.virtual import VirtualDataset


@dataclass(frozen=True)
class Findings:
    """What a card tells of the rows.

    Attributes:
        violations: of the constraints, by the rows of the first shard; None without constraints.
        sorting: what rows were sorted out for, in words.
        acceptance: the share of the first rows drawn that had it; None where none were sorted out.
    """

    violations: Violations | None = None
    sorting: str = ""
    acceptance: float | None = None


def look_at(virtual: VirtualDataset, plan: Plan, out: str) -> Findings:
    """Look at the first shard of the dataset at ``out``; memory is bounded by it.

    Args:
        virtual: what the dataset is a part of. Its first block is drawn, if rows are sorted out.
    """
    try_first(virtual, plan)
    codec, violations = virtual.artifact.codec, None
    if isinstance(codec, ConstrainedCodec):
        with storage.open_input(shard_uri(out, 0)) as stream:
            violations = codec.check(pq.read_table(stream))
    return Findings(violations, virtual.sorting, virtual.acceptance)


def try_first(virtual: VirtualDataset, plan: Plan) -> None:
    """Draw the first block, where rows are sorted out and none was drawn yet.

    Raises:
        ConditionError: too few rows have what is asked for.
    """
    if virtual.sorting and virtual.acceptance is None:
        next(virtual.batches(0, min(plan.rows, BLOCK_ROWS)))
