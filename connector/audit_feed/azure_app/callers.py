"""Who reads mail in a tenant, remembered for longer than a rule can read back. Pure.

After a crash the memory may miss an access, so a rule may fire once too often; it never invents
one. What the feed itself repeats is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from audit_feed.blobs import ContentBlob
from audit_feed.records.shape import Row

MAIL_READ = "MailItemsAccessed"
MAX_MAILBOXES = 500
"""Mailboxes of a caller that are counted. One that reads more is stored as reading so many."""

_HASH_LENGTH = 12
"""Characters of a mailbox's hash that are stored."""

CallerKey = tuple[str, str, str]
"""Organisation, caller and protocol."""


@dataclass(frozen=True, slots=True)
class Access:
    """What is remembered of one caller and protocol. Times aware, UTC."""

    first: datetime
    last: datetime
    operations: int
    mailboxes: frozenset[str]

    def merged_with(self, other: Access) -> Access:
        """Return the access of both together, with at most ``MAX_MAILBOXES`` mailboxes."""
        together = sorted(self.mailboxes | other.mailboxes)[:MAX_MAILBOXES]
        return Access(
            min(self.first, other.first),
            max(self.last, other.last),
            self.operations + other.operations,
            frozenset(together),
        )


Callers = Mapping[CallerKey, Access]


class CallerStats:
    """Collects who reads mail while blobs are read, blob by blob. For one thread.

    Only what was delivered is asked for in the end: a blob that fails is read again later.
    """

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._by_blob: dict[str, dict[CallerKey, Access]] = {}

    def start_blob(self, blob: ContentBlob) -> None:
        """Forget what was collected of *blob*: it is read from its start."""
        self._by_blob[blob.id] = {}

    def add(self, blob: ContentBlob, row: Row) -> None:
        """Count a row of *blob* if it says that mail was read."""
        time = row["EventTime"]
        if row["Operation"] != MAIL_READ or not isinstance(time, datetime):
            return
        mailbox = str(row["MailboxGuid"] or row["MailboxOwnerUPN"]).lower()
        count = row["OperationCount"]
        access = Access(
            time,
            time,
            count if isinstance(count, int) and count > 0 else 1,
            frozenset({sha256(mailbox.encode()).hexdigest()[:_HASH_LENGTH]} if mailbox else ()),
        )
        tenant = str(row["OrganizationId"] or self._tenant).lower()
        key = (tenant, str(row["Caller"]), str(row["Protocol"]))
        callers = self._by_blob[blob.id]
        callers[key] = callers[key].merged_with(access) if key in callers else access

    def of_blobs(self, blobs: Iterable[ContentBlob]) -> Callers:
        """Return the callers in *blobs*, all of one stream."""
        return merged(self._by_blob.get(blob.id, {}) for blob in blobs)


def merged(parts: Iterable[Callers]) -> Callers:
    """Return all parts together."""
    whole: dict[CallerKey, Access] = {}
    for part in parts:
        for key, access in part.items():
            whole[key] = whole[key].merged_with(access) if key in whole else access
    return whole


def baseline_rows(callers: Callers, now: datetime) -> list[Row]:
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
