"""The intrusion: mail read on the web with a forged token, as Storm-0558 did in 2023.

The stolen signing key was one for consumer accounts. No sign-in precedes the reading,
and the app id is Microsoft's own: known everywhere, new only as a reader of mail here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailvigil.lab.tenant.clients import Client
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.mail_access import Access
from mailvigil.lab.tenant.people import Mailbox, Tenant
from mailvigil.lab.tenant.plan import Scenario
from mailvigil.lab.tenant.traffic import is_working_day, midnight

CONSUMER_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant of all personal Microsoft accounts."""

CALLER = "7ae974c5-1af7-4923-af3a-fb1fd14dcb7e"
"""A first-party app that keeps the settings of consumer Outlook."""

ADDRESSES = ("203.0.113.217", "2001:db8:bad:7::19")

FORGED = Client(
    name="forged",
    info="Client=OWA;Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like "
    "Gecko) Chrome/109.0.0.0 Safari/537.36;",
    place="anywhere",
    app_id=CALLER,
    session=True,
)

OPENS, CLOSES = 1, 10
"""Hours of UTC: nine to six, eight hours east."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intrusion:
    """What a hunt should find. ``first`` and ``last`` bound the reading: [first, last)."""

    caller: str
    protocol: str
    mailboxes: tuple[str, ...]
    addresses: tuple[str, ...]
    first: datetime
    last: datetime


def facts(scenario: Scenario, tenant: Tenant) -> Intrusion | None:
    """Return what the intruder does in *scenario*, or None when there is no intruder."""
    days = _days(scenario)
    if not days:
        return None
    return Intrusion(
        caller=CALLER,
        protocol="OWA",
        mailboxes=tuple(mailbox.upn for mailbox in tenant.executives),
        addresses=ADDRESSES,
        first=midnight(scenario, days[0]) + timedelta(hours=OPENS),
        last=midnight(scenario, days[-1]) + timedelta(hours=CLOSES),
    )


def of_day(scenario: Scenario, tenant: Tenant, day: int) -> Iterator[Access]:
    """Yield what the intruder reads on *day*: three mailboxes first, then two more."""
    days = _days(scenario)
    if day not in days:
        return
    victims = tenant.executives[:3] if day == days[0] and len(days) > 1 else tenant.executives
    for mailbox in victims:
        yield from _reads(scenario, mailbox, day)


def _days(scenario: Scenario) -> list[int]:
    last = min(scenario.intrusion_day + scenario.intrusion_days, scenario.days)
    wanted = range(scenario.intrusion_day, last) if scenario.intrusion else ()
    return [day for day in wanted if is_working_day(scenario, day)]


def _reads(scenario: Scenario, mailbox: Mailbox, day: int) -> Iterator[Access]:
    dice = Dice(scenario.seed, "intruder", day, mailbox.number)
    session = dice.guid()
    for _ in range(6 + dice.below(7)):
        second = OPENS * 3600 + dice.below((CLOSES - OPENS) * 3600)
        at = midnight(scenario, day) + timedelta(seconds=second)
        yield Access(
            at=at,
            mailbox=mailbox,
            reader=mailbox,
            client=FORGED,
            address=dice.pick(ADDRESSES),
            items=3 + dice.below(8),
            newest_day=at.toordinal() - 1,
            session=session,
            token_tenant=CONSUMER_TENANT if dice.chance(scenario.foreign_token_share) else "",
        )
