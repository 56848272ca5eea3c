"""A generated dataset on storage: the plan, its shards with their receipts, the manifest.

OUT/_synthray/plan.json              created once: what this dataset is going to be
OUT/data/part-000017.parquet         identical bytes, whoever writes it
OUT/_synthray/receipts/000017.json   rows, bytes, SHA-256; written after its file
OUT/README.md                        the dataset card
OUT/_synthray/manifest.json          created once, last: the dataset is complete
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from synthray import rng, storage
from synthray.config import BLOCK_ROWS, GenerateConfig
from synthray.data import arrow_types, images
from synthray.errors import AlreadyExistsError, NotFoundError, OutputTakenError
from synthray.sampling.virtual import VirtualDataset

FORMAT = 1
GROUP_ROWS, GROUP_BYTES = 64 * BLOCK_ROWS, 2**25
"""Of a Parquet row group, about: what readers like to have at once, and what fits into memory."""
REPEATED = 16
"""Rows for each distinct number, from which on a dictionary makes a file smaller."""
NAMES = {"halffloat": "float16", "float": "float32", "double": "float64", "date32[day]": "date32"}
"""Arrow's names of types that Hugging Face calls otherwise."""


class Receipt(BaseModel):
    """That a shard has been written, and what it holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shard: int
    rows: int
    bytes: int
    sha256: str


class Plan(BaseModel):
    """Everything that the bytes of a dataset depend on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    digest: str
    seed: int
    rows: int
    shard_rows: int
    where: dict[str, bool | int | float | str | None] = {}
    balance: dict[str, dict[str, float] | float] = {}
    images: str = "png"
    stream: str = rng.STREAM
    pyarrow: str = pa.__version__

    @classmethod
    def of(cls, digest: str, config: GenerateConfig) -> Plan:
        return cls(
            digest=digest,
            seed=config.seed,
            rows=config.rows,
            shard_rows=config.shard_rows,
            where=config.where,
            balance=config.balance,
            images=config.images,
        )

    @property
    def shards(self) -> int:
        return -(-self.rows // self.shard_rows)

    def range(self, shard: int) -> tuple[int, int]:
        """First row and number of rows of a shard."""
        start = shard * self.shard_rows
        return start, min(self.shard_rows, self.rows - start)


def claim(out: str, plan: Plan) -> None:
    """Make ``out`` the place of this plan, or find that it already is.

    Raises:
        OutputTakenError: ``out`` belongs to another plan, or holds data of somebody else's.
    """
    place = storage.join(out, "_synthray", "plan.json")
    data = (json.dumps(plan.model_dump(mode="json"), indent=2, sort_keys=True) + "\n").encode()
    if not storage.exists(place):
        _refuse_foreign(out)
        try:
            storage.create_once(place, data)
            return
        except AlreadyExistsError:
            pass
    try:
        theirs = Plan.model_validate_json(storage.read_bytes(place))
    except ValidationError as error:
        raise OutputTakenError(
            f"output: {place} is not a plan that this version can read", "choose another output"
        ) from error
    if theirs != plan:
        a, b = theirs.model_dump(), plan.model_dump()
        differing = ", ".join(f"{k} = {a[k]!r} there, {b[k]!r} here" for k in a if a[k] != b[k])
        raise OutputTakenError(
            f"output: {out} already belongs to another dataset: {differing}",
            "choose another output, or repeat the command with the settings there",
        )


def _refuse_foreign(out: str) -> None:
    try:
        found = storage.list_files(storage.join(out, "data"))
    except NotFoundError:
        return
    if found:
        raise OutputTakenError(
            f"output: {out} holds data that no plan describes, such as {found[0].uri}",
            "choose an empty output",
        )


def shard_uri(out: str, shard: int) -> str:
    return storage.join(out, "data", f"part-{shard:06d}.parquet")


def receipt_uri(out: str, shard: int) -> str:
    return storage.join(out, "_synthray", "receipts", f"{shard:06d}.json")


def verified(out: str, plan: Plan, shard: int) -> Receipt | None:
    """The receipt of a shard whose file is there and holds the very bytes, or None."""
    try:
        receipt = Receipt.model_validate_json(storage.read_bytes(receipt_uri(out, shard)))
        data = storage.read_bytes(shard_uri(out, shard))
    except (NotFoundError, ValidationError):
        return None
    actual = Receipt(
        shard=shard,
        rows=plan.range(shard)[1],
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    return receipt if receipt == actual else None


def write_shard(virtual: VirtualDataset, plan: Plan, out: str, shard: int) -> Receipt:
    """Compute a shard, write it whole, then its receipt. Doing it twice does no harm."""
    start, rows = plan.range(shard)
    data = shard_bytes(virtual, start, rows)
    storage.write_bytes(shard_uri(out, shard), data)
    digest = hashlib.sha256(data).hexdigest()
    receipt = Receipt(shard=shard, rows=rows, bytes=len(data), sha256=digest)
    storage.write_json(receipt_uri(out, shard), receipt.model_dump())
    return receipt


def shard_bytes(virtual: VirtualDataset, start: int, rows: int) -> memoryview:
    """Rows start … start + rows as a Parquet file; memory is bounded by the shard."""
    sink = pa.BufferOutputStream()
    write_parquet(sink, virtual.arrow_schema, virtual.batches(start, rows, dictionaries=True))
    return memoryview(sink.getvalue())


def write_parquet(sink: Any, schema: pa.Schema, batches: Iterator[pa.Table]) -> None:
    """Write tables as row groups of `GROUP_ROWS`, fewer where they are large.

    Text is stored by dictionaries, and so are numbers of which there are few; other whole numbers
    by their differences, in no more bits than those have.

    Args:
        schema: as which the rows are read again. Text in ``batches`` may come as dictionaries: such
            a column is the same in the file, and written faster.
    """
    text = [f.name for f in schema if arrow_types.is_text(arrow_types.value_type(f.type))]
    # The least and the greatest text of so many rows tell readers nothing, and take a fifth of the
    # time.
    plain = [f.name for f in schema if not images.is_image_type(f.type) and f.name not in text]
    first = next(batches, schema.empty_table())
    # What pyarrow would store by itself, of the schema that it is given.
    told = _huggingface(schema)
    stored = base64.b64encode(schema.with_metadata(told).serialize().to_pybytes()).decode()
    repeated = [name for name in first.column_names if _repeats(first[name])]
    whole = [f.name for f in first.schema if _is_whole(f.type) and f.name not in repeated]
    with pq.ParquetWriter(
        sink,
        first.schema,
        compression="zstd",
        use_dictionary=text + repeated,
        column_encoding=dict.fromkeys(whole, "DELTA_BINARY_PACKED"),
        write_statistics=plain,
        store_schema=False,
    ) as writer:
        writer.add_key_value_metadata(told | {"ARROW:schema": stored})
        group: list[pa.Table] = []
        rows, size = 0, 0
        for batch in chain([first], batches):
            group.append(batch)
            rows, size = rows + len(batch), size + batch.nbytes
            if rows >= GROUP_ROWS or size >= GROUP_BYTES:
                writer.write_table(pa.concat_tables(group), row_group_size=2**30)
                group, rows, size = [], 0, 0
        if rows:
            writer.write_table(pa.concat_tables(group), row_group_size=2**30)


def _repeats(column: pa.ChunkedArray) -> bool:
    """Whether these are numbers, each of which occurs often."""
    if not arrow_types.is_number(column.type) or not len(column):
        return False
    return bool(REPEATED * pc.count_distinct(column).as_py() <= len(column))


def _is_whole(kind: pa.DataType) -> bool:
    """Whether Parquet stores whole numbers of 32 or 64 bits."""
    return bool(pa.types.is_integer(kind) or pa.types.is_temporal(kind))


def as_stored(rows: pa.Table) -> pa.Table:
    """Rows in the types that Parquet stores, and without dictionaries: to be compared."""
    columns = []
    for column in rows.columns:
        kind = _stored(column.type)
        columns.append(column if column.type == kind else column.cast(kind))
    return pa.table(columns, names=rows.column_names)


def _stored(kind: pa.DataType) -> pa.DataType:
    kind = arrow_types.value_type(kind)
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        return pa.timestamp("ms", kind.tz)
    if pa.types.is_time32(kind):
        return pa.time32("ms")
    return pa.date32() if pa.types.is_date64(kind) else kind


def _huggingface(schema: pa.Schema) -> dict[str, str]:
    """What makes Hugging Face `datasets` decode and show the columns."""
    features: dict[str, Any] = {}
    for field in schema:
        if pa.types.is_struct(field.type):
            features[field.name] = {"_type": "Image"}
        elif not isinstance(field.type, pa.FixedShapeTensorType):
            features[field.name] = {"dtype": _dtype(field.type), "_type": "Value"}
        else:
            return {}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def _dtype(kind: pa.DataType) -> str:
    """A type in Hugging Face's words."""
    name = str(_stored(kind))
    return NAMES.get(name, name)


def commit(out: str, plan: Plan, receipts: Mapping[int, Receipt], schema: pa.Schema) -> None:
    """Create the manifest. Whoever comes second finds the same one and is content.

    Raises:
        OutputTakenError: there is a manifest of other bytes.
    """
    shards = [
        {"file": f"data/part-{index:06d}.parquet"} | receipts[index].model_dump()
        for index in range(plan.shards)
    ]
    manifest = {
        "plan": plan.model_dump(mode="json"),
        "rows": sum(receipt.rows for receipt in receipts.values()),
        "columns": {field.name: str(field.type) for field in schema},
        "shards": shards,
    }
    data = (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()
    place = manifest_uri(out)
    try:
        storage.create_once(place, data)
    except AlreadyExistsError as error:
        if storage.read_bytes(place) != data:
            raise OutputTakenError(
                f"output: {place} describes another dataset", "choose another output"
            ) from error


def manifest_uri(out: str) -> str:
    return storage.join(out, "_synthray", "manifest.json")


def read_manifest(out: str) -> dict[str, Any] | None:
    """The manifest of a complete dataset, or None."""
    try:
        tree = storage.read_json(manifest_uri(out))
    except NotFoundError:
        return None
    return dict(tree)
