"""Attacks with forged and stolen tokens of people."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from mailvigil.lab.tenant.attacks.story import (
    Attack,
    Unlogged,
    Visit,
    World,
    all_visits,
    attack,
    user_sign_in,
    visited,
)
from mailvigil.lab.tenant.clients import MAC, OUTLOOK_SYNC, OWA_BEFORE, THUNDERBIRD, Client
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.intrusion import ADDRESSES, CONSUMER_TENANT, FORGED
from mailvigil.lab.tenant.mail_access import parent_of
from mailvigil.lab.tenant.people import Mailbox
from mailvigil.lab.tenant.traffic import BINDS_BEFORE_THROTTLING, BLIND, habits

OUTLOOK = "5d661950-3475-41cd-a2c3-d671a3162bc1"
"""Microsoft's own id of Outlook clients that sign in by themselves: common, but not here."""

PARTNER_TENANT = "6f1d2b84-0c57-4e93-a8d6-94b07e35c1f2"
"""Made up: a tenant that has no business in this one."""

SPRAYED = 200
SPRAYED_SHARE = 0.4
"""In a tenant too small for that many, this part of it."""


def storm_0558(world: World) -> Attack:
    """Forged consumer tokens on Outlook on the web, no sign-in, an id new as a reader here."""
    visits = _forged(world, FORGED)
    dice = Dice(world.seed, "forged")
    records = [
        {**record, "TokenTenantId": CONSUMER_TENANT} if dice.chance(0.3) else record
        for record in all_visits(world, visits)
    ]
    return attack("storm-0558", "forged token on Outlook on the web (Storm-0558)", records)


def storm_0558_common_id(world: World) -> Attack:
    """Return the same with an id that is common elsewhere, and no other tenant in the token."""
    client = replace(FORGED, name="forged-common", app_id=OUTLOOK)
    title = "the same with a first-party id that is common elsewhere"
    return attack("storm-0558-common-id", title, all_visits(world, _forged(world, client)))


def _forged(world: World, client: Client) -> list[Visit]:
    dice = Dice(world.seed, client.name)
    return [
        Visit(
            at=world.at(day, 1 + dice.fraction()),
            mailbox=mailbox,
            reader=mailbox,
            client=client,
            address=dice.pick(ADDRESSES),
            hours=6.0,
            session=dice.guid(),
        )
        for day in (0, 1)
        for mailbox in world.tenant.executives[: 3 + 2 * day]
    ]


def phished_session(world: World) -> Attack:
    """Return a session phished through a proxy: the tenant's usual client, another network."""
    visit = _stolen(world, "phished", world.staff[11], hours=13)
    title = "phished session, common client, new network"
    records = visited(world, replace(visit, count=40, hours=3.0))
    return attack("phished-session", title, records, sign_ins=[user_sign_in(visit)])


def synced_mailbox(world: World) -> Attack:
    """Return a whole mailbox downloaded by desktop Outlook, folder by folder."""
    owner = world.tenant.executives[1]
    visit = replace(_stolen(world, "synced", owner, hours=20), client=OUTLOOK_SYNC, count=1)
    records = [
        {**visited(world, replace(visit, at=world.at(0, 20 + place / 60)))[0], "Item": {
            "Id": folder.id,
            "ParentFolder": parent_of(folder),
        }}
        for place, folder in enumerate(owner.folders)
    ]  # fmt: skip
    return attack("sync-of-a-mailbox", "Sync of a whole mailbox from a new network", records,
        sign_ins=[user_sign_in(visit)])  # fmt: skip


def throttled_bulk(world: World) -> Attack:
    """Return a mailbox read message by message until Exchange stops to log it for a day."""
    owner = world.staff[17]
    visit = replace(_stolen(world, "bulk", owner, hours=1), count=BINDS_BEFORE_THROTTLING, hours=5)
    records = visited(world, visit)
    ended = world.at(0, 6.1)
    last = visited(world, replace(visit, at=ended, count=1))[0]
    last["OperationProperties"] = [
        {"Name": "MailAccessType", "Value": "Bind"},
        {"Name": "IsThrottled", "Value": "True"},
    ]
    after = ended + timedelta(seconds=1)
    blind = Unlogged(since=after, mailbox=owner.upn, until=ended + BLIND, binds_only=True)
    return attack("throttled-bulk-read", "throttled bulk read of one mailbox", [*records, last],
        sign_ins=[user_sign_in(visit)], unlogged=[blind])  # fmt: skip


def foreign_token(world: World) -> Attack:
    """Return mail read with a token that another tenant issued, by the tenant's usual client."""
    visits = [
        replace(
            _stolen(world, f"foreign-{mailbox.number}", mailbox, hours=9),
            changes={"TokenTenantId": PARTNER_TENANT},
        )
        for mailbox in world.tenant.executives[2:4]
    ]
    return attack("foreign-token", "token of another tenant", all_visits(world, visits))


def ews_script(world: World) -> Attack:
    """Return a script that reads by Exchange Web Services with a phished Office token."""
    script = Client(
        name="script",
        info="Client=WebServices;python-requests/2.32.3;",
        place="anywhere",
        app_id=MAC.app_id,
    )
    owner = next(m for m in world.staff[20:] if MAC not in _clients(world, m))
    visit = replace(_stolen(world, "script", owner, hours=3), client=script, count=60, items=20)
    return attack("ews-script", "EWS by a script with a phished token", visited(world, visit),
        sign_ins=[user_sign_in(visit)])  # fmt: skip


def spray(world: World) -> Attack:
    """Return a password spray that worked: IMAP with a common program in many mailboxes."""
    people = world.staff[: min(SPRAYED, int(len(world.staff) * SPRAYED_SHARE))]
    imap = Client(
        name="spray",
        info="Client=POP3/IMAP4;Protocol=IMAP4",
        place="anywhere",
        app_id=THUNDERBIRD,
    )
    visits = [
        replace(
            _stolen(world, f"spray-{mailbox.number}", mailbox, hours=2 + turn * 6 / len(people)),
            client=imap,
            address=f"2001:db8:bad:{turn % 4:x}::{turn + 1:x}",
            count=2,
            hours=0.1,
        )
        for turn, mailbox in enumerate(people)
    ]
    return attack("spray", "spray over 200 mailboxes with one program", all_visits(world, visits),
        sign_ins=[user_sign_in(visit) for visit in visits])  # fmt: skip


def _clients(world: World, mailbox: Mailbox) -> list[Client]:
    return [habit.client for habit in habits(world.seed, mailbox)]


def _stolen(world: World, name: str, owner: Mailbox, hours: float) -> Visit:
    session = Dice(world.seed, name).guid()
    return Visit(
        at=world.at(0, hours), mailbox=owner, reader=owner, client=OWA_BEFORE, session=session
    )
