"""What a table codec learns: the codes of each column, from what was counted of the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from synthray.data import conditions
from synthray.data.cells.fitting import Learned, fit_column
from synthray.data.cells.ids import IdForm, IdStats, fit_ids
from synthray.data.cells.statistics import NumberStats
from synthray.data.codec import DataSpec
from synthray.data.dictionaries import with_dictionaries
from synthray.data.layout import Layout, Slot
from synthray.data.schema import Column, Schema
from synthray.data.table_stats import TableStats
from synthray.errors import SourceError

Form = Annotated[Learned | IdForm, Field(discriminator="kind")]


@dataclass(frozen=True)
class Fitted:
    """What was settled: the schema with its values, the form of each column that is no condition,
    and the layout of encoded rows.
    """

    schema: Schema
    forms: tuple[Form, ...]
    spec: DataSpec


def fit_table(
    schema: Schema,
    total: TableStats,
    numbers: Literal["bins", "modes"],
    bins: int,
    rare: int,
) -> Fitted:
    """Settle the codes of each column and the values of the conditions.

    Args:
        numbers, bins, rare: as the codec has them.

    Raises:
        SourceError: no rows, infinite numbers, a column that has no value in ``rare`` rows, or
            nothing to learn.
    """
    if not total.rows:
        raise SourceError("data.source: no rows", "give a source with data")
    infinite = {n: s.infinite for n, s in total.columns.items() if isinstance(s, NumberStats)}
    check_finite(infinite, total.rows)
    forms: list[Form] = []
    slots: list[Slot] = []
    columns: list[Column] = []
    for column in schema:
        if not column.condition:
            found = total.columns[column.name]
            if isinstance(found, IdStats):
                forms.append(fit_ids(found, rare))
            else:
                column, form, slot = fit_column(column, found, numbers, bins, rare)
                forms.append(form)
                slots += [] if slot.codes == 1 else [slot]
        columns.append(column)
    if not slots:
        raise SourceError(
            f"data.source: none of the columns {schema.names} varies, but for conditions",
            "give a source with a column to learn",
        )
    schema = conditions.with_values(Schema(columns=tuple(columns)), total.combinations)
    common = conditions.common_labels(schema, total.combinations, rare)
    spec = conditions.data_spec(schema, (0,), total.rows, common)
    layout = Layout(slots=tuple(slots))
    spec = spec.model_copy(update={"shape": (layout.width,), "layout": layout})
    return Fitted(with_dictionaries(schema, total.dictionaries, rare), tuple(forms), spec)


def check_finite(infinite: dict[str, int], rows: int) -> None:
    """Raises: SourceError: columns with infinite numbers, all of them named."""
    told = [f"column {name!r} has {count}" for name, count in infinite.items() if count]
    if told:
        raise SourceError(
            f"data.source: infinite numbers among {rows} rows: {'; '.join(told)}",
            "replace them, by nothing where the number is not known",
        )
