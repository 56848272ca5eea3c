"""Tables in memory: pandas, Polars and Arrow, told apart without importing what is not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import pyarrow as pa

from synthray.data import arrow_types
from synthray.data.chunks import SHOWN, check_names
from synthray.errors import MissingDependencyError, UsageError

Frame = Literal["arrow", "pandas", "polars"]
FAULTS = (pa.ArrowException, NotImplementedError, OverflowError, TypeError, ValueError)
"""What pandas, Polars and Arrow raise at cells that have no Arrow type."""
NEAR = {
    "Series": "give a table: series.to_frame()",
    "LazyFrame": "give a table: frame.collect()",
    "ndarray": "give a table with names: pandas.DataFrame(array, columns=[...])",
    "dict": "give a table: pandas.DataFrame(columns)",
    "list": "give a table: pandas.DataFrame(rows)",
}
"""What makes a table of what is nearly one."""


def frame_of(table: Any) -> Frame:
    """What kind of table it is; anything with Arrow's stream interface counts as Arrow's.

    Raises:
        UsageError: it is no table.
    """
    library, name = type(table).__module__.split(".")[0], type(table).__name__
    if library in ("pandas", "polars") and name == "DataFrame":
        return "pandas" if library == "pandas" else "polars"
    # A series has the interface, and is a column.
    if isinstance(table, pa.Table) or (name != "Series" and hasattr(table, "__arrow_c_stream__")):
        return "arrow"
    raise UsageError(
        f"a table is expected, and {type(table).__module__}.{name} is none",
        NEAR.get(name, "give a URI, a pandas or Polars DataFrame, or a pyarrow Table"),
    )


def to_arrow(table: Any, field: str = "data.source") -> pa.Table:
    """Any table as Arrow's; a pandas index is left out, and sparse columns become dense.

    Args:
        field: what the table was given as, for errors.

    Raises:
        UsageError: no table, pandas' columns of one name, or cells that Arrow has no type for.
    """
    kind = frame_of(table)
    if kind == "pandas":
        check_names([str(label) for label in table.columns], "the table", field)
    try:
        return _converted(table, kind)
    except FAULTS as error:
        raise _fault(table, kind, field, error) from error


def _converted(table: Any, kind: Frame) -> pa.Table:
    if kind == "pandas":
        whole = pa.Table.from_pandas(_dense(table), preserve_index=False)
        return whole.replace_schema_metadata(None)
    if kind == "polars":
        return table.to_arrow()
    return table if isinstance(table, pa.Table) else pa.table(table)


def _dense(table: Any) -> Any:
    import pandas

    sparse = [label for label, d in table.dtypes.items() if isinstance(d, pandas.SparseDtype)]
    return table.astype({label: table[label].dtype.subtype for label in sparse})


def _fault(table: Any, kind: Frame, field: str, error: Exception) -> UsageError:
    """What is wrong with a table that Arrow does not take, by column."""
    found = list(_faulty(table, kind)) if kind != "arrow" else []
    if not found:
        return UsageError(
            f"{field}: the table cannot be read as Arrow's: {error}",
            "give columns of numbers, text, booleans, dates or times",
        )
    told = "; ".join(f"column {name!r} of type {d}: {why}" for name, d, why in found[:SHOWN])
    more = f"; and {len(found) - SHOWN:,} more columns" if len(found) > SHOWN else ""
    remedies = dict.fromkeys(_remedy(dtype) for _, dtype, _ in found)
    what = f"{field}: the table cannot be read as Arrow's: {told}{more}"
    return UsageError(what, "; ".join(remedies))


def _faulty(table: Any, kind: Frame) -> Iterator[tuple[Any, str, str]]:
    """Name, type and fault of the columns that Arrow does not take."""
    for at, (name, dtype) in enumerate(zip(table.columns, table.dtypes, strict=True)):
        column = table.iloc[:, [at]] if kind == "pandas" else table.select(name)
        try:
            _converted(column, kind)
        except FAULTS as error:
            yield name, str(dtype), str(error.args[0] if error.args else error)


def _remedy(dtype: str) -> str:
    if dtype.startswith("complex"):
        return "give the real and the imaginary part as two columns"
    if dtype in ("Int128", "UInt128"):
        return "cast whole numbers to Int64 if they fit, else to Float64 or String"
    if dtype == "object":
        return "give all cells of a column one type: text as text, numbers as numbers"
    return "convert to numbers, text, booleans, dates or times, or leave the column out"


def template_of(table: Any) -> Any:
    """A table without rows that holds names and types of a pandas or Polars one; None of Arrow's,
    whose types need no help.
    """
    kind = frame_of(table)
    if kind == "pandas":
        return table.iloc[:0].copy()  # a slice would keep all rows
    return table.clear() if kind == "polars" else None


def from_arrow(table: pa.Table, frame: Frame, template: Any = None) -> Any:
    """The table as another kind.

    Args:
        template: of `template_of`; the table gets its names and types where it is of the kind.

    Raises:
        UsageError: there is no such kind.
        MissingDependencyError: its library is not installed.
    """
    if frame not in get_args(Frame):
        raise UsageError(f"frame: {frame!r}", f"give one of {', '.join(get_args(Frame))}")
    if frame == "arrow":
        return table
    like = template if template is not None and frame_of(template) == frame else None
    try:
        if frame == "pandas":
            return _to_pandas(table) if like is None else _as_pandas(table, like)
        import polars
    except ImportError as error:
        raise MissingDependencyError(
            f"frame: {frame} is not installed", f"pip install {frame}, or ask for frame='arrow'"
        ) from error
    made: Any = polars.from_arrow(table)
    return made if like is None else made.cast(_polars_types(table, like))


def _to_pandas(table: pa.Table) -> Any:
    """Whole numbers and booleans with missing cells in pandas' own types for them: float64 would
    round large ones, and objects are no booleans.
    """
    import pandas

    nullable = {pa.bool_(): pandas.BooleanDtype()}
    for bits in (8, 16, 32, 64):
        nullable[getattr(pa, f"int{bits}")()] = getattr(pandas, f"Int{bits}Dtype")()
        nullable[getattr(pa, f"uint{bits}")()] = getattr(pandas, f"UInt{bits}Dtype")()
    frame = table.to_pandas()
    for field in table.schema:
        if field.type in nullable and table[field.name].null_count:
            frame[field.name] = table[field.name].to_pandas(types_mapper=nullable.get)
    return frame


def _as_pandas(table: pa.Table, like: Any) -> Any:
    """The table with the labels and types of a frame."""
    frame = _to_pandas(table)
    names = to_arrow(like).column_names
    places = [names.index(name) for name in table.column_names]
    for at, dtype in enumerate(like.dtypes.iloc[places]):
        # Arrow's dictionaries are categories, without those that data.rare hides.
        if frame.dtypes.iloc[at] != dtype and dtype.name != "category":
            frame.isetitem(at, _cells(frame.iloc[:, at], table.column(at), dtype))
    frame.columns = like.columns.take(places)
    return frame


def _polars_types(table: pa.Table, like: Any) -> dict[str, Any]:
    """The types of a frame, by column; an Enum has the values that the table lists: ``data.rare``
    hides others.
    """
    types = {name: like.schema[name] for name in table.column_names}
    for name, kind in types.items():
        if type(kind).__name__ == "Enum":
            listed = [chunk.dictionary for chunk in table[name].unify_dictionaries().chunks][:1]
            types[name] = type(kind)(listed[0].to_pylist() if listed else [])
    return types


def _cells(found: Any, column: pa.ChunkedArray, dtype: Any) -> Any:
    """A column's cells in pandas' type, where it is one of more than numpy's."""
    if hasattr(dtype, "__from_arrow__"):
        return dtype.__from_arrow__(column)
    text = dtype.kind == "O" and arrow_types.is_text(column.type)
    return type(found)(column.to_numpy(), dtype=dtype) if text else found
