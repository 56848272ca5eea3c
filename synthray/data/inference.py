"""Schema inference: what each column of a source holds, with the config's corrections."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from synthray.data import arrow_types
from synthray.data.chunks import Mapper, Source
from synthray.data.decisions import Decision, check_correction, decide, is_settled
from synthray.data.profile import is_plain, profile_table
from synthray.data.schema import Column, Kind, Schema, no_column
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


def infer_vector_schema(source: Source, corrections: Corrections) -> Schema:
    """The schema of a source for families that take numbers, from the types of its columns alone.

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


def infer_table_schema(source: Source, corrections: Corrections, mapper: Mapper = map) -> Schema:
    """The schema of a table for families that take columns of every kind.

    All rows are read once, but for columns whose corrections leave nothing to find out. Columns
    that hold lists, objects or bytes are left out.

    Args:
        mapper: reads the chunks.

    Raises:
        SchemaError: a correction that does not fit, or no column that can be learned.
    """
    return schema_of(source, decide_table(source, corrections, mapper))


def schema_of(source: Source, decisions: Sequence[Decision]) -> Schema:
    """The columns that are not left out.

    Raises:
        SchemaError: none that can be learned.
    """
    columns = tuple(d.column for d in decisions if d.column is not None)
    if all(column.kind in (Kind.text, Kind.id) for column in columns):
        told = "; ".join(f"{d.name}: {', '.join([d.kind, *d.notes])}" for d in decisions)
        raise SchemaError(
            f"data.source: {source.uri} has no column that can be learned: {told}",
            "give a table with numbers, categories or dates, or correct kinds under data.schema",
        )
    return Schema(columns=columns)


def decide_table(
    source: Source, corrections: Corrections | None = None, mapper: Mapper = map
) -> list[Decision]:
    """What each column of a table is taken for and why; as `infer_table_schema`."""
    given = corrections or {}
    _check_corrections(source.schema, given, ("kind", "format", "pattern"))
    for name, correction in given.items():
        check_correction(source.schema.field(name), correction)
    unsettled = [
        field.name
        for field in source.schema
        if is_plain(field.type) and not is_settled(field.type, given.get(field.name, {}))
    ]
    profile = profile_table(source, unsettled, mapper)
    return [
        decide(field, profile.get(field.name), given.get(field.name, {})) for field in source.schema
    ]


def kinds(kind: pa.DataType) -> tuple[Kind, ...]:
    """What a column of an Arrow type beside images can be; the first is what it is taken for."""
    kind = arrow_types.value_type(kind)
    if pa.types.is_floating(kind):
        return Kind.continuous, Kind.integer
    if pa.types.is_integer(kind):
        return Kind.integer, Kind.continuous, Kind.categorical
    if pa.types.is_boolean(kind):
        return Kind.boolean, Kind.categorical
    return (Kind.categorical,) if is_discrete(kind) else ()


def is_discrete(kind: pa.DataType) -> bool:
    """Whether a column of an Arrow type can be a condition: text, integers or booleans."""
    kind = arrow_types.value_type(kind)
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
    )


def _corrected_kinds(schema: pa.Schema, corrections: Corrections) -> dict[str, object]:
    """The kinds that corrections give, by column; whether they fit is for the caller to say."""
    _check_corrections(schema, corrections, ("kind",))
    return {name: given.get("kind") for name, given in corrections.items()}


def _check_corrections(schema: pa.Schema, corrections: Corrections, keys: tuple[str, ...]) -> None:
    """Raises: SchemaError: a column that is none, or a key that has no meaning here."""
    for name, given in corrections.items():
        if name not in schema.names:
            raise no_column("data.schema", name, schema.names)
        for key in given:
            if key not in keys:
                known = "the key that can be given is" if len(keys) == 1 else "the keys are"
                raise SchemaError(
                    f"data.schema.{name}.{key}: unknown key", f"{known}: {', '.join(keys)}"
                )


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
