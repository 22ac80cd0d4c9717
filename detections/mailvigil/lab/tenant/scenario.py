"""A month of one made-up tenant as audit records, and as the export a portal gives."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from operator import itemgetter
from typing import TextIO

import orjson

from mailvigil.lab.tenant import background, intrusion, mail_access, traffic
from mailvigil.lab.tenant.background import Timed
from mailvigil.lab.tenant.clients import CRM, VAULT
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.intrusion import Intrusion
from mailvigil.lab.tenant.people import SHARED, Mailbox, Tenant, tenant
from mailvigil.lab.tenant.plan import DEMO, Scenario

__all__ = [
    "APPROVED_COLUMNS",
    "DEMO",
    "PURVIEW_COLUMNS",
    "ApprovedApp",
    "Intrusion",
    "Scenario",
    "Tenant",
    "approved_apps",
    "intrusion_facts",
    "purview_line",
    "records",
    "tenant_of",
    "throttled_mailbox",
    "write_approved_csv",
    "write_purview_csv",
]

PURVIEW_COLUMNS = (
    "RecordId",
    "CreationDate",
    "RecordType",
    "Operation",
    "UserId",
    "AuditData",
    "AssociatedAdminUnits",
    "AssociatedAdminUnitsNames",
)

APPROVED_COLUMNS = ("Caller", "Owner", "Reason", "ValidFrom", "ValidTo")

OTHER_OPERATIONS = 0.4
"""Other records of a person, for each record of mail read."""


LONG_BEFORE = timedelta(days=151)
"""Since when, before the first day, the archive has been accepted: for the demo since New Year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedApp:
    """One row of the list of callers the tenant accepts, column by column.

    The times are ISO 8601 in UTC; ``valid_to`` is ``""`` for an approval without end.
    """

    caller: str
    owner: str
    reason: str
    valid_from: str
    valid_to: str

    def row(self) -> dict[str, str]:
        """Return the row as the CSV and the watchlist have it."""
        values = (self.caller, self.owner, self.reason, self.valid_from, self.valid_to)
        return dict(zip(APPROVED_COLUMNS, values, strict=True))


def records(scenario: Scenario) -> Iterator[dict[str, object]]:
    """Yield the records of *scenario* in the order they reach the log.

    That is by CreationTime, but for repeats: a record with the Id of an earlier one comes
    up to an hour late.
    """
    people = tenant_of(scenario)
    late: list[Timed] = []
    for day in range(scenario.days):
        midnight = traffic.midnight(scenario, day)
        events = [*late, *_of_day(scenario, people, day)]
        events += _repeated(scenario, events[len(late) :], day)
        events.sort(key=itemgetter(0))
        ends = midnight + timedelta(days=1)
        late = [event for event in events if event[0] >= ends]
        yield from (record for at, record in events if at < ends)
    yield from (record for _, record in late)


def write_purview_csv(scenario: Scenario, out: TextIO, limit: int | None = None) -> int:
    """Write the first *limit* records (all, for None) as the Purview portal exports them.

    Returns how many records were written. *out* must be open with ``newline=""``.
    """
    out.write(",".join(PURVIEW_COLUMNS) + "\r\n")
    count = 0
    for record in islice(records(scenario), limit):
        out.write(purview_line(record))
        count += 1
    return count


def purview_line(record: Mapping[str, object]) -> str:
    """Return one record's line of the CSV, CR LF included.

    Only AuditData is quoted: no other cell of a generated record needs it, and the csv
    module takes longer for the quoting than all the rest of the generator.
    """
    data = orjson.dumps(record).decode().replace('"', '""')
    cells = ",".join(str(record[name]) for name in _PLAIN_FIELDS)
    return f'{cells},"{data}",,\r\n'


_PLAIN_FIELDS = ("Id", "CreationTime", "RecordType", "Operation", "UserId")


def approved_apps(scenario: Scenario) -> tuple[ApprovedApp, ...]:
    """Return the apps that the tenant accepts as readers of mail."""
    rollout = traffic.midnight(scenario, scenario.rollout_day)
    long_ago = scenario.start - LONG_BEFORE
    return (
        _approved(
            VAULT,
            "it@contoso.example",
            "archives all mail by law",
            f"{long_ago:%Y-%m-%dT%H:%M:%SZ}",
        ),
        _approved(
            CRM, "sales@contoso.example", "customer database", f"{rollout:%Y-%m-%dT%H:%M:%SZ}"
        ),
    )


def write_approved_csv(scenario: Scenario, out: TextIO) -> int:
    """Write the approved apps as the CSV that ``--approved`` reads; return the rows."""
    writer = csv.DictWriter(out, APPROVED_COLUMNS)
    writer.writeheader()
    rows = [app.row() for app in approved_apps(scenario)]
    writer.writerows(rows)
    return len(rows)


def tenant_of(scenario: Scenario) -> Tenant:
    """Return the people of *scenario*."""
    return tenant(scenario.seed, scenario.mailboxes)


def intrusion_facts(scenario: Scenario) -> Intrusion | None:
    """Return what a hunt should find, or None when the scenario has no intruder."""
    return intrusion.facts(scenario, tenant_of(scenario))


def throttled_mailbox(scenario: Scenario) -> str | None:
    """Return the owner's name of the mailbox that is throttled, or None."""
    day = scenario.throttled_day
    if day is None or day >= scenario.days:
        return None
    return traffic.throttled_mailbox(tenant_of(scenario)).upn


def _approved(caller: str, owner: str, reason: str, valid_from: str) -> ApprovedApp:
    return ApprovedApp(
        caller=caller, owner=owner, reason=reason, valid_from=valid_from, valid_to=""
    )


def _of_day(scenario: Scenario, people: Tenant, day: int) -> Iterator[Timed]:
    dice = Dice(scenario.seed, "records", day)
    for access in traffic.of_day(scenario, people, day):
        if not traffic.is_blind(scenario, people, access):
            yield access.at, mail_access.record(people, access, dice)
    for mailbox in people.mailboxes[: -len(SHARED)]:
        yield from _besides(scenario, people, mailbox, day)
    settings = Dice(scenario.seed, "settings", day)
    yield from background.of_tenant(people, traffic.midnight(scenario, day), settings)
    # Last, and with dice of its own: ordinary life must not change when it is left out.
    dark = Dice(scenario.seed, "dark", day)
    for access in intrusion.of_day(scenario, people, day):
        yield access.at, mail_access.record(people, access, dark)


def _besides(scenario: Scenario, people: Tenant, mailbox: Mailbox, day: int) -> Iterator[Timed]:
    """Yield what a person does besides reading mail."""
    if traffic.is_away(scenario, mailbox, day):
        return
    dice = Dice(scenario.seed, "besides", day, mailbox.number)
    part = 1.0 if traffic.is_working_day(scenario, day) else traffic.WEEKEND
    count = dice.about(scenario.records_per_mailbox_day * OTHER_OPERATIONS * part)
    times = traffic.moments("desk", count, traffic.midnight(scenario, day), dice)
    session = background.aad_session(scenario.seed, mailbox.number, day)
    yield from background.of_person(people, mailbox, times, session, dice)


def _repeated(scenario: Scenario, events: list[Timed], day: int) -> list[Timed]:
    """Return some of the day's records again, each up to an hour late."""
    dice = Dice(scenario.seed, "repeats", day)
    return [
        (at + timedelta(seconds=dice.below(3_600)), record)
        for at, record in events
        if dice.chance(scenario.repeats)
    ]
