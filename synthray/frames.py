"""Tables in memory: pandas, Polars and Arrow, told apart without importing what is not there."""

from __future__ import annotations

from typing import Any, Literal, get_args

import pyarrow as pa

from synthray.errors import MissingDependencyError, UsageError

Frame = Literal["arrow", "pandas", "polars"]


def frame_of(table: Any) -> Frame:
    """What kind of table it is; anything with Arrow's stream interface counts as Arrow's.

    Raises:
        UsageError: it is no table.
    """
    library = type(table).__module__.split(".")[0]
    if library in ("pandas", "polars") and type(table).__name__ == "DataFrame":
        return "pandas" if library == "pandas" else "polars"
    if isinstance(table, pa.Table) or hasattr(table, "__arrow_c_stream__"):
        return "arrow"
    raise UsageError(
        f"a table is expected, and {type(table).__module__}.{type(table).__name__} is none",
        "give a URI, a pandas or Polars DataFrame, or a pyarrow Table",
    )


def to_arrow(table: Any) -> pa.Table:
    """Any table as Arrow's; a pandas index is left out.

    Raises:
        UsageError: no table, or cells that Arrow has no type for.
    """
    kind = frame_of(table)
    try:
        if kind == "pandas":
            return pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
        if kind == "polars":
            return table.to_arrow()
        return table if isinstance(table, pa.Table) else pa.table(table)
    except (pa.ArrowException, ValueError) as error:
        raise UsageError(
            f"the table cannot be read as Arrow's: {error}",
            "give every column one type: text as text, numbers as numbers",
        ) from error


def from_arrow(table: pa.Table, frame: Frame) -> Any:
    """An Arrow table as another kind.

    Raises:
        UsageError: there is no such kind.
        MissingDependencyError: its library is not installed.
    """
    if frame not in get_args(Frame):
        raise UsageError(f"frame: {frame!r}", f"give one of {', '.join(get_args(Frame))}")
    if frame == "arrow":
        return table
    try:
        if frame == "pandas":
            return _to_pandas(table)
        import polars
    except ImportError as error:
        raise MissingDependencyError(
            f"frame: {frame} is not installed", f"pip install {frame}"
        ) from error
    return polars.from_arrow(table)


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
