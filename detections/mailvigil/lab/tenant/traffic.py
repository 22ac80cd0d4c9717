"""Ordinary life: who reads which mail with what, on one day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from mailvigil.lab.tenant.background import aad_session
from mailvigil.lab.tenant.clients import (
    ARCHIVE,
    CUSTOMERS,
    OUTLOOK_BIND,
    OWA_AFTER,
    OWA_BEFORE,
    OWA_PROXY,
    PERSONAL,
    PHONES,
    TICKETS,
    Client,
    Place,
)
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.mail_access import Access
from mailvigil.lab.tenant.people import SHARED, Mailbox, Tenant
from mailvigil.lab.tenant.plan import Scenario

GOLDEN = 0.6180339887498949
"""Steps of this length spread mailboxes evenly over [0, 1), so shares hold for few too."""

SATURDAY = 5

WEEKEND = 0.12
"""How much of a working day's mail is read on a Saturday or Sunday."""

LEARNING_DAYS = 7
"""Within these every ordinary client is at work, so that a rule can learn it."""

ON_LEAVE = 0.05
"""The chance that a person is away for one whole week."""

BINDS_BEFORE_THROTTLING = 1_000
"""Bind records of one mailbox in 24 hours after which Exchange stops to log them."""

BLIND = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Habit:
    """A client that a person uses from some day on."""

    client: Client
    first_day: int = 0


@dataclass(frozen=True, slots=True)
class Sitting:
    """Someone reads in one mailbox, with one client, *count* times on one day."""

    day: int
    mailbox: Mailbox
    reader: Mailbox
    client: Client
    count: int


def midnight(scenario: Scenario, day: int) -> datetime:
    """Return when *day* begins, in UTC."""
    return scenario.start + timedelta(days=day)


def is_working_day(scenario: Scenario, day: int) -> bool:
    """Return whether *day* is a Monday to Friday."""
    return midnight(scenario, day).weekday() < SATURDAY


def is_away(scenario: Scenario, mailbox: Mailbox, day: int) -> bool:
    """Return whether the mailbox's owner is on leave that week; nobody is in the first."""
    return day >= LEARNING_DAYS and Dice(scenario.seed, "leave", mailbox.number, day // 7).chance(
        ON_LEAVE
    )


@lru_cache(maxsize=8192)
def habits(seed: int, mailbox: Mailbox) -> tuple[Habit, ...]:
    """Return the clients of one person. About one in eight gets a new phone after a week."""
    dice = Dice(seed, "habits", mailbox.number)
    chosen = [client for client in PERSONAL if _dealt(seed, mailbox, client) < client.share]
    found = [Habit(client) for client in chosen or [OWA_BEFORE]]
    others = [phone for phone in PHONES if phone not in chosen]
    if others and dice.chance(0.12):
        found.append(Habit(dice.pick(others), first_day=LEARNING_DAYS + 1 + dice.below(20)))
    return tuple(found)


def of_day(scenario: Scenario, tenant: Tenant, day: int) -> Iterator[Access]:
    """Yield all that is read on *day*, in no order of time."""
    for mailbox in tenant.mailboxes[: -len(SHARED)]:
        yield from _personal(scenario, tenant, mailbox, day)
    yield from _archived(scenario, tenant, day)
    if is_working_day(scenario, day):
        yield from _delegated(scenario, tenant, day)
        yield from _by_apps(scenario, tenant, day)
    if day == scenario.throttled_day:
        yield from _burst(scenario, tenant)


def is_blind(scenario: Scenario, tenant: Tenant, access: Access) -> bool:
    """Return whether Exchange logs nothing of *access*, because its mailbox is throttled."""
    if scenario.throttled_day is None or access.client.sync or access.throttled:
        return False
    since = midnight(scenario, scenario.throttled_day) + BURST_ENDS
    return access.mailbox is throttled_mailbox(tenant) and since <= access.at < since + BLIND


def throttled_mailbox(tenant: Tenant) -> Mailbox:
    """Return the mailbox that is throttled, if any is: the first shared one."""
    return tenant.mailboxes[-len(SHARED)]


BURST_ENDS = timedelta(hours=5)


def moments(place: Place, count: int, start: datetime, dice: Dice) -> list[datetime]:
    """Return *count* times of one day, sorted: desk hours, or waking hours for a phone."""
    return sorted(start + timedelta(seconds=_second(place, dice)) for _ in range(count))


def _second(place: Place, dice: Dice) -> int:
    """Return a second of the day in UTC for people one hour east of it."""
    hump = (dice.fraction() + dice.fraction()) / 2
    if place == "phone":
        return int((5 + 16 * hump) * 3600)
    if dice.chance(0.45):
        return int((6.5 + 4.5 * hump) * 3600)
    return int((11.5 + 5 * hump) * 3600)


@lru_cache(maxsize=1024)
def _offset(seed: int, info: str) -> float:
    return Dice(seed, "deal", info).fraction()


def _dealt(seed: int, mailbox: Mailbox, client: Client) -> float:
    """Return where a mailbox falls in [0, 1). Clients with one ``info`` are dealt as one."""
    return (mailbox.number * GOLDEN + _offset(seed, client.info)) % 1.0


def _personal(scenario: Scenario, tenant: Tenant, mailbox: Mailbox, day: int) -> Iterator[Access]:
    if is_away(scenario, mailbox, day):
        return
    mine = habits(scenario.seed, mailbox)
    total = sum(habit.client.weight for habit in mine)
    working = is_working_day(scenario, day)
    for place, habit in enumerate(mine):
        if habit.first_day > day or (not working and habit.client.place in {"desk", "cloud"}):
            continue
        dice = Dice(scenario.seed, "day", day, mailbox.number, place)
        mean = scenario.records_per_mailbox_day * habit.client.weight / total
        count = dice.about(mean * (1.0 if working else WEEKEND))
        count = max(count, int(working and (day < LEARNING_DAYS or dice.chance(0.9))))
        sitting = Sitting(day, mailbox, mailbox, habit.client, count)
        yield from _readings(scenario, tenant, sitting, dice)


def _readings(scenario: Scenario, tenant: Tenant, sitting: Sitting, dice: Dice) -> Iterator[Access]:
    """Yield the readings of one sitting: from one address, in one session."""
    session, shown_from = dice.guid(), address(sitting.reader, sitting.client, dice)
    start = midnight(scenario, sitting.day)
    for at in moments(sitting.client.place, sitting.count, start, dice):
        shown = _shown_as(scenario, sitting, dice)
        known = bool(shown.app_id)
        yield Access(
            at=at,
            mailbox=sitting.mailbox,
            reader=sitting.reader,
            client=shown,
            address="" if dice.chance(0.003) else shown_from,
            items=1 + dice.below(3),
            newest_day=at.toordinal(),
            session=session if shown.session else "",
            aad_session=_sign_in(scenario, sitting) if known and dice.chance(0.3) else "",
            token_tenant=tenant.organization_id if known and dice.chance(0.3) else "",
        )


def _sign_in(scenario: Scenario, sitting: Sitting) -> str:
    return aad_session(scenario.seed, sitting.reader.number, sitting.day)


def _shown_as(scenario: Scenario, sitting: Sitting, dice: Dice) -> Client:
    """Return how the client shows. Outlook on the web's id drifts by mailbox over 8 days."""
    if sitting.client is not OWA_BEFORE:
        return sitting.client
    if dice.chance(0.25):
        return OWA_PROXY
    drifts = scenario.drift_day + sitting.mailbox.number % 8
    return OWA_AFTER if sitting.day >= drifts else OWA_BEFORE


def address(reader: Mailbox, client: Client, dice: Dice) -> str:
    """Return where *reader* reads from with *client*: the office, home, a phone network."""
    if client.place == "cloud":
        return f"2001:db8:4d53:{dice.below(64):x}::{1 + dice.below(250):x}"
    if client.place == "phone":
        return reader.home_ip if dice.chance(0.35) else reader.mobile_ip
    return reader.home_ip if dice.chance(0.3) else reader.office_ip


def _delegated(scenario: Scenario, tenant: Tenant, day: int) -> Iterator[Access]:
    """Yield what assistants read for the executives, and staff in the shared mailboxes."""
    helpers = tenant.assistants
    pairs = [(own, helpers[place % len(helpers)]) for place, own in enumerate(tenant.executives)]
    staff = tenant.mailboxes[len(tenant.executives) + len(helpers) : -len(SHARED)]
    for place, shared in enumerate(tenant.mailboxes[-len(SHARED) :]):
        pairs += [(shared, staff[(place + turn * len(SHARED)) % len(staff)]) for turn in range(2)]
    for mailbox, reader in pairs:
        dice = Dice(scenario.seed, "for", day, mailbox.number, reader.number)
        client = dice.pick((OUTLOOK_BIND, OWA_BEFORE))
        count = 1 + dice.below(4)
        sitting = Sitting(day, mailbox, reader, client, count)
        yield from _readings(scenario, tenant, sitting, dice)


def _by_apps(scenario: Scenario, tenant: Tenant, day: int) -> Iterator[Access]:
    """Yield what programs read for a user: tickets, and later the customer database."""
    uses = [(mailbox, TICKETS, 6) for mailbox in tenant.mailboxes[-len(SHARED) :]]
    if day >= scenario.rollout_day:
        users = tenant.mailboxes[2 : -len(SHARED) : 5]
        uses += [(mailbox, CUSTOMERS, 2) for mailbox in users]
    for mailbox, client, mean in uses:
        dice = Dice(scenario.seed, client.name, day, mailbox.number)
        count = dice.about(mean)
        sitting = Sitting(day, mailbox, mailbox, client, count)
        yield from _readings(scenario, tenant, sitting, dice)


def _archived(scenario: Scenario, tenant: Tenant, day: int) -> Iterator[Access]:
    """Yield what the archiving service reads at night, without a user: every other mailbox."""
    dice = Dice(scenario.seed, "archive", day)
    for mailbox in tenant.mailboxes[day % 2 :: 2]:
        second = 1_800 + dice.below(10_800)
        yield _archive_reads(scenario, mailbox, day, second, 4 + dice.below(5))


def _burst(scenario: Scenario, tenant: Tenant) -> Iterator[Access]:
    """Yield a whole mailbox read again, to the record that says it is throttled."""
    day = scenario.throttled_day or 0
    mailbox = throttled_mailbox(tenant)
    ends = int(BURST_ENDS.total_seconds())
    step = ends // (BINDS_BEFORE_THROTTLING + 2)
    for number in range(BINDS_BEFORE_THROTTLING):
        yield _archive_reads(scenario, mailbox, day, (number + 1) * step, 2)
    yield _archive_reads(scenario, mailbox, day, ends - 1, 2, throttled=True)


def _archive_reads(
    scenario: Scenario,
    mailbox: Mailbox,
    day: int,
    second: int,
    items: int,
    *,
    throttled: bool = False,
) -> Access:
    at = midnight(scenario, day) + timedelta(seconds=second)
    return Access(
        at=at,
        mailbox=mailbox,
        reader=None,
        client=ARCHIVE,
        address="198.51.100.240",
        items=items,
        newest_day=at.toordinal() - 1,
        throttled=throttled,
    )
