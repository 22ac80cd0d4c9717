"""Who uses which mailbox with what, and when, in an ordinary month with the drift of real ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mailvigil.lab.tenant import background, mail_access, traffic
from mailvigil.lab.tenant.clients import (
    ARCHIVE,
    BILLING,
    CRM,
    CUSTOMERS,
    GRAPH,
    MIGRATION,
    OUTLOOK_BIND,
    OWA,
    OWA_AFTER,
    OWA_BEFORE,
    OWA_PROXY,
    TICKETS,
    VAULT,
    Client,
)
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.mail_access import Access
from mailvigil.lab.tenant.people import FOLDERS, SELDOM, SHARED, Mailbox, Tenant

RECORDS_A_DAY = 8.0
"""Records of mail read by a person on a working day, over all clients."""

FOREVER = 10_000
_CLOUD = "2001:db8:4d53::"
"""The network of applications in a cloud, which stay where they are."""
_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_HOURS = {"desk": (6, 17), "phone": (5, 21), "anywhere": (6, 20), "cloud": (6, 20)}
_OFFICE_OF = {
    VAULT: "198.51.100.240",
    MIGRATION.app_id: "198.51.100.241",
    BILLING.app_id: "198.51.100.242",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One way in which one mailbox is used: ``record``, repeated over days.

    It happens from ``first_day`` to ``last_day``, on each of the days of its ``rhythm`` (any:
    less on weekends, working, every, month-end) with the probability ``chance``, between the
    seconds ``opens`` and ``closes`` of the day (UTC), about ``mean`` times with up to ``items``
    accesses each. ``person`` numbers the one who may be on leave, -1 for a program. ``sign_in``
    says which table shows the sign-in (user, app, or ``""`` for none), ``session`` whose it is.
    ``filing`` is the part of what is synchronised that lies in seldom used folders.
    """

    record: dict[str, object]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """When the owner of the watchlist puts a caller on it: ``day`` and ``hour`` (UTC)."""

    caller: str
    owner: str
    reason: str
    day: int
    hour: int = 10


def approvals(learning: int) -> tuple[Approval, ...]:
    """Return the watchlist as its owner keeps it; days count from the start of the month.

    Three programs stand there from the start. A pilot of the customer database is approved two
    days after it began, the new id of Outlook on the web a day after the alert about it.
    """
    drift, rollout = _drift_day(learning), _rollout_day(learning)
    owner = "it@contoso.example"
    return (
        Approval(caller=VAULT, owner=owner, reason="archives all mail by law", day=0),
        Approval(caller=BILLING.app_id, owner=owner, reason="collects invoices", day=0),
        Approval(caller=MIGRATION.app_id, owner=owner, reason="moves mailboxes", day=0),
        Approval(caller=CRM, owner=owner, reason="customer database", day=rollout + 2),
        Approval(caller=OWA, owner=owner, reason="Microsoft's new id", day=drift + 1),
    )


def of_month(tenant: Tenant, seed: int, days: int, learning: int) -> Iterator[Use]:
    """Yield all that is done in a month; what drifts does so after the *learning* days.

    People travel and get new networks at home.
    """
    for mailbox in tenant.mailboxes[: -len(SHARED)]:
        own = _personal(tenant, mailbox, seed, learning)
        stays = moves(seed, mailbox.number, days, learning)
        yield from (part for use in own for part in _where(use, stays))
        yield from _where(_sends(tenant, mailbox, seed), stays)
    yield from _delegated(tenant, seed, days, learning)
    yield from _by_programs(tenant, seed, days, learning)
    yield from _administered(tenant, seed, days)


def _drift_day(learning: int) -> int:
    return learning + 2


def _rollout_day(learning: int) -> int:
    return learning + 1


def reads(
    tenant: Tenant, mailbox: Mailbox, reader: Mailbox | None, client: Client, dice: Dice
) -> Use:
    """Return the use of *mailbox* by *reader* (None: a program by itself) with *client*."""
    opens, closes = _HOURS[client.place]
    if reader:
        places: tuple[str, ...] = (reader.office_ip, reader.home_ip)
        places = (reader.mobile_ip, reader.home_ip) if client.place == "phone" else places
        places = (f"{_CLOUD}{1 + dice.below(250):x}",) if client.place == "cloud" else places
    else:
        opens, closes = 0, 3
        places = (_OFFICE_OF.get(client.client_app_id or client.app_id, "198.51.100.243"),)
    record = read_record(tenant, mailbox, reader, client, dice)
    who = f"{reader.number}" if reader else client.name
    return Use(
        record=record,
        addresses=places,
        opens=opens * 3600,
        closes=closes * 3600,
        mean=1.0,
        items=3,
        rhythm="any" if client.place in {"phone", "anywhere"} else "working",
        person=reader.number if reader else -1,
        sign_in=("user" if reader else "app") if client.app_id else "",
        session=f"{who}/{client.name if client.app_id else client.info}",
        own_session=client.session,
        sync=client.sync,
        filing=mailbox.filing if client.sync else 0.0,
    )


def read_record(
    tenant: Tenant, mailbox: Mailbox, reader: Mailbox | None, client: Client, dice: Dice
) -> dict[str, object]:
    """Return one record of it; its time, id, address and messages are the caller's to set."""
    access = Access(
        at=_NOON,
        mailbox=mailbox,
        reader=reader,
        client=client,
        address="192.0.2.1",
        items=1,
        newest_day=_NOON.toordinal(),
        session="s" if client.session else "",
    )
    record = mail_access.record(tenant, access, dice)
    if reader is None and client.app_id == GRAPH:
        record |= {"UserId": client.client_app_id, "UserKey": client.client_app_id}
    return record


def _personal(tenant: Tenant, mailbox: Mailbox, seed: int, learning: int) -> Iterator[Use]:
    """Yield a person's own clients; about one in eight gets a new phone in the month."""
    mine = traffic.habits(seed, mailbox)
    total = sum(habit.client.weight for habit in mine)
    for habit in mine:
        dice = Dice(seed, "use", mailbox.number, habit.client.name)
        use = replace(
            reads(tenant, mailbox, mailbox, habit.client, dice),
            mean=max(RECORDS_A_DAY * habit.client.weight / total, 1.0),
            first_day=habit.first_day,
            chance=0.9,
        )
        if habit.client is OWA_BEFORE:
            yield from _drifting(tenant, mailbox, use, learning, dice)
        else:
            yield use
        if use.sync:
            yield from _computers(use, mailbox, seed, learning)


def _computers(use: Use, mailbox: Mailbox, seed: int, learning: int) -> Iterator[Use]:
    """Yield what a new computer downloads on its first day, for one in thirty: the whole mailbox.

    Most set it up in the office or at home, one in twenty elsewhere.
    """
    dice = Dice(seed, "computer", mailbox.number)
    if not dice.chance(_NEW_COMPUTER):
        return
    day, place = learning + dice.below(12), dice.fraction()
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


def moves(seed: int, person: int, days: int, learning: int) -> tuple[Stay, ...]:
    """Return the stays of one *person*, the first first.

    One in ten travels after the *learning* days, for up to four days, to one of the networks
    that 2,048 hotels have. One in ten gets another network at home, whose provider changed it.
    """
    dice = Dice(seed, "moves", person)
    first = learning + dice.below(max(days - learning, 1))
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


def _drifting(
    tenant: Tenant, mailbox: Mailbox, use: Use, learning: int, dice: Dice
) -> Iterator[Use]:
    """Yield Outlook on the web: Microsoft replaces its id, mailbox by mailbox over eight days."""
    changes = _drift_day(learning) + mailbox.number % 8
    after = reads(tenant, mailbox, mailbox, OWA_AFTER, dice)
    proxy = reads(tenant, mailbox, mailbox, OWA_PROXY, dice)
    yield replace(use, last_day=changes - 1)
    yield replace(use, record=after.record, session=after.session, first_day=changes)
    yield replace(proxy, mean=use.mean * 0.25, chance=0.5)


def _sends(tenant: Tenant, mailbox: Mailbox, seed: int) -> Use:
    dice = Dice(seed, "sends", mailbox.number)
    return Use(
        record=background.sent(tenant, mailbox, _NOON, "", dice),
        addresses=(mailbox.office_ip,),
        opens=6 * 3600,
        closes=17 * 3600,
        mean=1.0,
        items=1,
        rhythm="working",
        person=mailbox.number,
    )


def _delegated(tenant: Tenant, seed: int, days: int, learning: int) -> Iterator[Use]:
    """Yield what people read for others: assistants and teams always, covers for one week."""
    helpers = tenant.assistants
    staff = tenant.mailboxes[len(tenant.executives) + len(helpers) : -len(SHARED)]
    pairs = [(own, helpers[n % len(helpers)]) for n, own in enumerate(tenant.executives)]
    for place, shared in enumerate(tenant.mailboxes[-len(SHARED) :]):
        pairs += [(shared, staff[(place + turn * 3) % len(staff)]) for turn in range(2)]
    for mailbox, reader in pairs:
        yield _for_another(tenant, mailbox, reader, seed)
    for number in range(max(len(staff) // 100, 1)):
        dice = Dice(seed, "cover", number)
        away, cover = dice.pick(staff), dice.pick(staff)
        first = learning + dice.below(max(days - learning - 5, 1))
        if away is not cover:
            use = _for_another(tenant, away, cover, seed)
            yield replace(use, first_day=first, last_day=first + 6)


def _for_another(tenant: Tenant, mailbox: Mailbox, reader: Mailbox, seed: int) -> Use:
    dice = Dice(seed, "for", mailbox.number, reader.number)
    client = dice.pick((OUTLOOK_BIND, OWA_BEFORE))
    return replace(reads(tenant, mailbox, reader, client, dice), mean=2.5, rhythm="working")


def _by_programs(tenant: Tenant, seed: int, days: int, learning: int) -> Iterator[Use]:
    everyone, staff = tenant.mailboxes, tenant.mailboxes[7 : -len(SHARED)]
    yield from _nightly(tenant, everyone, ARCHIVE, seed, mean=1.0, items=8, chance=0.5)
    yield from _nightly(tenant, staff[::25], BILLING, seed, mean=3.0, items=30, rhythm="month-end")
    moved = staff[3 :: max(len(staff) // max(len(staff) // 50, 1), 1)]
    for turn, mailbox in enumerate(moved):
        night = learning + 1 + turn % max(days - learning - 2, 1)
        for use in _nightly(tenant, (mailbox,), MIGRATION, seed, mean=60.0, items=40):
            yield replace(use, first_day=night, last_day=night)
    for shared in everyone[-len(SHARED) :]:
        yield replace(reads(tenant, shared, shared, TICKETS, Dice(seed, shared.number)), mean=6.0)
    for turn, mailbox in enumerate(staff[::5]):
        wave = 0 if turn < _PILOT else 4 if turn % 4 == 0 else 7
        use = reads(tenant, mailbox, mailbox, CUSTOMERS, Dice(seed, "crm", mailbox.number))
        yield replace(use, mean=2.0, first_day=_rollout_day(learning) + wave)


_PILOT = 3


def _nightly(  # noqa: PLR0913 - a job in words
    tenant: Tenant,
    mailboxes: Iterable[Mailbox],
    client: Client,
    seed: int,
    *,
    mean: float,
    items: int,
    chance: float = 1.0,
    rhythm: str = "every",
) -> Iterator[Use]:
    for mailbox in mailboxes:
        use = reads(tenant, mailbox, None, client, Dice(seed, client.name, mailbox.number))
        yield replace(use, mean=mean, items=items, chance=chance, rhythm=rhythm)


def _administered(tenant: Tenant, seed: int, days: int) -> Iterator[Use]:
    """Yield what administrators change: a leaver's licence every few days, settings every day."""
    dice = Dice(seed, "administered")
    staff = tenant.mailboxes[7 : -len(SHARED)]
    leavers = max(days * len(staff) // 100_000, 1)
    once = Use(record={}, addresses=("192.0.2.9",), opens=8 * 3600, closes=15 * 3600, mean=1.0,
        items=1, rhythm="every")  # fmt: skip
    for number in range(leavers):
        record = background.licence_removed(tenant, dice.pick(staff), _NOON, dice)
        day = (number + 1) * days // (leavers + 1)
        yield replace(once, record=record, first_day=day, last_day=day)
    for _ in range(background.SETTINGS_A_DAY):
        record = background.setting(tenant, dice.pick(tenant.mailboxes), _NOON, dice)
        yield replace(once, record=record)
