"""The one table of the comparison: medians over seeds, and what was published."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.tabular.systems import System

Row = dict[str, Any]
BOUND = "bound_rows_per_second"

# After 300 epochs, elsewhere: quality of SDV's reports, macro-F1 of TabDDPM (2209.15421), table 4.
PUBLISHED = (
    ("CTGAN, published, 300 epochs", {"quality": ".88"}),
    ("TVAE, published, 300 epochs", {"quality": ".89", "macro_f1": ".781"}),
    ("TabDDPM, published", {"macro_f1": ".795"}),
)
NOTES = """\
quality: SDMetrics over all pairs of columns, as the published figures are; quality*: over the pairs
that its present default selects. macro-F1: boosted trees, trained on synthetic rows, tested on real
ones. copies: rows equal to a training row; of real rows: the holdout's. attack: area under the
curve of telling training rows from the holdout by distance, 0.5 is a guess. closer: rows nearer to
training than to holdout rows, 0.5 if nothing is remembered. Sampling: the largest size; the rivals
into a data frame, SynthRay into a Parquet file."""


def _speed(row: Row, unit: str) -> float:
    return float(row["row_epochs"] / max(row["laps"]["training"][unit], 1e-9))


def _sampling(row: Row, name: str) -> float:
    return float(row["sampling"][max(row["sampling"], key=int)][name])


def _score(name: str) -> Callable[[Row], float]:
    return lambda row: float(row["scores"][name])


# title, how to get it from a row, how to write it, the key of published figures
COLUMNS: tuple[tuple[str, Callable[[Row], float], str, str], ...] = (
    ("epochs", lambda row: row["epochs"], "{:,.1f}", "epochs"),
    ("prepare s", lambda row: row["laps"]["preparation"]["wall"], "{:,.1f}", ""),
    ("train s", lambda row: row["laps"]["training"]["wall"], "{:,.0f}", ""),
    ("row-epochs/s", lambda row: _speed(row, "wall"), "{:,.0f}", ""),
    ("…/CPU s", lambda row: _speed(row, "cpu"), "{:,.0f}", ""),
    ("sampled/s", lambda row: _sampling(row, "rows_per_second"), "{:,.0f}", ""),
    ("…/CPU s", lambda row: _sampling(row, "rows_per_cpu_second"), "{:,.0f}", ""),
    ("peak MiB", lambda row: row["peak_bytes"] / 2**20, "{:,.0f}", ""),
    ("quality", _score("quality"), "{:.3f}", "quality"),
    ("shapes", _score("column_shapes"), "{:.3f}", ""),
    ("pairs", _score("pair_trends"), "{:.3f}", ""),
    ("quality*", _score("quality_selected"), "{:.3f}", ""),
    ("macro-F1", _score("macro_f1"), "{:.3f}", "macro_f1"),
    ("copies", _score("copies"), "{:.2%}", ""),
    ("attack", _score("membership_auc"), "{:.3f}", ""),
    ("closer", _score("closer_to_training"), "{:.3f}", ""),
)


def show(measured: list[tuple[System, list[Row]]], holdout: dict[str, float]) -> None:
    """Print the table and what its columns mean.

    Args:
        measured: of every system the rows of its seeds, maybe none.
        holdout: the scores of the real test rows in the place of synthetic ones.
    """
    table = Table(title="Adult: medians over seeds")
    table.add_column("")
    table.add_column("seeds", justify="right")
    for title, *_ in COLUMNS:
        table.add_column(title, justify="right")
    for system, rows in measured:
        if rows:
            cells = [form.format(statistics.median(map(get, rows))) for _, get, form, _ in COLUMNS]
            table.add_row(system.title, str(len(rows)), *cells)
    real = {
        "quality": f"{holdout['quality']:.3f}",
        "shapes": f"{holdout['column_shapes']:.3f}",
        "pairs": f"{holdout['pair_trends']:.3f}",
        "quality*": f"{holdout['quality_selected']:.3f}",
        "macro-F1": f"{holdout['real_macro_f1']:.3f}",
        "copies": f"{holdout['holdout_copies']:.2%}",
    }
    table.add_section()
    table.add_row("real rows", "", *(real.get(title, "") for title, *_ in COLUMNS))
    for title, published in PUBLISHED:
        table.add_row(title, "", *(published.get(key, "") for *_, key in COLUMNS))
    console = Console(width=max(Console().width, 230))
    console.print(table)
    for system, rows in measured:
        if bounds := [row[BOUND] for row in rows if BOUND in row]:
            bound = statistics.median(bounds)
            speed = statistics.median(_sampling(row, "rows_per_second") for row in rows)
            console.print(
                f"{system.title} samples at {speed / bound:.2f} of the bound that its network's "
                f"own arithmetic sets, {bound:,.0f} rows/s"
            )
    console.print(NOTES)
