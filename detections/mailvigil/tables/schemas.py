"""The columns and KQL types of every table that rules may read. Pure.

Microsoft's tables are the JSON files of this folder; our own are those of the connector.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from audit_feed.columns import load_table

OWN_TABLES = ("M365Activity_CL", "M365CallerBaseline_CL", "M365FeedHealth_CL")
"""Tables that the connector and the pack fill; their columns are in ``audit_feed/tables``."""

APPROVED_CALLERS = "ApprovedMailCallers"
"""Alias of the watchlist of callers that the tenant accepts."""

WATCHLIST_COLUMNS: Mapping[str, Mapping[str, str]] = {
    APPROVED_CALLERS: {
        "Caller": "string",
        "Owner": "string",
        "Reason": "string",
        "ValidFrom": "string",
        "ValidTo": "string",
    }
}
"""Columns of each watchlist that the rules read; in Sentinel all of them are text."""

ARRIVED = "_arrived"
"""Column of every local table: when the row arrived (UTC). A replay hides what came later."""


@cache
def schemas() -> Mapping[str, Mapping[str, str]]:
    """Return every table that rules may read: column names and KQL types."""
    own = {name: {c.name: c.type for c in load_table(name).columns} for name in OWN_TABLES}
    microsoft = {}
    for path in sorted((files("mailvigil") / "tables").iterdir(), key=lambda p: p.name):
        if path.name.endswith(".json"):
            data = json.loads(path.read_text(encoding="utf-8"))
            microsoft[str(data["table"])] = dict(data["columns"])
    return {**own, **microsoft, "_Watchlists": _watchlists()}


def _watchlists() -> Mapping[str, str]:
    columns = {"_Alias": "string", "SearchKey": "string"}
    for fields in WATCHLIST_COLUMNS.values():
        columns.update(fields)
    return columns
