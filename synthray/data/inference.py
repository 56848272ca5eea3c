"""Schema inference: what each column of a source holds, with the config's corrections."""

from __future__ import annotations

import difflib

import pyarrow as pa

from synthray.data.moments import is_number
from synthray.data.schema import Column, Kind, Schema
from synthray.data.source import Source
from synthray.errors import SchemaError

Corrections = dict[str, dict[str, object]]


def infer_image_schema(source: Source, corrections: Corrections) -> Schema:
    """The schema of an image source: its image column, and every column that can be a condition.

    A column of strings, integers or booleans is categorical. Other columns are left out: an image
    family does not model them.

    Raises:
        SchemaError: no image column, more than one, or a correction that does not fit.
    """
    found = source.image_columns
    if len(found) != 1:
        what = f"{len(found)} image columns" if found else "no image column"
        raise SchemaError(
            f"data.source: {source.uri} has {what} among {source.schema.names}",
            "give one column of struct<bytes, path>, or of uint8 tensors [height, width, channels]",
        )
    given = _corrected_kinds(source.schema, corrections)
    for name, kind in given.items():
        _check_beside_images(source.schema.field(name), kind, found[0])
    columns = []
    for field in source.schema:
        if field.name == found[0]:
            columns.append(Column(name=field.name, kind=Kind.image, arrow_type="image"))
        elif is_discrete(field.type):
            columns.append(
                Column(name=field.name, kind=Kind.categorical, arrow_type=str(field.type))
            )
    return Schema(columns=tuple(columns))


def infer_table_schema(source: Source, corrections: Corrections) -> Schema:
    """The schema of a source of plain columns: each that is a number, or can be a condition.

    Floats are continuous, whole numbers integer, booleans boolean, strings categorical. Columns of
    other types are left out.

    Raises:
        SchemaError: a correction that does not fit.
    """
    given = _corrected_kinds(source.schema, corrections)
    columns = []
    for field in source.schema:
        possible = kinds(field.type)
        kind = given.get(field.name)
        if kind is not None and kind not in possible:
            known = ", ".join(possible)
            raise SchemaError(
                f"data.schema.{field.name}.kind: a column of {field.type} cannot be {kind!r}",
                f"it can be: {known}" if known else "this version knows no kind for it",
            )
        if possible:
            columns.append(
                Column(
                    name=field.name,
                    kind=Kind(kind) if isinstance(kind, str) else possible[0],
                    arrow_type=str(field.type),
                )
            )
    return Schema(columns=tuple(columns))


def kinds(kind: pa.DataType) -> tuple[Kind, ...]:
    """What a column of an Arrow type beside images can be; the first is what it is taken for."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_floating(kind):
        return Kind.continuous, Kind.integer
    if pa.types.is_integer(kind):
        return Kind.integer, Kind.continuous, Kind.categorical
    if pa.types.is_boolean(kind):
        return Kind.boolean, Kind.categorical
    return (Kind.categorical,) if is_discrete(kind) else ()


def is_discrete(kind: pa.DataType) -> bool:
    """Whether a column of an Arrow type can be a condition: text, integers or booleans."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
    )


def _corrected_kinds(schema: pa.Schema, corrections: Corrections) -> dict[str, object]:
    """The kinds that corrections give, by column; whether they fit is for the caller to say."""
    for name, given in corrections.items():
        if name not in schema.names:
            close = difflib.get_close_matches(name, schema.names, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise SchemaError(
                f"data.schema: no column named {name!r}",
                f"{hint}the columns are: {', '.join(schema.names)}",
            )
        for key in given:
            if key != "kind":
                raise SchemaError(
                    f"data.schema.{name}.{key}: unknown key", "the key that can be given is: kind"
                )
    return {name: given.get("kind") for name, given in corrections.items()}


def _check_beside_images(field: pa.Field, kind: object, image: str) -> None:
    """Beside images there is one kind a column can have: corrections may only say so."""
    if field.name == image:
        allowed, remedy = Kind.image, "it is the image column; leave the correction out"
    else:
        allowed = Kind.categorical
        remedy = "only categorical columns can accompany images; leave the others out"
    if kind is not None and kind != allowed:
        raise SchemaError(f"data.schema.{field.name}.kind: {kind!r} beside images", remedy)
    if field.name != image and not is_discrete(field.type):
        raise SchemaError(
            f"data.schema.{field.name}.kind: a column of {field.type} cannot be categorical",
            "give a column of text, integers or booleans",
        )


def not_numbers(source: Source, schema: Schema) -> list[str]:
    """The columns, with their types, that are neither conditions nor modelled as numbers."""
    numeric = {
        column.name
        for column in schema
        if column.condition or column.kind in (Kind.continuous, Kind.integer)
    }
    return [f"{f.name!r} ({f.type})" for f in source.schema if f.name not in numeric]


def proposed_conditions(source: Source) -> list[str]:
    """The columns of a source without images that can only be conditions: text and booleans."""
    return [f.name for f in source.schema if is_discrete(f.type) and not is_number(f.type)]
