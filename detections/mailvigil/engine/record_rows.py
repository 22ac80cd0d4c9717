"""Insert a record as a row of each table that can hold it: our own, Defender's, Microsoft's.

Rule tests judge a rule on every table that it says can feed it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import duckdb
import orjson

from audit_feed.columns import load_table
from audit_feed.records.shape import Record, shape, text_of
from mailvigil.engine.shape_sql import TYPES
from mailvigil.tables.record_tables import CLOUD_APP_EVENTS, M365_ACTIVITY, OFFICE_ACTIVITY
from mailvigil.tables.schemas import ARRIVED, schemas

SourceRow = dict[str, object]

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


def insert(con: duckdb.DuckDBPyConnection, table: str, rows: list[SourceRow]) -> None:
    """Add *rows* to the local *table*; what a row leaves out is empty (text) or NULL."""
    for row in rows:
        values = [_value(row.get(name), kind) for name, kind in schemas()[table].items()]
        marks = ", ".join(f"?::{TYPES[kind]}" for kind in schemas()[table].values())
        arrived = _value(row.get(ARRIVED, row.get("TimeGenerated")), "datetime")
        con.execute(f'INSERT INTO "{table}" VALUES ({marks}, ?::TIMESTAMP)', [*values, arrived])


def _value(value: object, kind: str) -> object:
    if value is None:
        return "" if kind == "string" else None
    if kind == "dynamic":
        return orjson.dumps(value).decode()
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def _event_time(record: Record) -> object:
    return _own(record)["EventTime"]
