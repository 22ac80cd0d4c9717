"""Print the rows that a query returned: as a table for people, as JSON or CSV for programs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailvigil.engine.row_values import ResultRow
from mailvigil.printable import counted, defused, visible

_LEAST_WIDTH = 12
"""Characters that a column needs to be read; with fewer, rows are printed one below another."""


_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
"""What Kusto writes for a number that JSON does not have."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of one query, and its columns in order, which are there without rows too."""

    columns: tuple[str, ...]
    rows: Sequence[ResultRow]


def as_json(answer: Answer) -> str:
    """Return a JSON array with one object a row.

    Times are RFC 3339 in UTC, timespans as KQL prints them, numbers that JSON lacks are text.
    """
    rows = [{name: _plain(value) for name, value in row.items()} for row in answer.rows]
    # ASCII alone: every console can encode it, and nothing in a log can steer a terminal.
    return json.dumps(rows, indent=2)


def as_csv(answer: Answer) -> str:
    """Return a line of names and one line a row; formulas are defused, null is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([defused(name) for name in answer.columns])
    writer.writerows([_cell(row[name]) for name in answer.columns] for row in answer.rows)
    return out.getvalue()


def print_answer(answer: Answer, console: Console) -> None:
    """Print rows side by side where the width lets them be read, else as one block a row."""
    if answer.columns and console.width // len(answer.columns) >= _LEAST_WIDTH:
        console.print(_rows(answer))
    elif answer.rows:
        console.print(Text("Too wide for a table: one block a row, without its empty columns."))
        console.print(_blocks(answer))
    console.print(Text(f"{counted(len(answer.rows), 'row')}."))


def _rows(answer: Answer) -> Table:
    table = Table()
    for name in answer.columns:
        table.add_column(Text(visible(name)), overflow="fold")
    for row in answer.rows:
        table.add_row(*(_shown(row[name]) for name in answer.columns))
    return table


def _blocks(answer: Answer) -> Table:
    table = Table(show_header=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for row in answer.rows:
        for name in answer.columns:
            shown = _shown(row[name])
            if shown.plain:
                table.add_row(Text(visible(name)), shown)
        table.add_section()
    return table


def _shown(value: object) -> Text:
    return Text(visible(_text(value)))


def _cell(value: object) -> object:
    """Return a cell of the CSV: a finite number as it is, all else as defused text."""
    plain = _plain(value)
    is_number = isinstance(plain, int | float) and not isinstance(plain, bool)
    return plain if is_number else defused(_text(value))


def _text(value: object) -> str:
    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, bool | dict | list):
        return json.dumps(plain, ensure_ascii=False)
    return str(plain)


def _plain(value: object) -> object:
    """Return *value* as something that JSON has."""
    match value:
        case dict():
            return {str(name): _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case float():
            return value if math.isfinite(value) else _NOT_FINITE[str(value)]
        case None | bool() | int():
            return value
        case _:
            return _word(value)


def _word(value: object) -> str:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return _timespan(value)
        case _:
            return str(value)


def _timespan(span: timedelta) -> str:
    """Return a span as KQL prints it: ``[-][days.]hh:mm:ss[.fffffff]``."""
    whole = abs(span)
    minutes, seconds = divmod(whole.seconds, 60)
    days = f"{whole.days}." if whole.days else ""
    fraction = f".{whole.microseconds:06}0" if whole.microseconds else ""
    sign = "-" if span < timedelta() else ""
    return f"{sign}{days}{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{fraction}"
