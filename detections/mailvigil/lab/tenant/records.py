"""The audit records of a tenant over its days, in the order in which they reach the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import itemgetter

from mailvigil.lab.tenant import mail_access
from mailvigil.lab.tenant.attacks.story import Attack, World, happened
from mailvigil.lab.tenant.attacks.token_theft import (
    ADDRESSES,
    CALLER,
    archive_throttled,
    storm_0558,
)
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.event import AuditEvent, AuditRecord
from mailvigil.lab.tenant.people import tenant_of
from mailvigil.lab.tenant.profile import Profile
from mailvigil.lab.tenant.uses import (
    LEARNING_DAYS,
    MONTH_END,
    ON_LEAVE,
    WEEKEND,
    WEEKENDS,
    Use,
    ordinary_life,
)

Timed = tuple[datetime, AuditRecord]
"""When a record reaches the log, and the record."""

WITHOUT_ADDRESS = 0.003
"""The part of the records of mail read that name no address."""

SHOWN_TOKENS = 0.3
"""The parts of those with a sign-in that show its session, and the token's tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intrusion:
    """What a hunt should find. ``first`` and ``last`` bound the reading: [first, last)."""

    caller: str
    protocol: str
    mailboxes: tuple[str, ...]
    addresses: tuple[str, ...]
    first: datetime
    last: datetime


def records(profile: Profile) -> Iterator[AuditRecord]:
    """Yield the records of *profile* in the order they reach the log.

    That is by CreationTime, but for repeats: a record with the Id of an earlier one comes
    up to an hour late.
    """
    uses, attacks = tuple(ordinary_life(profile)), attacks_of(profile)
    late: list[Timed] = []
    for day in range(profile.days):
        fresh = [*_ordinary(profile, uses, attacks, day), *_attacked(profile, attacks, day)]
        events = sorted([*late, *fresh, *_repeated(profile, fresh, day)], key=itemgetter(0))
        ends = profile.midnight(day + 1)
        late = [event for event in events if event[0] >= ends]
        yield from (record for at, record in events if at < ends)
    yield from (record for _, record in late)


def attacks_of(profile: Profile) -> tuple[Attack, ...]:
    """Return what happens besides ordinary life: the intrusion, and a mailbox throttled."""
    return tuple(attack for attack in (_storm(profile), _throttled(profile)) if attack)


def intrusion_facts(profile: Profile) -> Intrusion | None:
    """Return what a hunt should find, or None when the profile has no intruder."""
    attack = _storm(profile)
    if attack is None:
        return None
    return Intrusion(
        caller=CALLER,
        protocol="OWA",
        mailboxes=tuple(dict.fromkeys(str(r["MailboxOwnerUPN"]) for r in attack.records)),
        addresses=ADDRESSES,
        first=happened(attack.records[0]),
        last=happened(attack.records[-1]) + timedelta(seconds=1),
    )


def throttled_mailbox(profile: Profile) -> str | None:
    """Return the owner's name of the mailbox that is throttled, or None."""
    attack = _throttled(profile)
    return attack.unlogged[0].mailbox if attack else None


def _storm(profile: Profile) -> Attack | None:
    days = [day for day in profile.intrusion_days if day < profile.days and profile.works(day)]
    if not days:
        return None
    later = [day - days[0] for day in days]
    return storm_0558(_world(profile, days[0]), later, profile.foreign_tokens)


def _throttled(profile: Profile) -> Attack | None:
    day = profile.throttled_day
    if day is None or day >= profile.days:
        return None
    return archive_throttled(_world(profile, day))


def _world(profile: Profile, day: int) -> World:
    return World(tenant_of(profile), profile.seed, profile.midnight(day))


def _attacked(profile: Profile, attacks: tuple[Attack, ...], day: int) -> list[Timed]:
    begins, ends = profile.midnight(day), profile.midnight(day + 1)
    timed = ((happened(record), record) for attack in attacks for record in attack.records)
    return [(at, record) for at, record in timed if begins <= at < ends]


def _ordinary(
    profile: Profile, uses: tuple[Use, ...], attacks: tuple[Attack, ...], day: int
) -> Iterator[Timed]:
    tenant = tenant_of(profile)
    unlogged = [part for attack in attacks for part in attack.unlogged]
    for number, use in enumerate(uses):
        # Its own dice for each use and day: one more use leaves the others as they were.
        dice = Dice(profile.seed, "day", day, number)
        if not _happens(profile, use, day, dice):
            continue
        for event in events(profile, use, day, dice):
            if not any(part.hides(event) for part in unlogged if _is_read(use)):
                yield event.at, use.write(tenant, event, dice)


def _is_read(use: Use) -> bool:
    return use.write is mail_access.record


def _happens(profile: Profile, use: Use, day: int, dice: Dice) -> bool:
    """Return whether *use* happens on *day*. ``workspace_rows`` says the same in SQL."""
    if not use.first_day <= day <= use.last_day or not dice.chance(use.chance):
        return False
    if use.rhythm == "month-end":
        return (profile.midnight(day) + timedelta(days=MONTH_END)).day <= MONTH_END
    if use.rhythm != "every" and not profile.works(day):
        return use.rhythm == "any" and dice.chance(WEEKENDS) and not _is_away(profile, use, day)
    return not _is_away(profile, use, day)


def _is_away(profile: Profile, use: Use, day: int) -> bool:
    """Return whether the person is on leave that week; no one is in the first."""
    week = Dice(profile.seed, "leave", use.person, day // 7)
    return use.person >= 0 and day >= LEARNING_DAYS and week.chance(ON_LEAVE)


def events(profile: Profile, use: Use, day: int, dice: Dice) -> Iterator[AuditEvent]:
    """Yield the events of *use* on *day*: from one address, in one session."""
    quiet = use.rhythm == "any" and not profile.works(day)
    count = max(dice.about(use.mean * (WEEKEND if quiet else 1.0)), 1)
    address = use.addresses[-1] if dice.chance(0.3) else use.addresses[0]
    session = dice.guid() if use.own_session else ""
    for _ in range(count):
        hump = (dice.fraction() + dice.fraction()) / 2
        second = int(use.opens + (use.closes - use.opens) * hump)
        event = replace(
            use.event,
            at=profile.midnight(day) + timedelta(seconds=second),
            address=address,
            items=1 + dice.below(use.items),
            session=session,
        )
        yield (
            _with_token(profile, use, event, dice)
            if _is_read(use)
            else replace(event, aad_session=_sign_in(profile, use, day))
        )


def _with_token(profile: Profile, use: Use, event: AuditEvent, dice: Dice) -> AuditEvent:
    """Return *event* with what its record shows of the token: most show nothing."""
    day = (event.at - profile.start).days
    session = use.sign_in == "user" and dice.chance(SHOWN_TOKENS)
    tenant = use.sign_in and dice.chance(SHOWN_TOKENS)
    return replace(
        event,
        address="" if dice.chance(WITHOUT_ADDRESS) else event.address,
        aad_session=_sign_in(profile, use, day) if session else "",
        token_tenant=tenant_of(profile).organization_id if tenant else "",
    )


def _sign_in(profile: Profile, use: Use, day: int) -> str:
    """Return the sign-in session that the person holds on *day*."""
    return Dice(profile.seed, "sign-in", use.person, day).guid()


def _repeated(profile: Profile, events: list[Timed], day: int) -> list[Timed]:
    """Return some of the day's records again, each up to an hour late."""
    dice = Dice(profile.seed, "repeats", day)
    return [
        (at + timedelta(seconds=dice.below(3_600)), record)
        for at, record in events
        if dice.chance(profile.repeats)
    ]
