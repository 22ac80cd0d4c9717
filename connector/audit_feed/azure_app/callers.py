"""Who reads mail in a tenant, remembered for longer than a rule can read back. Pure.

After a crash the memory may miss an access, so a rule may fire once too often; it never invents
one. What the feed itself repeats is counted twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from audit_feed.blobs import ContentBlob
from audit_feed.records.shape import Row

MAIL_READ = "MailItemsAccessed"
MAX_MAILBOXES = 500
"""Mailboxes of a caller that are counted. One that reads more is stored as reading so many."""

MAX_PLACES = 300
"""Places of a caller that are remembered: of one that has more, those that it read in last."""

MAX_PLACES_LENGTH = 25_000
"""UTF-16 units of a caller's places together. With the hashes they are a property of Table
Storage, which has at most 32,768."""

_HASH_LENGTH = 12
"""Characters of a mailbox's hash that are stored."""

_PREFIX = {
    ":": re.compile(r"[0-9a-f]*:[0-9a-f]*:[0-9a-f]*"),
    ".": re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(?=\.)"),
}
"""What of an address names its network, /48 of IPv6 and /24 of IPv4, as the rules have it."""

_APPLICATION = (5, 6)
"""UserType of an application that acts by itself, and of a service principal."""

CallerKey = tuple[str, str, str]
"""Organisation, caller and protocol."""


@dataclass(frozen=True, slots=True, order=True)
class MailboxPlace:
    """Where a caller read: a mailbox, a network (may be empty), and whether it acted by itself."""

    mailbox: str
    network: str
    app_only: bool


@dataclass(frozen=True, slots=True)
class Visits:
    """What is remembered of a caller at a place. Times aware, UTC, whole seconds."""

    first: datetime
    last: datetime
    operations: int

    def merged_with(self, other: Visits | None) -> Visits:
        """Return the visits of both together."""
        if other is None:
            return self
        return Visits(
            min(self.first, other.first),
            max(self.last, other.last),
            self.operations + other.operations,
        )


@dataclass(frozen=True, slots=True)
class Access:
    """What is remembered of one caller and protocol. Times aware, UTC.

    ``mailboxes`` are hashes, which are counted, and texts of places with their visits, which have
    bars in them: one set, since that is how they are stored.
    """

    first: datetime
    last: datetime
    operations: int
    mailboxes: frozenset[str]

    @property
    def mailbox_count(self) -> int:
        """How many mailboxes were read, at most ``MAX_MAILBOXES``."""
        return sum(_BAR not in text for text in self.mailboxes)

    @property
    def places(self) -> Mapping[MailboxPlace, Visits]:
        """The places that are remembered, with what was done there."""
        whole: dict[MailboxPlace, Visits] = {}
        for text in self.mailboxes:
            if _BAR in text:
                place, visits = _place_of(text)
                whole[place] = visits.merged_with(whole.get(place))
        return whole

    def merged_with(self, other: Access) -> Access:
        """Return the access of both together, with no more than is remembered of one caller."""
        hashes = (text for text in self.mailboxes | other.mailboxes if _BAR not in text)
        places = dict(self.places)
        for place, visits in other.places.items():
            places[place] = visits.merged_with(places.get(place))
        return Access(
            min(self.first, other.first),
            max(self.last, other.last),
            self.operations + other.operations,
            _bounded(hashes, places),
        )


_BAR = "|"
"""Stands between the parts of a place's text, and in no hash."""

_EPOCH = datetime.fromtimestamp(0, UTC)
_SECOND = timedelta(seconds=1)


def network_of(address: str) -> str:
    """Return the /24 or /48 of *address*, in lower case, or ``""`` of a host name."""
    match = _PREFIX[":" if ":" in address else "."].match(address)
    return match[0] if match else ""


def _place_text(place: MailboxPlace, visits: Visits) -> str:
    first, last = (f"{(time - _EPOCH) // _SECOND:x}" for time in (visits.first, visits.last))
    app = "1" if place.app_only else "0"
    return _BAR.join([place.mailbox, place.network, app, first, last, f"{visits.operations:x}"])


def _place_of(text: str) -> tuple[MailboxPlace, Visits]:
    mailbox, network, app, first, last, operations = text.split(_BAR)
    times = [_EPOCH + _SECOND * int(time, 16) for time in (first, last)]
    return MailboxPlace(mailbox, network, app == "1"), Visits(
        times[0], times[1], int(operations, 16)
    )


def _bounded(hashes: Iterable[str], places: Mapping[MailboxPlace, Visits]) -> frozenset[str]:
    return frozenset([*sorted(hashes)[:MAX_MAILBOXES], *_latest(places)])


def _latest(places: Mapping[MailboxPlace, Visits]) -> list[str]:
    """Return the texts of *places*, of too many those that were read in last."""
    order = sorted(places.items(), key=lambda item: (item[1].last, item[0]), reverse=True)
    texts = []
    left = MAX_PLACES_LENGTH
    for place, visits in order[:MAX_PLACES]:
        text = _place_text(place, visits)
        length = len(text.encode("utf-16-le", "surrogatepass")) // 2 + 1
        if length <= left:
            texts.append(text)
            left -= length
    return texts


Callers = Mapping[CallerKey, Access]


class CallerStats:
    """Collects who reads mail while blobs are read, blob by blob. For one thread.

    Only what was delivered is asked for in the end: a blob that fails is read again later.
    """

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._by_blob: dict[str, dict[CallerKey, _Counted]] = {}

    def start_blob(self, blob: ContentBlob) -> None:
        """Forget what was collected of *blob*: it is read from its start."""
        self._by_blob[blob.id] = {}

    def add(self, blob: ContentBlob, row: Row) -> None:
        """Count a row of *blob* if it says that mail was read."""
        time = row["EventTime"]
        if row["Operation"] != MAIL_READ or not isinstance(time, datetime):
            return
        tenant = str(row["OrganizationId"] or self._tenant).lower()
        key = (tenant, str(row["Caller"]), str(row["Protocol"]))
        self._by_blob[blob.id].setdefault(key, _Counted(time)).add(time, row)

    def of_blobs(self, blobs: Iterable[ContentBlob]) -> Callers:
        """Return the callers in *blobs*, all of one stream."""
        counted = (self._by_blob.get(blob.id, {}) for blob in blobs)
        return merged({key: of_key.access() for key, of_key in part.items()} for part in counted)


class _Counted:
    """One caller and protocol of one blob, row by row."""

    def __init__(self, time: datetime) -> None:
        self._visits = Visits(time, time, 0)
        self._hashes: set[str] = set()
        self._places: dict[MailboxPlace, Visits] = {}

    def add(self, time: datetime, row: Row) -> None:
        """Count a row that says that mail was read at *time*, aware UTC."""
        count = row["OperationCount"]
        visits = Visits(time, time, count if isinstance(count, int) and count > 0 else 1)
        self._visits = visits.merged_with(self._visits)
        mailbox = str(row["MailboxGuid"] or row["MailboxOwnerUPN"]).lower()
        if mailbox:
            self._hashes.add(sha256(mailbox.encode()).hexdigest()[:_HASH_LENGTH])
        if mailbox and not {_BAR, ","} & set(mailbox):  # such a text could not be read back
            network = network_of(str(row["ClientAddress"]))
            place = MailboxPlace(mailbox, network, row["UserType"] in _APPLICATION)
            self._places[place] = visits.merged_with(self._places.get(place))

    def access(self) -> Access:
        """Return all that was counted."""
        mailboxes = _bounded(self._hashes, self._places)
        return Access(self._visits.first, self._visits.last, self._visits.operations, mailboxes)


def merged(parts: Iterable[Callers]) -> Callers:
    """Return all parts together."""
    whole: dict[CallerKey, Access] = {}
    for part in parts:
        for key, access in part.items():
            whole[key] = whole[key].merged_with(access) if key in whole else access
    return whole


def baseline_rows(callers: Callers, now: datetime) -> list[Row]:
    """Return *callers* as rows of ``M365CallerBaseline_CL``: one each, and one a place."""
    rows: list[Row] = []
    for (tenant, caller, protocol), access in sorted(callers.items()):
        who: Row = {
            "TimeGenerated": now,
            "OrganizationId": tenant,
            "Caller": caller,
            "Protocol": protocol,
        }
        rows.append(who | _whole(access))
        rows.extend(who | _at(place, visits) for place, visits in sorted(access.places.items()))
    return rows


def _whole(access: Access) -> Row:
    """Return the columns about everything that a caller read."""
    return {
        "MailboxId": "",
        "Network": "",
        "AppOnly": None,
        "FirstSeen": access.first,
        "LastSeen": access.last,
        "MailboxCount": access.mailbox_count,
        "OperationCount": access.operations,
    }


def _at(place: MailboxPlace, visits: Visits) -> Row:
    """Return the columns about a caller at one place."""
    return {
        "MailboxId": place.mailbox,
        "Network": place.network,
        "AppOnly": place.app_only,
        "FirstSeen": visits.first,
        "LastSeen": visits.last,
        "MailboxCount": 1,
        "OperationCount": visits.operations,
    }
