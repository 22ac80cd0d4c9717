"""Attacks by, or with the rights of, a member of the organisation."""

from __future__ import annotations

from datetime import datetime, timedelta

from mailvigil.lab.tenant.attacks.story import (
    Attack,
    UnloggedReading,
    Visit,
    World,
    all_visits,
    attack,
)
from mailvigil.lab.tenant.clients import OUTLOOK_BIND
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.event import AuditEvent, AuditRecord
from mailvigil.lab.tenant.other_operations import ADMIN, licence_removed


def delegate_abuse(world: World) -> Attack:
    """Return an administrator's colleague who gets full access to four mailboxes and reads them."""
    reader = world.staff[60]
    session = Dice(world.seed, "delegate").guid()
    victims = world.tenant.executives[:4]
    granted = [
        _command(
            world,
            world.at(0, 17 + turn / 60),
            "Add-MailboxPermission",
            victim.upn,
            {"Identity": victim.upn, "User": reader.upn, "AccessRights": "FullAccess"},
        )
        for turn, victim in enumerate(victims)
    ]
    visits = [
        Visit(
            at=world.at(0, 18 + turn / 2),
            mailbox=victim,
            reader=reader,
            client=OUTLOOK_BIND,
            address=reader.office_ip,
            count=15,
            session=session,
        )
        for turn, victim in enumerate(victims)
    ]
    title = "delegate abuse: full access granted, then used"
    return attack("delegate-abuse", title, [*granted, *all_visits(world, visits)])


def bypass_then_read(world: World) -> Attack:
    """Return an account that is put on the bypass list; what it reads then is not logged."""
    reader = world.staff[61]
    at = world.at(0, 16)
    record = _command(
        world,
        at,
        "Set-MailboxAuditBypassAssociation",
        f"EURPR04A001.PROD.OUTLOOK.COM/contoso.example/{reader.upn.partition('@')[0]}",
        {"Identity": reader.upn, "AuditBypassEnabled": "True"},
    )
    unlogged = UnloggedReading(since=at + timedelta(minutes=60), reader=reader.upn)
    title = "audit bypass set, then reading"
    return attack("bypass-then-read", title, [record], unlogged=[unlogged])


def licence_removed_then_read(world: World) -> Attack:
    """Return an executive whose licence is taken; what is read in the mailbox is not logged."""
    victim = world.tenant.executives[0]
    at = world.at(0, 15)
    event = AuditEvent(at=at, mailbox=victim, actor=None, address="")
    record = licence_removed(world.tenant, event, Dice(world.seed, "licence"))
    unlogged = UnloggedReading(since=at + timedelta(hours=1), mailbox=victim.upn)
    title = "licence removed, then reading"
    return attack("licence-removed-then-read", title, [record], unlogged=[unlogged])


def _command(
    world: World, at: datetime, operation: str, target: str, parameters: dict[str, str]
) -> AuditRecord:
    """Return the record of an Exchange command that an administrator ran."""
    return {
        "CreationTime": at.isoformat()[:19],
        "Id": Dice(world.seed, operation, target).guid(),
        "Operation": operation,
        "OrganizationId": world.tenant.organization_id,
        "RecordType": 1,
        "ResultStatus": "True",
        "UserKey": ADMIN,
        "UserType": 2,
        "Version": 1,
        "Workload": "Exchange",
        "ClientIP": "192.0.2.9:50213",
        "ObjectId": target,
        "UserId": ADMIN,
        "AppId": "",
        "ClientAppId": "",
        "ExternalAccess": False,
        "OrganizationName": world.tenant.name,
        "OriginatingServer": "AM0PR04MB4001 (15.20.8835.010)",
        "Parameters": [{"Name": name, "Value": value} for name, value in parameters.items()],
        "SessionId": "",
    }
