"""What a rule's records are read from, for each place where its query runs.

A source is a pipeline in ``sigma/pipelines`` with the columns that its rows have. Fields that are
none of them are read from the row's ``Record``.
"""

from __future__ import annotations

from dataclasses import dataclass

FUNCTION = "MailItemsAccessed"
"""The operation that has a function of its own, of the same name."""

_MAIL = (
    "FirstSeen = min(EventTime)",
    "LastSeen = max(EventTime)",
    "Records = count()",
    "OperationCount = sum(OperationCount)",
    "MailboxCount = dcount(MailboxId)",
    "Callers = make_set(Caller, 100)",
    "Protocols = make_set(Protocol, 100)",
    "Mailboxes = make_set(Mailbox, 100)",
    "Users = make_set(UserId, 100)",
    "Addresses = make_set(ClientAddress, 100)",
    "Sessions = make_set(SessionId, 100)",
    "Mailbox = min(Mailbox)",
    "User = min(UserId)",
    "Address = min(ClientAddress)",
)
_AUDIT = (
    *_MAIL[:3],
    "Operations = make_set(Operation, 100)",
    "Objects = make_set(ObjectId, 100)",
    *_MAIL[4:],
)
DEFENDER_DEMANDS = ("Timestamp", "ReportId", "AccountObjectId")
"""What a custom detection must return, all from one and the same event.

Source: "Create custom detection rules", required columns in the query results.
"""
_DEFENDER = (f"arg_max({', '.join(DEFENDER_DEMANDS)})",)

_MAIL_COLUMNS = frozenset(
    {
        "RecordId", "SourceRank", "EventTime", "OrganizationId", "Operation",
        "RecordType", "UserId", "UserKey", "UserType", "ClientAddress", "ClientInfoString",
        "AppId", "ClientAppId", "Caller", "Protocol", "SessionId", "UniqueTokenId",
        "TokenTenantId", "MailboxGuid", "MailboxOwnerUPN", "LogonType", "ExternalAccess",
        "OperationCount", "MailAccessType", "IsThrottled", "ParentFolderPath",
        "ParentFolderName", "Folder",
        "TokenTenant", "MailboxId", "Mailbox",
    }
)  # fmt: skip
_AUDIT_COLUMNS = _MAIL_COLUMNS | {
    "Workload", "ResultStatus", "ObjectId", "ClientIP", "ClientIPAddress", "AADSessionId",
    "TokenObjectId", "TokenType", "AuthType", "DeviceId", "Parameters", "ModifiedProperties",
    "OperationProperties", "ExtendedProperties", "ApplicationId", "RequestType", "Record",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecordSource:
    """Where records are read.

    ``repeats``: a record can be more than one row. ``record``: rows have a column ``Record`` with
    the fields that have no column. ``summary`` are the aggregates of an alert's row.
    ``takes_operations``: it is a function that is told which operations are wanted. ``time`` is the
    column by which the service finds the rows of a table.
    """

    pipeline: str
    columns: frozenset[str]
    summary: tuple[str, ...]
    repeats: bool
    record: bool
    takes_operations: bool = False
    time: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a compiled query runs: its sources of mail that was read, and of all operations.

    ``folder`` is below ``kql/generated``. ``memory``: there is a table of what was seen earlier
    than the query can look back. ``watchlists``: what a tenant approves is there. ``arrivals``:
    a run is judged by when rows arrived, else by when things happened.
    """

    name: str
    folder: str
    mail: RecordSource
    audit: RecordSource
    memory: bool
    watchlists: bool
    arrivals: bool


SENTINEL = Target(
    name="sentinel",
    folder="",
    mail=RecordSource(
        "mail_items_accessed.yml",
        _MAIL_COLUMNS | {"TimeGenerated", "Arrived", "Source"},
        _MAIL,
        repeats=True,
        record=False,
    ),
    audit=RecordSource(
        "audit_records.yml",
        _AUDIT_COLUMNS | {"TimeGenerated", "Arrived", "Source"},
        _AUDIT,
        repeats=True,
        record=True,
        takes_operations=True,
    ),
    memory=True,
    watchlists=True,
    arrivals=True,
)
_XDR = _AUDIT_COLUMNS | {*DEFENDER_DEMANDS}
DEFENDER = Target(
    name="defender",
    folder="defender",
    mail=RecordSource(
        "defender_xdr.yml",
        _XDR,
        (*_MAIL, *_DEFENDER),
        repeats=True,
        record=True,
        time="Timestamp",
    ),
    audit=RecordSource(
        "defender_xdr.yml",
        _XDR,
        (*_AUDIT, *_DEFENDER),
        repeats=True,
        record=True,
        time="Timestamp",
    ),
    memory=False,
    watchlists=False,
    arrivals=False,
)
TARGETS = {target.name: target for target in (SENTINEL, DEFENDER)}
