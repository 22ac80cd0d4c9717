"""Who uses which mailbox with what, from where and on which days: ordinary life.

This is the one description of it. ``records`` draws records from it one by one, ``workspace_rows``
has DuckDB repeat them, ``bulk`` fills in copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from mailvigil.lab.tenant import mail_access
from mailvigil.lab.tenant.clients import (
    ARCHIVE,
    BILLING,
    CRM,
    CUSTOMERS,
    MIGRATION,
    OUTLOOK_BIND,
    OWA,
    OWA_AFTER,
    OWA_BEFORE,
    OWA_PROXY,
    PERSONAL,
    PHONES,
    TICKETS,
    VAULT,
    Client,
)
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.event import AuditEvent, AuditRecord, Writer
from mailvigil.lab.tenant.other_operations import OPERATIONS, licence_removed, sent, setting
from mailvigil.lab.tenant.people import FOLDERS, SELDOM, MadeUpTenant, Mailbox, tenant_of
from mailvigil.lab.tenant.profile import Profile

FOREVER = 10_000

LEARNING_DAYS = 7
"""Within these every ordinary client is at work, so that a rule can learn it."""

WEEKEND = 0.12
"""How much of a working day's mail is read on a Saturday or Sunday."""

WEEKENDS = 0.3
"""The chance that any is read then with one client."""

MONTH_END = 3
"""Days of a month that are its end."""

ON_LEAVE = 0.05
"""The chance that a person is away for one whole week, after the first."""

GOLDEN = 0.6180339887498949
"""Steps of this length spread mailboxes evenly over [0, 1), so shares hold for few too."""

SETTINGS_A_DAY = 3
_CLOUD = "2001:db8:4d53::"
"""The network of applications in a cloud, which stay where they are."""
_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_HOURS = {"desk": (6, 17), "phone": (5, 21), "anywhere": (6, 20), "cloud": (6, 20)}
ARCHIVE_ADDRESS = "198.51.100.240"
_ADDRESS_OF = {
    VAULT: ARCHIVE_ADDRESS,
    MIGRATION.app_id: "198.51.100.241",
    BILLING.app_id: "198.51.100.242",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One way in which one mailbox is used: ``event``, written by ``write``, on many days.

    It happens from ``first_day`` to ``last_day``, on each of the days of its ``rhythm`` (any:
    less on weekends, working, every, month-end) with the probability ``chance``, between the
    seconds ``opens`` and ``closes`` of the day (UTC), about ``mean`` times with up to ``items``
    accesses each. ``person`` numbers the one who may be on leave, -1 for a program. ``sign_in``
    says which table shows the sign-in (user, app, or ``""`` for none), ``session`` whose it is.
    ``filing`` is the part of what is synchronised that lies in seldom used folders. ``key``
    names the chance that settles the small print of ``sample``.
    """

    event: AuditEvent
    write: Writer
    key: tuple[object, ...]
    addresses: tuple[str, ...]
    opens: int
    closes: int
    mean: float
    items: int
    first_day: int = 0
    last_day: int = FOREVER
    rhythm: str = "any"
    chance: float = 1.0
    person: int = -1
    sign_in: str = ""
    session: str = ""
    own_session: bool = False
    sync: bool = False
    filing: float = 0.0

    def sample(self, tenant: MadeUpTenant) -> AuditRecord:
        """Return one record; its time, id, address and sessions are the caller's to set."""
        return self.write(tenant, self.event, Dice(*self.key))


@dataclass(frozen=True, slots=True)
class Habit:
    """A client that a person uses from some day on."""

    client: Client
    first_day: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """When the tenant accepts a caller: ``since`` is the time from the start of the profile."""

    caller: str
    owner: str
    reason: str
    since: timedelta


LONG_AGO = -timedelta(days=151)
"""For the demo since New Year."""


def approvals(profile: Profile) -> tuple[Approval, ...]:
    """Return the list of approved callers as its owner keeps it.

    What reads from the start is listed from the start. Where more ``changes``, the pilot of
    the customer database is approved two days after it began, the new id of Outlook on the web a
    day after the alert about it.
    """
    rollout, drift = timedelta(days=profile.rollout_day), timedelta(days=profile.drift_day)
    owner = "it@contoso.example"
    late = timedelta(days=2, hours=10) if profile.changes else timedelta()
    listed = (
        Approval(caller=VAULT, owner=owner, reason="archives all mail by law", since=LONG_AGO),
        Approval(
            caller=CRM,
            owner="sales@contoso.example",
            reason="customer database",
            since=rollout + late,
        ),
    )
    if not profile.changes:
        return listed
    return (
        *listed,
        Approval(caller=BILLING.app_id, owner=owner, reason="collects invoices", since=LONG_AGO),
        Approval(caller=MIGRATION.app_id, owner=owner, reason="moves mailboxes", since=LONG_AGO),
        Approval(
            caller=OWA,
            owner=owner,
            reason="Microsoft's new id",
            since=drift + timedelta(days=1, hours=10),
        ),
    )


def ordinary_life(profile: Profile) -> Iterator[Use]:
    """Yield all that is done in the tenant of *profile*, attacks excepted."""
    tenant = tenant_of(profile)
    for mailbox in tenant.people:
        stays = moves(profile, mailbox.number)
        for use in (*_personal(profile, mailbox), *_other_operations(profile, mailbox)):
            yield from _where(use, stays)
    yield from _delegated(profile, tenant)
    yield from _by_programs(profile, tenant)
    yield from _administered(profile, tenant)


@lru_cache(maxsize=8192)
def habits(seed: int, mailbox: Mailbox) -> tuple[Habit, ...]:
    """Return the clients of one person. About one in eight gets a new phone after a week."""
    dice = Dice(seed, "habits", mailbox.number)
    chosen = [client for client in PERSONAL if _dealt(seed, mailbox, client) < client.share]
    mine = [Habit(client) for client in chosen or [OWA_BEFORE]]
    others = [phone for phone in PHONES if phone not in chosen]
    if others and dice.chance(0.12):
        mine.append(Habit(dice.pick(others), first_day=LEARNING_DAYS + 1 + dice.below(20)))
    return tuple(mine)


def _dealt(seed: int, mailbox: Mailbox, client: Client) -> float:
    """Return where a mailbox falls in [0, 1). Clients with one ``info`` are dealt as one."""
    return (mailbox.number * GOLDEN + _offset(seed, client.info)) % 1.0


@lru_cache(maxsize=1024)
def _offset(seed: int, info: str) -> float:
    return Dice(seed, "deal", info).fraction()


def reads(mailbox: Mailbox, actor: Mailbox | None, client: Client, *key: object) -> Use:
    """Return the use of *mailbox* by *actor* (None: a program by itself) with *client*."""
    opens, closes = _HOURS[client.place] if actor else (0, 3)
    who = f"{actor.number}" if actor else client.name
    return Use(
        event=AuditEvent(
            at=_NOON,
            mailbox=mailbox,
            actor=actor,
            client=client,
            address="192.0.2.1",
            newest_age=0 if actor else 1,
            session="s" if client.session else "",
        ),
        write=mail_access.record,
        key=key,
        addresses=_addresses(actor, client, Dice(*key)),
        opens=opens * 3600,
        closes=closes * 3600,
        mean=1.0,
        items=3,
        rhythm="any" if client.place in {"phone", "anywhere"} else "working",
        person=actor.number if actor else -1,
        sign_in=("user" if actor else "app") if client.app_id else "",
        session=f"{who}/{client.name if client.app_id else client.info}",
        own_session=client.session,
        sync=client.sync,
        filing=mailbox.filing if client.sync else 0.0,
    )


def _addresses(actor: Mailbox | None, client: Client, dice: Dice) -> tuple[str, ...]:
    """Return where *actor* reads from with *client*: first the usual place."""
    if actor is None:
        return (_ADDRESS_OF.get(client.caller, "198.51.100.243"),)
    if client.place == "cloud":
        return (f"{_CLOUD}{1 + dice.below(250):x}",)
    if client.place == "phone":
        return actor.mobile_ip, actor.home_ip
    return actor.office_ip, actor.home_ip


def _personal(profile: Profile, mailbox: Mailbox) -> Iterator[Use]:
    """Yield a person's own clients; about one in eight gets a new phone in the month."""
    mine = habits(profile.seed, mailbox)
    total = sum(habit.client.weight for habit in mine)
    for habit in mine:
        key = (profile.seed, "use", mailbox.number, habit.client.name)
        use = replace(
            reads(mailbox, mailbox, habit.client, *key),
            mean=max(profile.reads_a_day * habit.client.weight / total, 1.0),
            first_day=habit.first_day,
            chance=0.9,
        )
        if habit.client is OWA_BEFORE:
            yield from _drifting(profile, use)
        else:
            yield use
        if use.sync and profile.changes:
            yield from _computers(profile, use)


def _drifting(profile: Profile, use: Use) -> Iterator[Use]:
    """Yield Outlook on the web: Microsoft replaces its id, mailbox by mailbox over eight days."""
    mailbox = use.event.mailbox
    changes = profile.drift_day + mailbox.number % 8
    after = reads(mailbox, mailbox, OWA_AFTER, *use.key, "after")
    proxy = reads(mailbox, mailbox, OWA_PROXY, *use.key, "proxy")
    yield replace(use, last_day=changes - 1)
    yield replace(after, mean=use.mean, chance=use.chance, first_day=changes)
    yield replace(proxy, mean=use.mean * 0.25, chance=0.5)


def _computers(profile: Profile, use: Use) -> Iterator[Use]:
    """Yield what a new computer downloads on its first day, for one in thirty: the whole mailbox.

    Most set it up in the office or at home, one in twenty elsewhere.
    """
    mailbox = use.event.mailbox
    dice = Dice(profile.seed, "computer", mailbox.number)
    if not dice.chance(_NEW_COMPUTER):
        return
    day, place = profile.learning + dice.below(12), dice.fraction()
    away = f"2001:db8:{0xF800 + dice.below(0x800):x}::{1 + dice.below(0xFFFE):x}"
    where = mailbox.office_ip if place < _OFFICE else mailbox.home_ip if place < _HOME else away
    parts = len(FOLDERS) + len(SELDOM)
    yield replace(
        use,
        addresses=(where,),
        first_day=day,
        last_day=day,
        rhythm="every",
        chance=1.0,
        mean=4.0 * parts,
        filing=len(SELDOM) / parts,
    )


_NEW_COMPUTER, _OFFICE, _HOME = 1 / 30, 0.6, 0.95


@dataclass(frozen=True, slots=True)
class Stay:
    """Where a person is for some days instead of the usual place: at home, or away from it."""

    first_day: int
    last_day: int
    address: str
    home: bool


def moves(profile: Profile, person: int) -> tuple[Stay, ...]:
    """Return the stays of one *person*, the first first.

    One in ten travels after the learning days, for up to four days, to one of the networks
    that 2,048 hotels have. One in ten gets another network at home, whose provider changed it.
    """
    dice = Dice(profile.seed, "moves", person)
    first = profile.learning + dice.below(max(profile.days - profile.learning, 1))
    if not profile.changes:
        return ()
    if dice.chance(_TRAVELS):
        hotel = f"2001:db8:{0xF000 + dice.below(0x800):x}::{1 + dice.below(0xFFFE):x}"
        return (Stay(first, first + dice.below(4), hotel, home=False),)
    if dice.chance(_RENUMBERED):
        home = f"2001:db8:{0xF800 + dice.below(0x800):x}::{1 + dice.below(0xFFFE):x}"
        return (Stay(first, FOREVER, home, home=True),)
    return ()


_TRAVELS, _RENUMBERED = 0.1, 0.1
_LEAVES, _ARRIVES = 14 * 3600, 16 * 3600
"""Seconds of the day at which a traveller closes the laptop, and opens it again elsewhere."""


def _where(use: Use, stays: Iterable[Stay]) -> Iterator[Use]:
    """Yield *use* in parts: before, during and after each of *stays*, at the place of each."""
    for stay in stays:
        if use.last_day < stay.first_day or use.addresses[0].startswith(_CLOUD):
            continue
        yield from _dated(use, use.first_day, stay.first_day - 1)
        for part in _dated(use, stay.first_day, stay.last_day):
            yield from _during(part, stay)
        use = replace(use, first_day=max(use.first_day, stay.last_day + 1))
    yield from _dated(use, use.first_day, use.last_day)


def _dated(use: Use, first: int, last: int) -> Iterator[Use]:
    """Yield *use* as far as it lies within those days."""
    first, last = max(use.first_day, first), min(use.last_day, last)
    if first <= last:
        yield replace(use, first_day=first, last_day=last)


def _during(use: Use, stay: Stay) -> Iterator[Use]:
    """Yield *use* during *stay*; a traveller leaves at noon of the first day, and signs in anew."""
    if stay.home:
        yield replace(use, addresses=(*use.addresses[:-1], stay.address))
        return
    away = replace(use, addresses=(stay.address,), session=f"{use.session}/away")
    for part in _dated(use, stay.first_day, stay.first_day):
        half = replace(away, mean=use.mean / 2, last_day=stay.first_day)
        yield replace(part, mean=use.mean / 2, closes=min(use.closes, _LEAVES))
        yield replace(half, opens=max(use.opens, _ARRIVES))
    yield from _dated(away, stay.first_day + 1, stay.last_day)


def _other_operations(profile: Profile, mailbox: Mailbox) -> Iterator[Use]:
    """Yield what a person does besides reading mail, on working days."""
    for operation, share in profile.operations:
        mean = profile.reads_a_day * share
        write = OPERATIONS[operation]
        yield Use(
            event=AuditEvent(at=_NOON, mailbox=mailbox, actor=mailbox, address=mailbox.office_ip),
            write=write,
            key=(profile.seed, "sends" if write is sent else operation, mailbox.number),
            addresses=(mailbox.office_ip,),
            opens=6 * 3600,
            closes=17 * 3600,
            mean=max(mean, 1.0),
            items=1,
            rhythm="working",
            chance=min(mean, 1.0),
            person=mailbox.number,
        )


def _delegated(profile: Profile, tenant: MadeUpTenant) -> Iterator[Use]:
    """Yield what people read for others: assistants and teams always, covers for one week."""
    helpers, staff = tenant.assistants, tenant.staff
    pairs = [(own, helpers[n % len(helpers)]) for n, own in enumerate(tenant.executives)]
    for place, shared in enumerate(tenant.shared):
        pairs += [(shared, staff[(place + turn * 3) % len(staff)]) for turn in range(2)]
    for mailbox, reader in pairs:
        yield _for_another(profile, mailbox, reader)
    for number in range(max(len(staff) // 100, 1) if profile.changes else 0):
        dice = Dice(profile.seed, "cover", number)
        away, cover = dice.pick(staff), dice.pick(staff)
        first = profile.learning + dice.below(max(profile.days - profile.learning - 5, 1))
        if away is not cover:
            use = _for_another(profile, away, cover)
            yield replace(use, first_day=first, last_day=first + 6)


def _for_another(profile: Profile, mailbox: Mailbox, reader: Mailbox) -> Use:
    key = (profile.seed, "for", mailbox.number, reader.number)
    client = Dice(*key).pick((OUTLOOK_BIND, OWA_BEFORE))
    return replace(reads(mailbox, reader, client, *key), mean=2.5, rhythm="working")


def _by_programs(profile: Profile, tenant: MadeUpTenant) -> Iterator[Use]:
    """Yield what programs read: the archive at night, tickets, customers by day, and jobs."""
    for mailbox in tenant.mailboxes:
        yield replace(_nightly(profile, mailbox, ARCHIVE), items=8, chance=0.5)
    if profile.changes:
        yield from _jobs(profile, tenant.staff)
    for shared in tenant.shared:
        yield replace(reads(shared, shared, TICKETS, profile.seed, shared.number), mean=6.0)
    for turn, mailbox in enumerate(tenant.staff[::5]):
        wave = 0 if turn < _PILOT else 4 if turn % 4 == 0 else 7
        use = reads(mailbox, mailbox, CUSTOMERS, profile.seed, "crm", mailbox.number)
        yield replace(use, mean=2.0, first_day=profile.rollout_day + wave)


_PILOT = 3


def _jobs(profile: Profile, staff: tuple[Mailbox, ...]) -> Iterator[Use]:
    """Yield the invoices collected at the end of the month, and mailboxes as they are moved."""
    for mailbox in staff[::25]:
        use = _nightly(profile, mailbox, BILLING)
        yield replace(use, mean=3.0, items=30, rhythm="month-end")
    moved = staff[3 :: max(len(staff) // max(len(staff) // 50, 1), 1)]
    for turn, mailbox in enumerate(moved):
        night = profile.learning + 1 + turn % max(profile.days - profile.learning - 2, 1)
        use = _nightly(profile, mailbox, MIGRATION)
        yield replace(use, mean=60.0, items=40, first_day=night, last_day=night)


def _nightly(profile: Profile, mailbox: Mailbox, client: Client) -> Use:
    use = reads(mailbox, None, client, profile.seed, client.name, mailbox.number)
    return replace(use, rhythm="every")


def _administered(profile: Profile, tenant: MadeUpTenant) -> Iterator[Use]:
    """Yield what administrators change: a leaver's licence every few days, settings every day."""
    dice = Dice(profile.seed, "administered")
    leavers = max(profile.days * len(tenant.staff) // 100_000, 1) if profile.changes else 0
    for number in range(leavers):
        day = (number + 1) * profile.days // (leavers + 1)
        use = _changed(profile, dice.pick(tenant.staff), licence_removed)
        yield replace(use, first_day=day, last_day=day)
    for _ in range(SETTINGS_A_DAY):
        yield _changed(profile, dice.pick(tenant.mailboxes), setting)


def _changed(profile: Profile, mailbox: Mailbox, write: Writer) -> Use:
    """Return a change to *mailbox* that is made once a day."""
    return Use(
        event=AuditEvent(at=_NOON, mailbox=mailbox, actor=None, address="192.0.2.9"),
        write=write,
        key=(profile.seed, write.__name__, mailbox.number),
        addresses=("192.0.2.9",),
        opens=8 * 3600,
        closes=15 * 3600,
        mean=1.0,
        items=1,
        rhythm="every",
    )
