"""What an attack is made of: its records, its sign-ins, and what it keeps out of the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mailvigil.lab.tenant import mail_access
from mailvigil.lab.tenant.clients import Client
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.event import AuditEvent, AuditRecord
from mailvigil.lab.tenant.people import MadeUpTenant, Mailbox
from mailvigil.times import parse_utc

ELSEWHERE = "2001:db8:bad:7::19"
"""An address of the intruder; no one else in the tenant uses its network."""


NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class World:
    """Where an attack happens. ``day`` is its first midnight (aware, UTC), a working day."""

    tenant: MadeUpTenant
    seed: int
    day: datetime

    def at(self, days: float, hours: float = 0.0) -> datetime:
        """Return the moment so long after the attack's first midnight, to the second."""
        return self.day + timedelta(seconds=round((days * 24 + hours) * 3600))

    @property
    def staff(self) -> tuple[Mailbox, ...]:
        """Return the mailboxes of ordinary people."""
        return self.tenant.staff


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """One sign-in. ``table`` is the one that it is in; ``user`` is "" for an application's."""

    at: datetime
    table: str
    user: str
    app: str
    address: str
    session: str
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnloggedReading:
    """From ``since`` on Exchange logs no reading of ``mailbox``, or none by ``reader``.

    ``until`` ends it. ``binds_only`` keeps synchronised folders, which are never throttled.
    """

    since: datetime
    mailbox: str = ""
    reader: str = ""
    until: datetime = NEVER
    binds_only: bool = False

    def hides(self, access: AuditEvent) -> bool:
        """Return whether *access*, which reads mail, is not logged."""
        reader = access.actor.upn if access.actor else ""
        return (
            self.since <= access.at < self.until
            and not (self.binds_only and access.client.sync)
            and (
                self.mailbox == access.mailbox.upn or (bool(self.reader) and self.reader == reader)
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """What an attack leaves in the tables, and what it takes out of them."""

    name: str
    title: str
    records: tuple[AuditRecord, ...]
    sign_ins: tuple[SignIn, ...] = ()
    unlogged: tuple[UnloggedReading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Somebody reads one mailbox for a while: ``count`` records from ``at`` on, ``hours`` long.

    ``reader`` None is a program by itself.
    """

    at: datetime
    mailbox: Mailbox
    reader: Mailbox | None
    client: Client
    address: str = ELSEWHERE
    count: int = 8
    hours: float = 2.0
    items: int = 6
    session: str = ""
    changes: AuditRecord = field(default_factory=dict)


def visited(world: World, visit: Visit) -> list[AuditRecord]:
    """Return the records of *visit*, in order of time; ``changes`` replaces fields of each."""
    dice = Dice(world.seed, "visit", visit.at, visit.mailbox.number, visit.client.name)
    seconds = sorted(dice.below(max(int(visit.hours * 3600), 1)) for _ in range(visit.count))
    records = []
    for second in [0, *seconds[1:]]:
        access = AuditEvent(
            at=visit.at + timedelta(seconds=second),
            mailbox=visit.mailbox,
            actor=visit.reader,
            client=visit.client,
            address=visit.address,
            items=visit.items,
            newest_age=1,
            session=visit.session,
            aad_session=visit.session,
        )
        record = mail_access.record(world.tenant, access, dice)
        records.append(_with_token(record, visit.session) | visit.changes)
    return records


def happened(record: Mapping[str, object]) -> datetime:
    """Return a record's time, aware, in UTC."""
    return parse_utc(str(record["CreationTime"]))


def token_of(session: str) -> str:
    """Return the id of the token that belongs to *session*."""
    return f"{session.replace('-', '')[:22]}AA".upper()


def _with_token(record: AuditRecord, session: str) -> AuditRecord:
    context = record.get("AppAccessContext")
    if isinstance(context, dict) and session:
        return {**record, "AppAccessContext": {**context, "UniqueTokenId": token_of(session)}}
    return record


def attack(
    name: str,
    title: str,
    records: Iterable[AuditRecord],
    *,
    sign_ins: Iterable[SignIn] = (),
    unlogged: Iterable[UnloggedReading] = (),
) -> Attack:
    """Return the attack with its records in the order of their time."""
    ordered = sorted(records, key=lambda record: str(record["CreationTime"]))
    return Attack(
        name=name,
        title=title,
        records=tuple(ordered),
        sign_ins=tuple(sign_ins),
        unlogged=tuple(unlogged),
    )


def user_sign_in(visit: Visit, table: str = "SigninLogs", seconds_before: int = 40) -> SignIn:
    """Return the sign-in that *visit*'s session began with."""
    return SignIn(
        at=visit.at - timedelta(seconds=seconds_before),
        table=table,
        user=visit.reader.upn if visit.reader else "",
        app=visit.client.caller,
        address=visit.address,
        session=visit.session,
        token=token_of(visit.session),
    )


def app_sign_in(visit: Visit) -> SignIn:
    """Return the sign-in of the program that *visit* is by."""
    return user_sign_in(visit, "AADServicePrincipalSignInLogs")


def all_visits(world: World, visits: Sequence[Visit]) -> list[AuditRecord]:
    """Return the records of all *visits*."""
    return [record for visit in visits for record in visited(world, visit)]
