"""Name the table that rows belong to: by their ``Type``, their ``Category`` or their columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from audit_feed.columns import load_table
from mailvigil.tables.record_tables import CLOUD_APP_EVENTS, M365_ACTIVITY, OFFICE_ACTIVITY

ACTIVITY = M365_ACTIVITY.name

_UTC_SUFFIX = " [UTC]"
_CATEGORIES: Mapping[str, str] = {
    "SignInLogs": "SigninLogs",
    "NonInteractiveUserSignInLogs": "AADNonInteractiveUserSignInLogs",
    "ServicePrincipalSignInLogs": "AADServicePrincipalSignInLogs",
    "ManagedIdentitySignInLogs": "AADManagedIdentitySignInLogs",
}
"""Value of ``Category`` in a sign-in table to the table."""

_MARKS: Sequence[tuple[str, frozenset[str]]] = (
    (ACTIVITY, frozenset({"RecordId", "EventTime", "Operation"})),
    (OFFICE_ACTIVITY.name, frozenset({"OfficeWorkload", "Operation"})),
    (OFFICE_ACTIVITY.name, frozenset({"OfficeId", "Operation"})),
    (CLOUD_APP_EVENTS.name, frozenset({"ActionType", "RawEventData"})),
    ("AuditLogs", frozenset({"OperationName", "InitiatedBy", "TargetResources"})),
    ("EmailEvents", frozenset({"NetworkMessageId", "EmailDirection"})),
    ("MicrosoftGraphActivityLogs", frozenset({"RequestUri", "RequestMethod"})),
    ("OAuthAppInfo", frozenset({"OAuthAppId", "ServicePrincipalId", "Permissions"})),
)
"""Sets of columns of which each is in only one table."""

_SIGN_IN = "UniqueTokenIdentifier"


class UnknownKindError(Exception):
    """Rows look like those of a known table, but nothing says which one."""


@cache
def columns_of(table: str) -> Mapping[str, str]:
    """Return a table's columns and their KQL types, in order."""
    if table == ACTIVITY:
        return {column.name: column.type for column in load_table(table).columns}
    path = files("mailvigil") / "tables" / f"{table}.json"
    columns = json.loads(path.read_text(encoding="utf-8"))["columns"]
    return {str(name): str(kind) for name, kind in columns.items()}


@cache
def tables() -> frozenset[str]:
    """Return the names of all tables that rows can belong to."""
    entries = (files("mailvigil") / "tables").iterdir()
    names = {path.name.removesuffix(".json") for path in entries if path.name.endswith(".json")}
    return frozenset({ACTIVITY, *names})


def plain(name: str) -> str:
    """Return a column's name without what the portal's CSV adds to it."""
    return name.strip().removesuffix(_UTC_SUFFIX)


def table_of(names: Sequence[str], sample: Sequence[Mapping[str, object]]) -> str | None:
    """Return the table of rows with the columns *names*, or None.

    Raises:
        UnknownKindError: They are sign-ins, but nothing says of what kind.

    """
    rows = [{plain(name): value for name, value in row.items()} for row in sample]
    for row in rows:
        if row.get("Type") in tables():
            return str(row["Type"])
        if row.get("Category") in _CATEGORIES:
            return _CATEGORIES[str(row["Category"])]
    have = {plain(name) for name in names}
    marked = [table for table, mark in _MARKS if mark <= have]
    if marked:
        return marked[0]
    return _sign_in_table(have, rows) if _SIGN_IN in have else None


def _sign_in_table(have: set[str], rows: Sequence[Mapping[str, object]]) -> str:
    if "UserPrincipalName" in have:
        for row in rows:
            interactive = str(row.get("IsInteractive")).lower()
            if interactive in {"true", "false"}:
                return _CATEGORIES[
                    "SignInLogs" if interactive == "true" else "NonInteractiveUserSignInLogs"
                ]
    msg = "sign-ins without a Type or Category column, which tell the table"
    raise UnknownKindError(msg)
