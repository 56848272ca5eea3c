"""One column of a table, from what was counted of it."""

from __future__ import annotations

from typing import Any, Literal

from synthray.data.cells.bins import fit_bins
from synthray.data.cells.categories import CategoryForm, fit_categories
from synthray.data.cells.modes import fit_modes
from synthray.data.cells.numbers import NumberForm, number_slot
from synthray.data.cells.statistics import NumberStats
from synthray.data.layout import Slot
from synthray.data.schema import Column
from synthray.data.sketches import ValueCounts
from synthray.data.table_stats import bits_of
from synthray.errors import SourceError

Learned = NumberForm | CategoryForm


def fit_column(
    column: Column,
    stats: NumberStats | ValueCounts,
    numbers: Literal["bins", "modes"],
    bins: int,
    rare: int,
) -> tuple[Column, Learned, Slot]:
    """The column with what was settled of it, its form, and its slot among those that are learned.

    Args:
        numbers, bins, rare: as the codec has them.

    Raises:
        SourceError: no value is in ``rare`` rows.
    """
    form: Learned
    told: dict[str, Any] = {}
    if isinstance(stats, NumberStats):
        bits = bits_of(column)
        if numbers == "bins":
            fit = fit_bins(stats, bits, bins, rare)
        else:
            fit = fit_modes(stats, bits, rare)
        form, counts = fit.form, fit.counts
        told = number_slot(form, fit.mean, fit.deviation)
    else:
        column, form, counts = fit_categories(column, stats, rare)
    special = {"missing": form.missing, "hidden": form.hidden}
    if len(counts) == 1 and form.hidden == 0:
        raise SourceError(
            f"data.source: column {column.name!r} has no value in data.rare = {rare} rows",
            f"lower data.rare, or set data.schema.{column.name}.kind to id or text",
        )
    return column, form, Slot(name=column.name, counts=counts, **told, **special)
