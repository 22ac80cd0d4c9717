"""Insert a record as a row of each table that can hold it: our own, Defender's, Microsoft's.

Rule tests judge a rule on every table that it says can feed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

import duckdb
import orjson

from audit_feed.columns import load_table
from audit_feed.records.shape import Record, shape, text_of
from mailvigil.engine.shape_sql import TYPES
from mailvigil.tables.record_tables import CLOUD_APP_EVENTS, M365_ACTIVITY, OFFICE_ACTIVITY
from mailvigil.tables.schemas import ARRIVED, schemas

SourceRow = dict[str, object]

_ROWS_AT_ONCE = 1000
"""Rows in one statement, as their text is in memory once more."""

_OFFICE_NAMES = {
    "Id": "OfficeId",
    "ClientIPAddress": "Client_IPAddress",
    "LogonType": "Logon_Type",
    "Workload": "OfficeWorkload",
    "ObjectId": "OfficeObjectId",
}
_OFFICE_WORDS: Mapping[str, Mapping[object, str]] = {
    "UserType": {
        0: "Regular",
        2: "Admin",
        3: "DcAdmin",
        4: "System",
        5: "Application",
        6: "ServicePrincipal",
    },
    "LogonType": {0: "Owner", 1: "Admin", 2: "Delegated"},
    "RecordType": {2: "ExchangeItem", 50: "ExchangeItemAggregated"},
}


def _own(record: Record) -> SourceRow:
    return dict(shape(record, load_table(M365_ACTIVITY.name)))


def _cloud_app_events(record: Record) -> SourceRow:
    time = _event_time(record)
    return {
        "TimeGenerated": time,
        "ActionType": record.get("Operation", ""),
        "Application": "Microsoft Exchange Online",
        "ApplicationId": 20893,
        "RawEventData": dict(record),
    }


def _office_activity(record: Record) -> SourceRow:
    columns = schemas()[OFFICE_ACTIVITY.name]
    row: SourceRow = {"TimeGenerated": _event_time(record)}
    for name, value in record.items():
        column = _OFFICE_NAMES.get(name, name)
        if column in columns:
            word = _OFFICE_WORDS.get(name, {}).get(value) if isinstance(value, int) else None
            row[column] = word or (value if columns[column] == "dynamic" else text_of(value))
    return row


SHAPERS: Mapping[str, Callable[[Record], SourceRow]] = {
    M365_ACTIVITY.name: _own,
    CLOUD_APP_EVENTS.name: _cloud_app_events,
    OFFICE_ACTIVITY.name: _office_activity,
}
"""Table name to the function that makes one of its rows from a record."""


def insert(
    con: duckdb.DuckDBPyConnection,
    table: str,
    rows: Sequence[Mapping[str, object]],
    *,
    into: str = "",
    more: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Add *rows* to the local *table*; what a row leaves out is empty (text) or NULL.

    Args:
        con: The workspace.
        table: Whose columns the rows have.
        rows: The rows, by column.
        into: SQL of a table of that form to put them into instead.
        more: Columns that it has after those, with their KQL types.

    """
    columns = {**schemas()[table], ARRIVED: "datetime", **more}
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        made = [
            [_value(value, kind) for value, kind in _values(row, columns)]
            for row in rows[start : start + _ROWS_AT_ONCE]
        ]
        # As one text: to bind a parameter for each value of a row takes 15 ms a row.
        target = into or f'"{table}"'
        con.execute(f"INSERT INTO {target} {_cast(columns)}", [orjson.dumps(made).decode()])


def _values(row: Mapping[str, object], columns: Mapping[str, str]) -> Iterator[tuple[object, str]]:
    arrived = {ARRIVED: row.get("TimeGenerated"), **row}
    return ((arrived.get(name), kind) for name, kind in columns.items())


def _cast(columns: Mapping[str, str]) -> str:
    """Return SQL that reads rows from a JSON list of lists of texts, each as its column's type."""
    types = (TYPES[kind] for kind in columns.values())
    listed = ", ".join(f"CAST(r[{number}] AS {kind})" for number, kind in enumerate(types, 1))
    return f"SELECT {listed} FROM (SELECT unnest(from_json(?, '[[\"VARCHAR\"]]')) AS r)"


def _value(value: object, kind: str) -> str | None:
    """Return the text of *value* that DuckDB casts to the type of *kind*."""
    if value is None:
        return "" if kind == "string" else None
    if kind == "dynamic":
        return orjson.dumps(value).decode()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime) and value.tzinfo:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return str(value)


def _event_time(record: Record) -> object:
    return _own(record)["EventTime"]
