"""The codec of images: pixels to tensors, labels to condition indices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch

from synthray.data import conditions, images
from synthray.data.codec import Cleaning, DataSpec, Encoded, Value
from synthray.data.schema import Kind, Schema
from synthray.errors import ArtifactError, SourceError

EXAMPLES = 10


@dataclass
class ImageStats:
    """Statistics of some rows of an image source."""

    rows: int = 0
    unreadable: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)
    sizes: Counter[int] = field(default_factory=Counter)  # by the shorter side, pixels
    grey: int = 0
    combinations: Counter[tuple[Any, ...]] = field(default_factory=Counter)

    def merge(self, other: ImageStats) -> ImageStats:
        return ImageStats(
            rows=self.rows + other.rows,
            unreadable=self.unreadable + other.unreadable,
            examples=(self.examples + other.examples)[:EXAMPLES],
            sizes=self.sizes + other.sizes,
            grey=self.grey + other.grey,
            combinations=self.combinations + other.combinations,
        )


class ImageCodec:
    """Images of one size, with categorical conditions.

    Args:
        schema: one image column; the condition columns are kept, other columns are not modelled.
        side: pixels; None chooses the most frequent size of the source.
        mode: grey, rgb, or auto: grey when no image carries colour.
        max_unreadable: the largest share of unreadable images that is skipped.
    """

    storage: ClassVar[np.dtype[Any]] = np.dtype(np.uint8)

    def __init__(
        self,
        schema: Schema,
        side: int | None = None,
        mode: Literal["auto", "grey", "rgb"] = "auto",
        max_unreadable: float = 0.01,
    ) -> None:
        keep = tuple(c for c in schema if c.kind == Kind.image or c.condition)
        self.schema = Schema(columns=keep)
        self.image = self.schema.of_kind(Kind.image)[0].name
        self.side = side
        self.mode = mode
        self.max_unreadable = max_unreadable
        self.cleaning: Cleaning | None = None

    @property
    def spec(self) -> DataSpec:
        return self._spec

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self._spec.shape
        return channels, height, width

    # --- fitting -------------------------------------------------------------------------

    def partial(self, rows: pa.Table) -> ImageStats:
        stats = ImageStats(rows=len(rows))
        good = []
        for row, (cell, path) in enumerate(images.cells(rows[self.image])):
            try:
                image = images.open_image(cell)
            except images.UnreadableImageError as error:
                stats.unreadable += 1
                if len(stats.examples) < EXAMPLES:
                    stats.examples.append((path or f"row {row}", str(error)))
                continue
            stats.sizes[min(image.size)] += 1
            stats.grey += images.is_grey(image) if self.mode == "auto" else 0
            good.append(row)
        stats.combinations = conditions.count_labels(self.schema, rows, good)
        return stats

    def fit(self, stats: Sequence[ImageStats]) -> DataSpec:
        """Settle size, colour and the values of the conditions.

        Raises:
            SourceError: no readable image, or more unreadable ones than ``max_unreadable``.
        """
        total = ImageStats()
        for part in stats:
            total = total.merge(part)
        self._check_readable(total)
        if self.side is None:
            # The largest of the most frequent sizes, within what the families can draw.
            common = max(total.sizes, key=lambda size: (total.sizes[size], size))
            self.side = min(max(common, 8), 128)
        good = total.rows - total.unreadable
        if self.mode == "auto":
            self.mode = "grey" if total.grey == good else "rgb"
        self.schema = conditions.with_values(self.schema, total.combinations)
        channels = 1 if self.mode == "grey" else 3
        shape = (channels, self.side, self.side)
        self._spec = conditions.data_spec(self.schema, shape, good, total.combinations)
        self.cleaning = Cleaning(total.rows, total.unreadable, tuple(total.examples))
        return self._spec

    def _check_readable(self, total: ImageStats) -> None:
        share = total.unreadable / max(total.rows, 1)
        names = "".join(f"\n    {name}: {reason}" for name, reason in total.examples)
        if total.unreadable == total.rows:
            raise SourceError(
                f"data.source: none of {total.rows} images can be read{names}",
                "give images that Pillow can open, of at least 2 x 2 pixels",
            )
        if share > self.max_unreadable:
            raise SourceError(
                f"data.source: {total.unreadable} of {total.rows} images ({share:.1%}) cannot be "
                f"read, more than data.max_unreadable = {self.max_unreadable:g}{names}",
                "repair or remove them, or raise data.max_unreadable",
            )

    # --- rows to tensors -----------------------------------------------------------------

    def encode(self, rows: pa.Table) -> Encoded:
        """Unreadable images are skipped: they were counted and allowed by `fit`.

        Raises:
            ConditionError: a label that the fit did not see.
        """
        _, side, _ = self.shape
        mode: images.Mode = "grey" if self.shape[0] == 1 else "rgb"
        pixels, keep = [], []
        for row, (cell, _) in enumerate(images.cells(rows[self.image])):
            try:
                image = images.open_image(cell)
            except images.UnreadableImageError:
                continue
            pixels.append(images.to_pixels(image, side, mode))
            keep.append(row)
        x = np.stack(pixels) if pixels else np.empty((0, *self.spec.shape), self.storage)
        return Encoded(x, conditions.encode_labels(self.schema, rows, keep))

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """uint8 pixels to float32 in [-1, 1]."""
        return x.float().mul_(2 / 255).sub_(1)

    # --- tensors to rows -----------------------------------------------------------------

    def pixels(self, x: torch.Tensor) -> np.ndarray:
        """Model output in [-1, 1], [n, c, h, w], to uint8 [n, h, w, c]."""
        scaled = x.detach().float().cpu().add(1).mul_(127.5).round_().clamp_(0, 255)
        return np.ascontiguousarray(scaled.to(torch.uint8).permute(0, 2, 3, 1).numpy())

    def decode(
        self,
        x: torch.Tensor,
        cond: torch.Tensor,
        images_as: Literal["png", "tensor"] = "png",
        first: int = 0,
        seed: int = 0,
        dictionaries: bool = False,
    ) -> pa.Table:
        """Rows with the source's columns; see `arrow_schema` for the types."""
        pixels = self.pixels(x)
        schema = self.arrow_schema(images_as)
        columns: list[pa.Array] = []
        position = 0
        for column in self.schema:
            kind = schema.field(column.name).type
            if column.kind != Kind.image:
                columns.append(conditions.decode_label(column, cond[:, position]))
                position += 1
            elif images_as == "tensor":
                # Not from_numpy_ndarray: it takes the axes of one channel for permuted.
                size = kind.storage_type.list_size
                cells = pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), size)
                columns.append(pa.ExtensionArray.from_storage(kind, cells))
            else:
                encoded = pa.array([images.png(image) for image in pixels], pa.binary())
                paths = pa.nulls(len(pixels), pa.string())
                columns.append(pa.StructArray.from_arrays([encoded, paths], fields=list(kind)))
        return pa.Table.from_arrays(columns, schema=schema)

    def cell(self, name: str, value: Value) -> tuple[None, pa.Scalar]:
        """Raises: ConditionError: nothing but conditions can be held."""
        raise conditions.not_known(self.schema, name)

    def arrow_schema(self, images_as: Literal["png", "tensor"] = "png") -> pa.Schema:
        """The types of decoded rows: condition columns keep those of the source."""
        channels, height, width = self.shape
        tensor = pa.fixed_shape_tensor(pa.uint8(), (height, width, channels))
        fields = []
        for column in self.schema:
            if column.kind == Kind.image:
                fields.append(
                    pa.field(column.name, images.STRUCT if images_as == "png" else tensor)
                )
            else:
                fields.append(pa.field(column.name, conditions.plain_type(column)))
        return pa.schema(fields)

    def ranges(self) -> dict[str, tuple[pa.Scalar, pa.Scalar]]:
        """None: beside the image there are labels alone."""
        return {}

    # --- the artifact's form -------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "image",
            "schema": self.schema.model_dump(mode="json"),
            "side": self.side,
            "mode": self.mode,
            "spec": self.spec.model_dump(mode="json"),
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> ImageCodec:
        """Raises: ArtifactError: not the form that `to_json` wrote."""
        try:
            codec = cls(Schema.model_validate(tree["schema"]), tree["side"], tree["mode"])
            codec._spec = DataSpec.model_validate(tree["spec"])
        except (KeyError, IndexError, ValueError) as error:
            raise ArtifactError(f"codec.json cannot be read: {error}", "train again") from error
        return codec
