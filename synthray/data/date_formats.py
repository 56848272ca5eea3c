"""Dates and times that are written as text: in which of the usual formats."""

from __future__ import annotations

from itertools import product

import pyarrow as pa
import pyarrow.compute as pc

# Where two formats read a column alike well, the first is taken: 03/04/2020 is the third of April
# where dots or dashes separate, else the fourth of March.
_DAYS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m-%d-%Y",
    "%d.%m.%y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d-%b-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d-%b-%y",
    "%Y%m%d",
)
_CLOCKS = ("%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
FORMATS = (
    *_DAYS,
    *(f"{day} {clock}" for day, clock in product(_DAYS, _CLOCKS)),
    *(f"%Y-%m-%dT{clock}{zone}" for clock in ("%H:%M:%S", "%H:%M") for zone in ("", "Z")),
    *("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%fZ"),
    *_CLOCKS,
    "%Y-%m",
    "%m/%Y",
    "%b %Y",
)
_TRIED = 16
_ZEROS = r"(^|[^0-9])0([0-9])"


def formats_of(values: pa.Array) -> frozenset[str]:
    """The formats that every one of these strings is in; a leading zero may be left out."""
    first = values.slice(0, _TRIED)
    likely = [form for form in FORMATS if fits(first, form)]
    return frozenset(form for form in likely if len(values) <= _TRIED or fits(values, form))


def fits(values: pa.Array, form: str) -> bool:
    """Whether every string is a date in this format, and would be written so again."""
    if form.endswith(".%f") or ".%fZ" in form:
        if not pc.all(pc.match_substring_regex(values, r"\.[0-9]{6}Z?$")).as_py():
            return False
        values = pc.replace_substring_regex(values, r"\.[0-9]{6}(Z?)$", r"\1")
        form = form.replace(".%f", "")
    times = pc.strptime(values, format=form, unit="s", error_is_null=True)
    if times.null_count:
        return False
    # strptime takes the 31st of February for a day in March, and 20 for the year 20.
    again = pc.strftime(times, format=form)
    if again.equals(values):
        return True
    zeros = [pc.replace_substring_regex(side, _ZEROS, r"\1\2") for side in (values, again)]
    return bool(zeros[0].equals(zeros[1]))


def chosen(formats: frozenset[str]) -> str | None:
    """The one that is taken."""
    return next((form for form in FORMATS if form in formats), None)
