"""Attacks with forged and stolen tokens of people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from mailvigil.lab.tenant.attacks.story import (
    ELSEWHERE,
    Attack,
    UnloggedReading,
    Visit,
    World,
    all_visits,
    attack,
    user_sign_in,
    visited,
)
from mailvigil.lab.tenant.clients import ARCHIVE, MAC, OUTLOOK_SYNC, OWA_BEFORE, THUNDERBIRD, Client
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.mail_access import parent_of
from mailvigil.lab.tenant.people import Mailbox
from mailvigil.lab.tenant.uses import ARCHIVE_ADDRESS, habits

CONSUMER_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant of all personal Microsoft accounts."""

CALLER = "7ae974c5-1af7-4923-af3a-fb1fd14dcb7e"
"""A first-party app that keeps the settings of consumer Outlook."""

ADDRESSES = ("203.0.113.217", ELSEWHERE)

FORGED = Client(
    name="forged",
    info="Client=OWA;Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like "
    "Gecko) Chrome/109.0.0.0 Safari/537.36;",
    place="anywhere",
    app_id=CALLER,
    session=True,
)

FOREIGN_TOKENS = 0.3
"""The part of the forged tokens whose tenant the records name; the others name none."""

OUTLOOK = "5d661950-3475-41cd-a2c3-d671a3162bc1"
"""Microsoft's own id of Outlook clients that sign in by themselves: common, but not here."""

PARTNER_TENANT = "6f1d2b84-0c57-4e93-a8d6-94b07e35c1f2"
"""Made up: a tenant that has no business in this one."""

BINDS_BEFORE_THROTTLING = 1_000
"""Bind records of one mailbox in 24 hours after which Exchange stops to log them."""

BLIND = timedelta(hours=24)

SPRAYED = 200
SPRAYED_SHARE = 0.4
"""In a tenant too small for that many, this part of it."""


def storm_0558(
    world: World, days: Sequence[int] = (0, 1), foreign_tokens: float = FOREIGN_TOKENS
) -> Attack:
    """Return mail read on the web with forged tokens, as Storm-0558 did in 2023.

    The stolen signing key was one for consumer accounts. No sign-in precedes the reading, and
    the app id is Microsoft's own: known everywhere, new only as a reader of mail here. On the
    first of *days*, counted from the attack's first, three mailboxes are read, then two more.
    """
    dice = Dice(world.seed, "forged")
    records = [
        {**record, "TokenTenantId": CONSUMER_TENANT} if dice.chance(foreign_tokens) else record
        for record in all_visits(world, _forged(world, FORGED, days))
    ]
    return attack("storm-0558", "forged token on Outlook on the web (Storm-0558)", records)


def storm_0558_common_id(world: World) -> Attack:
    """Return the same with an id that is common elsewhere, and no other tenant in the token."""
    client = replace(FORGED, name="forged-common", app_id=OUTLOOK)
    title = "the same with a first-party id that is common elsewhere"
    return attack("storm-0558-common-id", title, all_visits(world, _forged(world, client, (0, 1))))


def _forged(world: World, client: Client, days: Sequence[int]) -> list[Visit]:
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
        for day in days
        for mailbox in world.tenant.executives[: 5 if day else 3]
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
    visit = _stolen(world, "bulk", owner, hours=1)
    title = "throttled bulk read of one mailbox"
    attack = _throttled(world, visit, "throttled-bulk-read", title)
    return replace(attack, sign_ins=(user_sign_in(visit),))


def archive_throttled(world: World) -> Attack:
    """Return the same as the approved archiving service does it, which is not an attack."""
    visit = Visit(
        at=world.at(0),
        mailbox=world.tenant.shared[0],
        reader=None,
        client=ARCHIVE,
        address=ARCHIVE_ADDRESS,
        items=2,
    )
    return _throttled(
        world, visit, "archive-throttled", "an approved program reads a mailbox again"
    )


def _throttled(world: World, visit: Visit, name: str, title: str) -> Attack:
    """Return *visit* as 1,000 records in five hours, the one that says so, and the silence."""
    many = visited(world, replace(visit, count=BINDS_BEFORE_THROTTLING, hours=5))
    ended = visit.at + timedelta(hours=5, minutes=6)
    last = visited(world, replace(visit, at=ended, count=1))[0]
    last["OperationProperties"] = [
        {"Name": "MailAccessType", "Value": "Bind"},
        {"Name": "IsThrottled", "Value": "True"},
    ]
    after = ended + timedelta(seconds=1)
    blind = UnloggedReading(
        since=after, mailbox=visit.mailbox.upn, until=ended + BLIND, binds_only=True
    )
    return attack(name, title, [*many, last], unlogged=[blind])


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
