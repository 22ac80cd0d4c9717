"""CallerKey reads mail in a tenant, remembered for longer than a rule can look back. Pure.

What is remembered can be too little after a crash, never too much but for repeats that the feed
itself sends: a rule then fires once more, and is not silent once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from audit_feed.blobs import ContentBlob
from audit_feed.records.shape import Row

READ = "MailItemsAccessed"
MOST_MAILBOXES = 500
"""Mailboxes of a caller that are told apart. One that reads more is said to read so many."""

_NAME = 12
"""Characters of a mailbox's hash that are kept."""

CallerKey = tuple[str, str, str]
"""Organisation, caller and protocol."""


@dataclass(frozen=True, slots=True)
class Access:
    """What is remembered of one caller and protocol. Times aware, UTC."""

    first: datetime
    last: datetime
    operations: int
    mailboxes: frozenset[str]

    def with_(self, other: Access) -> Access:
        """Return both together."""
        together = sorted(self.mailboxes | other.mailboxes)[:MOST_MAILBOXES]
        return Access(
            min(self.first, other.first),
            max(self.last, other.last),
            self.operations + other.operations,
            frozenset(together),
        )


Callers = Mapping[CallerKey, Access]


class CallerStats:
    """Hears of rows while blobs are read, and gives them up blob by blob. For one thread."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._heard: dict[str, dict[CallerKey, Access]] = {}

    def start_blob(self, blob: ContentBlob) -> None:
        """Forget what was noted of *blob*: it is read from its start."""
        self._heard[blob.id] = {}

    def add(self, blob: ContentBlob, row: Row) -> None:
        """Note a row of *blob* that says that mail was read."""
        time = row["EventTime"]
        if row["Operation"] != READ or not isinstance(time, datetime):
            return
        mailbox = str(row["MailboxGuid"] or row["MailboxOwnerUPN"]).lower()
        count = row["OperationCount"]
        access = Access(
            time,
            time,
            count if isinstance(count, int) and count > 0 else 1,
            frozenset({sha256(mailbox.encode()).hexdigest()[:_NAME]} if mailbox else ()),
        )
        tenant = str(row["OrganizationId"] or self._tenant).lower()
        who = (tenant, str(row["Caller"]), str(row["Protocol"]))
        heard = self._heard[blob.id]
        heard[who] = heard[who].with_(access) if who in heard else access

    def of_blobs(self, blobs: Iterable[ContentBlob]) -> Callers:
        """Return what was heard in *blobs*, all of one stream."""
        return merged(self._heard.get(blob.id, {}) for blob in blobs)


def merged(parts: Iterable[Callers]) -> Callers:
    """Return all parts together."""
    whole: dict[CallerKey, Access] = {}
    for part in parts:
        for who, access in part.items():
            whole[who] = whole[who].with_(access) if who in whole else access
    return whole


def rows(callers: Callers, now: datetime) -> list[Row]:
    """Return *callers* as rows of ``M365CallerBaseline_CL``, each about its whole tenant."""
    return [
        {
            "TimeGenerated": now,
            "OrganizationId": tenant,
            "Caller": caller,
            "Protocol": protocol,
            "MailboxId": "",
            "FirstSeen": access.first,
            "LastSeen": access.last,
            "MailboxCount": len(access.mailboxes),
            "OperationCount": access.operations,
        }
        for (tenant, caller, protocol), access in sorted(callers.items())
    ]
