"""Print what comes of a query: its rows as a table, as JSON or CSV, or why there are none."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import UTC, datetime, timedelta
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailvigil.compiler.parser import Analysis
from mailvigil.exit_codes import EXIT_NOT_RUN
from mailvigil.printable import counted, defused, visible
from mailvigil.query.answer import Answer

_LEAST_WIDTH = 12
"""Characters that a column needs to be read; with fewer, rows are printed one below another."""


_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
"""What Kusto writes for a number that JSON does not have."""


def print_refusal(analysis: Analysis, err: TextIO) -> bool:
    """Print what Microsoft's parser has against the query; return whether that stops it.

    Warnings do not.
    """
    for item in analysis.diagnostics:
        kind = "" if item.severity == "Error" else f"{item.severity.lower()}: "
        where = f"query:{item.line}:{item.column}"
        print(f"mailvigil: {where}: {kind}{visible(item.message)} [{item.code}]", file=err)
    return any(item.severity == "Error" for item in analysis.diagnostics)


def print_not_run(error: Exception, err: TextIO) -> int:
    """Print why the local engine does not run a query, and return the exit code of that."""
    print(f"mailvigil: the local engine cannot run it: {visible(str(error))}", file=err)
    return EXIT_NOT_RUN


def print_as(answer: Answer, style: str, out: TextIO, err: TextIO) -> None:
    """Print *answer* as ``table``, ``json`` or ``csv``, and to *err* if there are more rows."""
    if style == "json":
        print(as_json(answer), file=out)
    elif style == "csv":
        out.write(as_csv(answer))
    else:
        print_answer(answer, Console(file=out))
    if answer.is_cut:
        printed = counted(len(answer.rows), "row")
        print(f"mailvigil: there are more than these {printed} (--limit N prints more)", file=err)


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
