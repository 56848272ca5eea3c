"""The image codec: mergeable fits, types that come back, pixels that survive the round trip."""

from __future__ import annotations

import io
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from tiny import codec, condition, noise, png, struct

from synthray.config import DataConfig
from synthray.data.codec import Encoded
from synthray.data.image_codec import ImageCodec, ImageStats
from synthray.data.images import STRUCT
from synthray.data.prepare import encode_all, fit_codec, open_data
from synthray.data.schema import Column, Kind, Schema
from synthray.errors import ArtifactError, ConditionError, SourceError

BAD = b"no picture"


def new_codec(*conditions: Column, **settings: Any) -> ImageCodec:
    return ImageCodec(
        Schema(columns=(Column(name="image", kind=Kind.image), *conditions)), **settings
    )


def pictures(good: int, bad: int = 0, side: int = 8) -> pa.Table:
    cells = [png(noise(side, side, seed=i)) for i in range(good)] + [BAD] * bad
    return pa.table({"image": struct(list(cells))})


def fitted(rows: pa.Table, *conditions: Column, **settings: Any) -> ImageCodec:
    made = new_codec(*conditions, **settings)
    made.fit([made.partial(rows)])
    return made


# Conditions keep their types.

DISCRETE = {
    **{str(t): (t, [3, 1, 2]) for t in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{str(t): (t, [3, 1, 2]) for t in (pa.uint8(), pa.uint16(), pa.uint32())},
    "negative": (pa.int8(), [-128, 127, 0]),
    "huge": (pa.uint64(), [2**64 - 1, 2**63, 0]),
    "bool": (pa.bool_(), [True, False, True]),
    "string": (pa.string(), ["1", "ä", ""]),
    "large_string": (pa.large_string(), ["1", "ä", ""]),
    "dictionary of string": (pa.dictionary(pa.int8(), pa.string()), ["b", "a", "b"]),
    "dictionary of large_string": (pa.dictionary(pa.int32(), pa.large_string()), ["b", "a", "b"]),
    "dictionary of int64": (pa.dictionary(pa.int16(), pa.int64()), [5, 7, 5]),
    "ordered dictionary": (pa.dictionary(pa.int8(), pa.string(), ordered=True), ["b", "a", "b"]),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_a_condition_of_every_discrete_type_comes_back_as_it_was(name: str) -> None:
    """A dictionary comes back as its plain values."""
    kind, values = DISCRETE[name]
    column = pa.array(values, kind)
    made = codec({"label": column})
    made = ImageCodec.from_json(json.loads(json.dumps(made.to_json())))
    rows = pa.table({"image": struct([png(noise(8, 8))] * 3), "label": column})
    encoded = made.encode(rows)
    back = made.decode(made.scale(torch.from_numpy(encoded.x)), torch.from_numpy(encoded.cond))
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    assert back["label"].type == plain
    assert back["label"].to_pylist() == values
    assert [type(v) for v in back["label"].to_pylist()] == [type(v) for v in values]
    assert back.schema.equals(made.arrow_schema())


def test_several_conditions_keep_their_joint_frequencies() -> None:
    digit = pa.array([0, 0, 0, 1, 1, 2])
    bold = pa.array([True, True, False, False, False, True])
    made = codec({"digit": digit, "bold": bold})
    assert made.spec.conditions == (3, 2)
    assert made.spec.combinations == ((0, 0), (0, 1), (1, 0), (2, 1))
    assert made.spec.counts == (1, 2, 2, 1)
    assert made.schema["bold"].values == (False, True)


def test_columns_that_are_no_conditions_are_not_modelled() -> None:
    made = new_codec(Column(name="note", kind=Kind.categorical), condition("label"))
    assert made.schema.names == ["image", "label"]


def test_a_missing_label_is_refused_by_name() -> None:
    rows = pictures(3).append_column("label", pa.array(["a", None, "b"]))
    with pytest.raises(SourceError, match="column 'label' has missing values"):
        fitted(rows, condition("label"))


def test_a_label_that_training_did_not_see_is_refused() -> None:
    made = fitted(pictures(2).append_column("label", pa.array(["a", "b"])), condition("label"))
    with pytest.raises(ConditionError, match=r"label = 'c' .*\n.*known values: a, b"):
        made.encode(pictures(1).append_column("label", pa.array(["c"])))


# Cleaning.


def test_unreadable_images_within_the_share_are_counted_named_and_skipped() -> None:
    rows = pictures(95, 5)
    made = fitted(rows, max_unreadable=0.05)
    assert made.cleaning is not None
    assert (made.cleaning.rows, made.cleaning.unreadable) == (100, 5)
    assert made.cleaning.examples[0] == ("95.png", "not an image")
    assert made.spec.rows == 95
    assert len(made.encode(rows)) == 95


def test_labels_stay_with_their_images_when_others_are_skipped() -> None:
    cells: list[bytes | None] = [BAD, png(noise(8, 8, seed=1)), None, png(noise(8, 8, seed=2))]
    rows = pa.table({"image": struct(cells), "label": ["w", "x", "y", "z"]})
    made = fitted(rows, condition("label"), max_unreadable=0.5)
    assert made.schema["label"].values == ("x", "z")
    encoded = made.encode(rows)
    assert encoded.cond.tolist() == [[0], [1]]
    assert np.array_equal(encoded.x[1, 0], noise(8, 8, seed=2))


def test_past_the_share_the_run_stops_and_names_the_first_ten() -> None:
    with pytest.raises(SourceError) as caught:
        fitted(pictures(88, 12))
    message = str(caught.value)
    assert (
        "12 of 100 images (12.0%) cannot be read, more than data.max_unreadable = 0.01" in message
    )
    assert "88.png: not an image" in message and "97.png" in message and "98.png" not in message
    assert "raise data.max_unreadable" in message


def test_only_unreadable_files_are_refused_whatever_the_share() -> None:
    with pytest.raises(SourceError, match="none of 3 images can be read"):
        fitted(pictures(0, 3), max_unreadable=1.0)


def test_zero_byte_files_in_a_folder_are_named_by_their_path(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name == "b/1.png" else png(noise(8, 8)))
    source, made = open_data(DataConfig(source=str(tmp_path), max_unreadable=0.3))
    fit_codec(source, made, map)
    assert made.cleaning is not None and made.cleaning.examples == (("b/1.png", "empty"),)
    assert len(encode_all(source, made, map)) == 3


# The fit.


def test_the_fit_is_the_same_for_any_grouping_of_the_chunks() -> None:
    tables = []
    for number in range(4):
        sides = [8 + 2 * number, 12]
        cells: list[bytes | None] = [png(noise(s, s, seed=number)) for s in sides] + [BAD] * 4
        tables.append(
            pa.table(
                {
                    "image": struct(cells, [f"{number}-{i}" for i in range(6)]),
                    "label": [f"{number % 3}"] * 6,
                }
            )
        )

    def made() -> ImageCodec:
        return new_codec(condition("label"), max_unreadable=0.9)

    parts = [made().partial(table) for table in tables]
    results = set()
    for cuts in itertools.product([False, True], repeat=3):
        groups: list[list[ImageStats]] = [[parts[0]]]
        for cut, part in zip(cuts, parts[1:], strict=True):
            groups.append([part]) if cut else groups[-1].append(part)
        merged = []
        for group in groups:
            total = ImageStats()
            for part in group:
                total = total.merge(part)
            merged.append(total)
        one = made()
        one.fit(merged)
        results.add(json.dumps([one.to_json(), list(one.cleaning.examples)]))  # type: ignore[union-attr]
    whole = made()
    whole.fit([whole.partial(pa.concat_tables(tables))])
    results.add(json.dumps([whole.to_json(), list(whole.cleaning.examples)]))  # type: ignore[union-attr]
    assert len(results) == 1
    assert whole.spec.shape == (1, 12, 12)


def test_grey_is_chosen_when_nothing_carries_colour_else_rgb() -> None:
    grey: list[bytes | None] = [png(noise(8, 8)), png(np.repeat(noise(8, 8, 1), 3, axis=2))]
    assert fitted(pa.table({"image": struct(grey)})).spec.shape == (1, 8, 8)
    mixed = pa.table({"image": struct([*grey, png(noise(8, 8, 3))])})
    assert fitted(mixed).spec.shape == (3, 8, 8)
    assert fitted(mixed, mode="grey").spec.shape == (1, 8, 8)
    assert fitted(mixed).encode(mixed).x.shape == (3, 3, 8, 8)


@pytest.mark.parametrize(("side", "expected"), [(4, 8), (28, 28), (300, 128)])
def test_the_side_is_the_commonest_within_what_families_draw(side: int, expected: int) -> None:
    assert fitted(pictures(2, side=side)).spec.shape == (1, expected, expected)


def test_a_given_side_wins() -> None:
    made = fitted(pictures(2), side=16)
    assert made.encode(pictures(2)).x.shape == (2, 1, 16, 16)


# There and back.


@pytest.mark.parametrize("channels", [1, 3])
def test_encode_and_decode_lose_at_most_one_grey_level(channels: int) -> None:
    made = codec({}, channels=channels)
    shape = (8, 8) if channels == 1 else (8, 8, 3)
    cells: list[bytes | None] = [png(noise(*shape, seed=50 + i)) for i in range(5)]
    encoded = made.encode(pa.table({"image": struct(cells)}))
    scaled = made.scale(torch.from_numpy(encoded.x))
    assert float(scaled.min()) >= -1 and float(scaled.max()) <= 1
    back = made.pixels(scaled).transpose(0, 3, 1, 2).astype(int)
    assert np.abs(back - encoded.x).max() <= 1


def test_every_grey_level_survives_exactly() -> None:
    made = codec({}, side=16)
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert np.array_equal(made.pixels(made.scale(levels)).ravel(), np.arange(256))


def test_values_outside_the_range_are_cut_and_not_wrapped() -> None:
    made = codec({})
    x = torch.full((1, 1, 8, 8), 1.5)
    x[0, 0, 0] = -math.inf
    pixels = made.pixels(x)
    assert (pixels[0, 0] == 0).all() and (pixels[0, 1:] == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_png_and_tensor_hold_the_same_pixels(channels: int) -> None:
    made = codec({}, channels=channels)
    x = torch.rand(7, channels, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    cond = torch.empty(7, 0, dtype=torch.int64)
    pngs, tensors = made.decode(x, cond, "png"), made.decode(x, cond, "tensor")
    assert pngs["image"].type == STRUCT
    assert tensors["image"].type == pa.fixed_shape_tensor(pa.uint8(), (8, 8, channels))
    drawn = [
        np.asarray(Image.open(io.BytesIO(cell["bytes"]))).reshape(8, 8, channels)
        for cell in pngs["image"].to_pylist()
    ]
    assert np.array_equal(np.stack(drawn), tensors["image"].combine_chunks().to_numpy_ndarray())
    assert pngs.schema.equals(made.arrow_schema("png"))
    assert tensors.schema.equals(made.arrow_schema("tensor"))


def test_a_chunk_without_a_readable_image_encodes_to_no_rows() -> None:
    made = fitted(pictures(9, 1), max_unreadable=0.1)
    empty = made.encode(pictures(0, 2))
    assert empty.x.shape == (0, 1, 8, 8) and empty.cond.shape == (0, 0)
    assert len(Encoded.concat([empty, made.encode(pictures(3))])) == 3


def test_the_artifacts_form_gives_the_same_codec() -> None:
    made = codec()
    tree = json.loads(json.dumps(made.to_json()))
    again = ImageCodec.from_json(tree)
    assert again.spec == made.spec and again.schema == made.schema
    assert again.arrow_schema() == made.arrow_schema()
    for broken in (
        {},
        tree | {"spec": {}},
        tree | {"schema": {"columns": []}},
        tree | {"schema": 3},
    ):
        with pytest.raises(ArtifactError, match=r"codec\.json cannot be read"):
            ImageCodec.from_json(broken)
