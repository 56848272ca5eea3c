"""Answering with rows: the media types on offer, the headers, and the bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import anyio
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from synthray.config import BLOCK_ROWS, ServeConfig
from synthray.serving import encoders
from synthray.serving.encoders import Encoder
from synthray.serving.models import Rows, ServedModel
from synthray.serving.negotiation import choose
from synthray.serving.problems import FieldError, Problem, bad_field
from synthray.serving.requests import Slice
from synthray.serving.sheet import ContactSheet
from synthray.serving.streaming import Pieces, StreamedResponse

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
PNG = "image/png"
ZIP = "application/zip"

SUFFIXES = {
    ARROW: "arrows",
    PARQUET: "parquet",
    JSON: "json",
    NDJSON: "ndjson",
    CSV: "csv",
    PNG: "png",
    ZIP: "zip",
}
"""The media types, the default first, with the endings of their files."""


@dataclass(frozen=True)
class Answer:
    """Some rows of a model in one media type.

    Attributes:
        name: the model's name.
        rows: which rows, with what fixed.
    """

    name: str
    model: ServedModel
    rows: Slice
    media_type: str

    @property
    def etag(self) -> str:
        """A strong validator: equal tags, equal bytes."""
        rows = self.rows
        wishes = [sorted(rows.where.items()), rows.balance]
        parts = [self.model.digest, rows.seed, rows.start, rows.count, *wishes, rows.images]
        text = json.dumps([*parts, self.name, self.media_type, encoders.ENCODING])
        return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'

    @property
    def headers(self) -> dict[str, str]:
        rows = self.rows
        stem = f"{self.name}-seed{rows.seed}-rows{rows.start}-{rows.start + rows.count - 1}"
        shown = "inline" if self.media_type in (PNG, JSON) else "attachment"
        return {
            "SynthRay-Digest": self.model.digest,
            "SynthRay-Seed": str(rows.seed),
            "SynthRay-Start": str(rows.start),
            "SynthRay-Rows": str(rows.count),
            "Content-Location": self.location,
            "Content-Disposition": f'{shown}; filename="{stem}.{SUFFIXES[self.media_type]}"',
            "Vary": "Accept",
        }

    @property
    def location(self) -> str:
        """The address under which the same rows can be had again."""
        rows = self.rows
        query: list[tuple[str, str]] = [
            ("start", str(rows.start)),
            ("count", str(rows.count)),
            ("seed", str(rows.seed)),
        ]
        for column, value in rows.where.items():
            if value is None:
                query.append(("missing", column))
                continue
            text = str(value).lower() if isinstance(value, bool) else str(value)
            query.append(("where", f"{column}={text}"))
        if rows.balance:
            query.append(("balance", json.dumps(rows.balance, separators=(",", ":"))))
        if rows.images != "png":
            query.append(("images", rows.images))
        return f"/v1/models/{quote(self.name)}/rows?{urlencode(query)}"

    def encoder(self, schema: Any) -> Encoder:
        rows, columns = self.rows, self.model.image_columns
        heading = {
            "model": self.name,
            "digest": self.model.digest,
            "seed": rows.seed,
            "start": rows.start,
        }
        makers: dict[str, Callable[[], Encoder]] = {
            ARROW: lambda: encoders.ArrowStream(schema),
            PARQUET: lambda: encoders.Parquet(schema),
            JSON: lambda: encoders.JsonDocument(heading),
            NDJSON: lambda: encoders.JsonLines(),
            CSV: lambda: encoders.Csv(),
            ZIP: lambda: encoders.ZipOfImages(columns, rows.start, rows.count),
            PNG: lambda: ContactSheet(columns[0], rows.count),
        }
        return makers[self.media_type]()


def media_types(model: ServedModel) -> list[str]:
    """What the model can be served as: pictures where there are any, CSV where there are none."""
    without = (CSV,) if model.image_columns else (PNG, ZIP)
    return [kind for kind in SUFFIXES if kind not in without]


def row_limits(model: ServedModel, settings: ServeConfig) -> dict[str, int]:
    """The most rows of one request, by media type."""
    special = {PNG: settings.max_sheet_rows, ZIP: settings.max_zip_rows}
    return {
        kind: min(special.get(kind, settings.max_rows), settings.max_rows)
        for kind in media_types(model)
    }


def negotiate(request: Request, model: ServedModel) -> str:
    """Raises Problem: 406, the client accepts nothing that this model is served as."""
    offered = media_types(model)
    accept = ",".join(request.headers.getlist("accept"))
    chosen = choose(accept, offered)
    if chosen is None:
        detail = f"no answer of type {accept!r}; this model is served as: {', '.join(offered)}"
        detail += " (CSV holds no images)" if model.image_columns else " (it has no images)"
        errors = [FieldError(field="header.accept", message=detail)]
        raise Problem(406, "not-acceptable", detail, errors=errors, known=offered)
    return chosen


def check_limit(count: int, field: str, limit: int, media_type: str) -> None:
    """Raises Problem: more rows than one request may have."""
    if count > limit:
        detail = f"{count} rows are more than the {limit} that one request may have"
        if media_type in (PNG, ZIP):
            detail += f" as {media_type}; Arrow and Parquet may have more"
        else:
            detail += " (serve.max_rows); ask for further ranges with 'start'"
        raise bad_field("too-many-rows", field, detail, max_rows=limit)


async def respond(
    answer: Answer,
    headers: Mapping[str, str],
    threads: anyio.CapacityLimiter,
    stall_seconds: float,
) -> Response:
    """Compute the first block, then answer: in one piece when it is short, else as a stream.

    What fails by then is still told as a problem; what fails later breaks the connection.
    """
    rows = answer.rows
    dataset: Rows = await to_thread.run_sync(
        lambda: answer.model.open(rows.seed, rows.where, rows.balance, rows.images),
        limiter=threads,
    )
    blocks = dataset.batches(rows.start, rows.count)
    encoder = answer.encoder(dataset.arrow_schema)
    pieces = Pieces(encoders.encode(encoder, blocks), threads)
    first = await pieces.next() or b""
    if dataset.acceptance is not None:
        headers = {**headers, "SynthRay-Acceptance": f"{dataset.acceptance:.3g}"}
    if answer.media_type != PNG and rows.count > BLOCK_ROWS:
        return StreamedResponse(first, pieces, headers, answer.media_type, stall_seconds)
    body = [first]
    while (piece := await pieces.next()) is not None:
        body.append(piece)
    return Response(b"".join(body), headers=dict(headers), media_type=answer.media_type)
