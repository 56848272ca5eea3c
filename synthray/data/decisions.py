"""What a column of a table is taken for, and why: from its type, its profile and corrections."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from synthray.data import arrow_types
from synthray.data.date_formats import chosen
from synthray.data.ids import PatternIds
from synthray.data.patterns import boxes_of
from synthray.data.profile import ColumnProfile, is_plain
from synthray.data.schema import Column, Kind
from synthray.data.sketches import LIMIT
from synthray.errors import SchemaError

PROSE = 40
"""Letters in the average cell from which text is no name of a category."""
FEW = 20
"""Values that are categories however few the rows."""
MANY = 1000
"""Values from which a category is told to have many."""
MIN_IDS = 10
MIN_RUN = 200
"""Rows of numbers one after the other that are ids, though they begin with others than 0 and 1."""
_ID_NAME = re.compile(
    r"(?:^|[^a-zA-Z])(?i:id|ids|key|uuid|guid|nr|no|code|number)$|[a-z](?:Id|ID|Key)$"
)

Correction = Mapping[str, object]


@dataclass(frozen=True)
class Decision:
    """One column of a source.

    Attributes:
        column: None for one that is left out.
        profile: None where it was not looked at.
        notes: what is to be said about it.
    """

    name: str
    type: pa.DataType
    column: Column | None
    profile: ColumnProfile | None = None
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return self.column.kind.value if self.column else "left out"


def possible_kinds(kind: pa.DataType) -> tuple[Kind, ...]:
    """What a column of an Arrow type in a table can be."""
    kind = arrow_types.value_type(kind)
    if pa.types.is_floating(kind):
        return Kind.continuous, Kind.integer, Kind.id
    if pa.types.is_integer(kind):
        return Kind.integer, Kind.continuous, Kind.categorical, Kind.id
    if pa.types.is_boolean(kind):
        return Kind.boolean, Kind.categorical
    if pa.types.is_decimal(kind):
        return (Kind.continuous,)
    if pa.types.is_temporal(kind):
        return (Kind.datetime,)
    if pa.types.is_null(kind):
        return (Kind.categorical,)
    if arrow_types.is_text(kind):
        return Kind.categorical, Kind.text, Kind.id, Kind.datetime
    return ()


def check_correction(field: pa.Field, given: Correction) -> None:
    """Raises: SchemaError: a kind that the type cannot be, or a key that is not of that kind."""
    at, possible = f"data.schema.{field.name}", possible_kinds(field.type)
    kind = given.get("kind")
    if kind is not None and kind not in possible:
        known = ", ".join(possible)
        raise SchemaError(
            f"{at}.kind: a column of {field.type} cannot be {kind!r}",
            f"it can be: {known}" if known else "leave it out: this version knows no kind for it",
        )
    for key, owner in (("format", Kind.datetime), ("pattern", Kind.id)):
        value = given.get(key)
        if value is None:
            continue
        if kind != owner:
            raise SchemaError(
                f"{at}.{key}: only a column of kind {owner} has one",
                f"give the kind too: {{kind: {owner}, {key}: ...}}",
            )
        if not isinstance(value, str):
            raise SchemaError(f"{at}.{key}: {value!r} is no text", "put it in quotes")
    form, pattern = given.get("format"), given.get("pattern")
    if form is not None:
        if not arrow_types.is_text(arrow_types.value_type(field.type)):
            raise SchemaError(
                f"{at}.format: a column of {field.type} needs none", "leave the format out"
            )
        if "%" not in str(form):
            raise SchemaError(
                f"{at}.format: {form!r} names no part of a date",
                "write it as strptime takes it, such as '%d.%m.%Y'",
            )
    if pattern is not None:
        try:
            boxes_of(str(pattern))
        except SchemaError as error:
            raise SchemaError(f"{at}.pattern: {error.what}", error.remedy) from None


def is_settled(kind: pa.DataType, given: Correction) -> bool:
    """Whether the corrections leave nothing to find out about a column."""
    if arrow_types.is_text(arrow_types.value_type(kind)):
        needed = {Kind.datetime: "format", Kind.id: "pattern"}.get(given.get("kind"))  # type: ignore[call-overload]
        if needed and given.get(needed) is None:
            return False
    return given.get("kind") is not None


def decide(field: pa.Field, profile: ColumnProfile | None, given: Correction) -> Decision:
    """What a column is.

    Args:
        profile: None for a column that is settled, or of a type that has none.

    Raises:
        SchemaError: a correction that the column's values do not fit.
    """
    if not is_plain(field.type):
        told = f"tables do not take {field.type}"
        return Decision(field.name, field.type, None, None, (told,))
    kind = given.get("kind")
    notes: list[str] = []
    extra = {key: given[key] for key in ("format", "pattern") if given.get(key) is not None}
    if profile is not None:
        notes += _always(profile)
        if kind is None:
            kind, found, why = _kind(field, profile)
            extra |= found
            notes += why
        else:
            extra |= _completed(field.name, Kind(str(kind)), profile)
    column = Column.model_validate(
        {"name": field.name, "kind": Kind(str(kind)), "arrow_type": str(field.type), **extra}
    )
    return Decision(field.name, field.type, column, profile, tuple(notes))


def _completed(name: str, kind: Kind, profile: ColumnProfile) -> dict[str, object]:
    """The format or pattern that a corrected kind needs."""
    if kind == Kind.datetime and profile.count:
        form = chosen(profile.text.formats or frozenset())
        if form is None:
            raise SchemaError(
                f"data.schema.{name}.format: no usual format of dates fits all cells, such as "
                f"{', '.join(map(repr, profile.examples))}",
                "give it as strptime takes it, such as '%d.%m.%Y'; or take another kind",
            )
        return {"format": form}
    if kind == Kind.id and profile.text.shapes is not None:
        pattern = profile.text.shapes.pattern(profile.count)
        return {"pattern": pattern} if pattern else {}
    return {}


def _always(profile: ColumnProfile) -> list[str]:
    """What is said of a column of any kind."""
    if not profile.count:
        return ["all cells are missing"]
    notes = ["constant"] if profile.size == 1 else []
    if profile.infinite:
        notes.append(
            f"{profile.infinite:,} infinite numbers; replace them, by nothing if they are unknown"
        )
    return notes


def _kind(field: pa.Field, profile: ColumnProfile) -> tuple[Kind, dict[str, object], list[str]]:
    """The kind, with a format or a pattern, and why."""
    kind = arrow_types.value_type(field.type)
    if arrow_types.is_text(kind) and profile.count:
        return _text_kind(field.name, profile)
    listed = pa.types.is_dictionary(field.type) and pa.types.is_integer(kind)
    if listed and profile.size <= min(MANY, max(FEW, profile.count // 2)):
        return Kind.categorical, {}, ["whole numbers that the source has as categories"]
    whole = pa.types.is_floating(kind) and profile.low is not None and not profile.fractions
    why = ["whole numbers stored as floats"] if whole else []
    if (pa.types.is_integer(kind) or whole) and _are_number_ids(field.name, profile):
        return Kind.id, {}, [*why, "each value once, one after the other or named as an id"]
    if whole:
        return Kind.integer, {}, why
    return possible_kinds(kind)[0], {}, why


def _text_kind(name: str, profile: ColumnProfile) -> tuple[Kind, dict[str, object], list[str]]:
    text, size, count = profile.text, profile.size, profile.count
    formats = text.formats or frozenset()
    form = chosen(formats)
    if form is not None:
        twins = sorted(formats - {form})
        also = [f"could also be {' or '.join(twins)}"] if twins else []
        return Kind.datetime, {"format": form}, [f"dates as text, as {form}", *also]
    named = bool(_ID_NAME.search(name))
    if profile.unique and text.shapes is not None and count >= (2 if named else MIN_IDS):
        pattern = text.shapes.pattern(count)
        # A number of varying length may be a measure.
        if pattern and (named or text.shapes.fixed or not pattern.startswith(("[1-9]", r"\d"))):
            many = PatternIds(pattern).count
            ids = f"{many:,} ids" if many < 10**12 else f"{many:.0e} ids"
            return Kind.id, {"pattern": pattern}, [f"each value once, of one pattern with {ids}"]
    average = text.letters / count
    if size > FEW and average > PROSE:
        return Kind.text, {}, [f"{average:.0f} letters on average; not learned"]
    if size > FEW and (size > LIMIT or size > count / 2):
        remedy = "kind: id with a pattern makes others"
        if size <= LIMIT:
            remedy = f"kind: categorical learns them, {remedy}"
        return Kind.text, {}, [f"{size:,} values in {count:,} rows; not learned: {remedy}"]
    return Kind.categorical, {}, [f"many categories: {size:,}"] if size > MANY else []


def _are_number_ids(name: str, profile: ColumnProfile) -> bool:
    """Whether whole numbers, each once, count the rows or are named as what does."""
    if not profile.unique or profile.count < 2 or profile.infinite:
        return False
    if _ID_NAME.search(name):
        return True
    run = int(profile.high) - int(profile.low) + 1 == profile.count
    least = MIN_IDS if int(profile.low) in (0, 1) else MIN_RUN
    return run and profile.count >= least
