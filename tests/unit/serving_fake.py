"""A served model without a network: blocks of rows that are a pure function of their number."""

from __future__ import annotations

import asyncio
import io
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
from PIL import Image

from synthray.config import BLOCK_ROWS, ServeConfig
from synthray.data.conditions import value_index
from synthray.data.schema import Column, Kind, Schema
from synthray.serving.app import create_app
from synthray.serving.models import ServedModel

SIDE = 8
DIGEST = "ab" * 32
PICTURES = Schema(
    columns=(
        Column(name="image", kind=Kind.image),
        Column(
            name="label",
            kind=Kind.categorical,
            condition=True,
            values=tuple(range(10)),
            arrow_type="int64",
        ),
    )
)
TABLE = Schema(
    columns=(
        Column(name="amount", kind=Kind.continuous, arrow_type="double"),
        Column(
            name="member",
            kind=Kind.boolean,
            condition=True,
            values=(False, True),
            arrow_type="bool",
        ),
        Column(name="city", kind=Kind.categorical, condition=True, values=("Köln", "Rom=1", "1")),
        Column(name="day", kind=Kind.datetime, arrow_type="timestamp[us]"),
    )
)
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass
class Watch:
    """What the tests see of the computing: blocks made, alive at once, and what to do at one."""

    made: list[int] = field(default_factory=list)
    alive: int = 0
    most_alive: int = 0
    closed: int = 0
    fail_at: int | None = None
    hold: threading.Event | None = None
    held: threading.Event = field(default_factory=threading.Event)


class FakeRows:
    """Has the surface of synthray.sampling.virtual.VirtualDataset."""

    def __init__(
        self, schema: Schema, seed: int, where: Any, images: str, watch: Watch | None = None
    ) -> None:
        self.schema, self.seed, self.where, self.images = schema, seed, dict(where), images
        self.watch = watch or Watch()

    @property
    def arrow_schema(self) -> pa.Schema:
        if self.schema is TABLE:
            return pa.schema(
                {
                    "amount": pa.float64(),
                    "member": pa.bool_(),
                    "city": pa.string(),
                    "day": pa.timestamp("us"),
                }
            )
        tensor = pa.fixed_shape_tensor(pa.uint8(), (SIDE, SIDE, 1))
        image = STRUCT if self.images == "png" else tensor
        return pa.schema({"image": image, "label": pa.int64()})

    def block(self, index: int) -> pa.Table:
        random = np.random.default_rng([self.seed, index])
        fixed = self.where
        if self.schema is TABLE:
            amount = random.standard_normal(BLOCK_ROWS)
            amount[3] = np.nan
            member = random.random(BLOCK_ROWS) < 0.5
            city = [TABLE["city"].values[i] for i in random.integers(0, 3, BLOCK_ROWS)]
            columns: list[Any] = [
                amount,
                [fixed.get("member", bool(value)) for value in member],
                [fixed.get("city", value) for value in city],
                random.integers(0, 2**40, BLOCK_ROWS).astype("datetime64[us]"),
            ]
        else:
            pixels = random.integers(0, 256, (BLOCK_ROWS, SIDE, SIDE, 1), dtype=np.uint8)
            label = random.integers(0, 10, BLOCK_ROWS)
            label = np.full(BLOCK_ROWS, fixed["label"]) if "label" in fixed else label
            columns = [self._images(pixels), label]
        arrays = [
            column if isinstance(column, pa.Array) else pa.array(column, type=kind)
            for column, kind in zip(columns, self.arrow_schema.types, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=self.arrow_schema)

    def _images(self, pixels: np.ndarray) -> pa.Array:
        if self.images == "tensor":
            return pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)
        return pa.array([{"bytes": png(image), "path": None} for image in pixels], type=STRUCT)

    def batches(self, start: int, count: int) -> Iterator[pa.Table]:
        watch, stop = self.watch, start + count
        try:
            while start < stop:
                index, offset = divmod(start, BLOCK_ROWS)
                length = min(BLOCK_ROWS - offset, stop - start)
                if watch.fail_at == len(watch.made):
                    raise RuntimeError("secret: the block broke")
                if watch.hold is not None and watch.made:
                    watch.held.set()
                    watch.hold.wait(30)
                watch.made.append(index)
                rows = self.block(index).slice(offset, length)
                watch.alive += 1
                watch.most_alive = max(watch.most_alive, watch.alive)
                weakref.finalize(rows, self._gone)
                yield rows
                del rows
                start += length
        finally:
            watch.closed += 1

    def _gone(self) -> None:
        self.watch.alive -= 1

    @property
    def acceptance(self) -> float | None:
        return None

    def rows(self, start: int, count: int) -> pa.Table:
        return pa.concat_tables(list(self.batches(start, count)))


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels[:, :, 0]).save(out, "PNG")
    return out.getvalue()


def served(schema: Schema = PICTURES, watch: Watch | None = None) -> ServedModel:
    def open_rows(seed: int, where: Any, balance: Any, images: Any) -> FakeRows:
        return FakeRows(schema, seed, where, images, watch)

    return ServedModel(
        digest=DIGEST,
        schema=schema,
        open=open_rows,
        settle=lambda name, value: schema[name].values[value_index(schema[name], value)],
        ways={column.name: "condition" for column in schema.conditions},
        card={"family": "fake", "loss": float("nan")},
        scores={"frechet": 1.5},
    )


def app_of(watch: Watch | None = None, token: str | None = None, **settings: Any) -> Any:
    models = {"digits": served(PICTURES, watch), "people": served(TABLE, watch)}
    return create_app(models, ServeConfig(**settings), token)


def call(app: Any, method: str, url: str, **request: Any) -> httpx.Response:
    """One request through the ASGI interface; an error that leaves the app fails the test."""

    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, url, **request)

    return asyncio.run(once())
