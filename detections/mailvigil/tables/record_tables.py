"""The three tables that hold records of the unified audit log, each in its own form. Pure.

A rule that reads records may be fed by any of them; the KQL functions of the pack read all three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTable:
    """One table of records.

    ``record_id`` is the column that holds a record's ``Id``, with a dot before the field of a
    dynamic column. ``pipeline`` is the file of ``sigma/pipelines`` that makes a plain Sigma rule
    read the table. ``lacks`` are columns of a rule's result that the table cannot fill, because
    Microsoft documents no such field for it.
    """

    name: str
    record_id: str
    pipeline: str
    lacks: frozenset[str] = frozenset()


M365_ACTIVITY = RecordTable(
    name="M365Activity_CL", record_id="RecordId", pipeline="m365activity_cl.yml"
)
CLOUD_APP_EVENTS = RecordTable(
    name="CloudAppEvents", record_id="RawEventData.Id", pipeline="cloudappevents.yml"
)
OFFICE_ACTIVITY = RecordTable(
    name="OfficeActivity",
    record_id="OfficeId",
    pipeline="officeactivity.yml",
    lacks=frozenset({"SessionId", "Sessions", "OperationCount", "TokenTenantId"}),
)

RECORD_TABLES: Mapping[str, RecordTable] = {
    table.name: table for table in (M365_ACTIVITY, CLOUD_APP_EVENTS, OFFICE_ACTIVITY)
}

DROP_REPEATS = "| summarize arg_min(SourceRank, *) by RecordId"
"""KQL that keeps of each record the row from the best source. Its text is part of the queries."""

WITHIN_SPAN = "| where isnull(span) or TimeGenerated > ago(span)"
"""KQL by which a function of records holds each table to the span that it is called with."""

RECORD_FUNCTIONS = ("MailItemsAccessed", "AuditRecords", "AuditChanges")
"""Functions of the pack that read the tables of records. Their first parameter is a span."""

STORED_FUNCTIONS = frozenset({"MailItemsAccessed", "AuditChanges"})
"""Functions of which a hunt computes the rows once: of each record the best, at any moment. Queries
that drop repeats, or are not changed by them, find the same in these rows."""


def lacking_columns(table: str) -> frozenset[str]:
    """Return what *table*, of records or not, cannot fill of a rule's result."""
    return RECORD_TABLES[table].lacks if table in RECORD_TABLES else frozenset()
