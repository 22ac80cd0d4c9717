"""One reading of mail as an audit record, field by field as Exchange Online writes it."""

from __future__ import annotations

from datetime import timedelta

from mailvigil.lab.tenant.clients import BROWSERS, Client
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.event import AuditEvent, AuditRecord, message_id, written
from mailvigil.lab.tenant.people import Folder, MadeUpTenant

MESSAGES_A_DAY = 48
"""How many different messages a mailbox gets in a day: clients read the same ones again."""

OUTLOOK_VERSION = "16.0.18925.20138"


def record(tenant: MadeUpTenant, access: AuditEvent, dice: Dice) -> AuditRecord:
    """Return the audit record of *access*; *dice* settles its small print."""
    address = written(access.address, dice)
    return {
        **_opening(tenant, access, dice),
        **({"ClientIP": address} if access.client.sync else {}),
        "UserId": access.actor.upn if access.actor else access.client.caller,
        **_applications(access.client),
        "ClientIPAddress": address,
        **_client(access, dice),
        **_mailbox(tenant, access, dice),
        **_optional(access, dice),
        **(_synced(access, dice) if access.client.sync else _bound(access, dice)),
    }


def _opening(tenant: MadeUpTenant, access: AuditEvent, dice: Dice) -> AuditRecord:
    actor = access.actor
    return {
        "CreationTime": access.at.isoformat()[:19],
        "Id": dice.guid(),
        "Operation": "MailItemsAccessed",
        "OrganizationId": tenant.organization_id,
        "RecordType": 2 if access.client.sync else 50,
        "ResultStatus": "Succeeded",
        "UserKey": actor.user_key if actor else access.client.caller,
        "UserType": 0 if actor else 5,
        "Version": 1,
        "Workload": "Exchange",
    }


def _applications(client: Client) -> AuditRecord:
    shown = {"AppId": client.app_id, "ClientAppId": client.client_app_id}
    return {name: value for name, value in shown.items() if value}


def _client(access: AuditEvent, dice: Dice) -> AuditRecord:
    info = access.client.info
    if "{browser}" in info:
        owner = access.actor or access.mailbox
        info = info.format(browser=BROWSERS[owner.number % len(BROWSERS)])
    shown: dict[str, object] = {"ClientInfoString": info}
    if access.client.process:
        shown["ClientProcessName"] = access.client.process
        shown["ClientVersion"] = OUTLOOK_VERSION
    elif access.client.app_id and dice.chance(0.2):
        shown["ClientRequestId"] = dice.guid()
    return shown


def _mailbox(tenant: MadeUpTenant, access: AuditEvent, dice: Dice) -> AuditRecord:
    mailbox, actor = access.mailbox, access.actor
    return {
        "ExternalAccess": False,
        "InternalLogonType": 0,
        "LogonType": 1 if actor is None else 0 if actor is mailbox else 2,
        "LogonUserSid": actor.sid if actor else "S-1-5-18",
        "MailboxGuid": mailbox.guid,
        "MailboxOwnerSid": mailbox.sid,
        "MailboxOwnerUPN": mailbox.upn,
        "OperationProperties": _properties(access, dice),
        "OrganizationName": tenant.name,
        "OriginatingServer": f"{mailbox.server} (15.20.8835.{10 + access.at.day:03d})\r\n",
    }


def _properties(access: AuditEvent, dice: Dice) -> list[dict[str, str]]:
    pairs = [
        {"Name": "MailAccessType", "Value": "Sync" if access.client.sync else "Bind"},
        {"Name": "IsThrottled", "Value": str(access.throttled)},
    ]
    return pairs if dice.chance(0.8) else pairs[::-1]


def _optional(access: AuditEvent, dice: Dice) -> AuditRecord:
    shown: dict[str, object] = {}
    if access.session:
        shown["SessionId"] = access.session
    if access.token_tenant:
        shown["TokenTenantId"] = access.token_tenant
    if access.client.app_id and dice.chance(0.2):
        shown["AppAccessContext"] = _token(access, dice)
    return shown


def _token(access: AuditEvent, dice: Dice) -> AuditRecord:
    issued = access.at - timedelta(seconds=60 + dice.below(3_000))
    context = {
        "AADSessionId": access.aad_session,
        "APIId": access.client.client_app_id and access.client.app_id,
        "ClientAppId": access.client.client_app_id,
        "IssuedAtTime": issued.isoformat()[:19],
        "UniqueTokenId": f"{dice.hexed(16)}AA".upper(),
    }
    return {name: value for name, value in context.items() if value}


def _bound(access: AuditEvent, dice: Dice) -> AuditRecord:
    folders: dict[str, list[dict[str, object]]] = {}
    sized = dice.chance(0.25)
    chosen = access.mailbox.busy[0]
    for _ in range(access.items):
        if dice.chance(0.15):
            chosen = dice.pick(access.mailbox.busy)
        folders.setdefault(chosen.path, []).append(_item(access, dice, sized=sized))
    return {
        "Folders": [
            {"FolderItems": folders[folder.path], "Id": folder.id, "Path": folder.path}
            for folder in access.mailbox.busy
            if folder.path in folders
        ],
        "OperationCount": access.items,
    }


def _item(access: AuditEvent, dice: Dice, *, sized: bool) -> AuditRecord:
    age = int(dice.fraction() ** 3 * 10)
    number = dice.below(MESSAGES_A_DAY)
    shown: dict[str, object] = {
        "InternetMessageId": message_id(
            access.mailbox, access.at.toordinal() - access.newest_age - age, number
        )
    }
    if sized:
        size = 4_000 + dice.below(90_000)
        shown["SizeInBytes"] = float(size) if number % 8 == 0 else size
    return shown


def _synced(access: AuditEvent, dice: Dice) -> AuditRecord:
    box = access.mailbox
    folder = box.busy[0] if dice.chance(0.6) else dice.pick(box.busy)
    if dice.chance(box.filing):
        folder = dice.pick(box.seldom)
    return {"Item": {"Id": folder.id, "ParentFolder": parent_of(folder)}}


def parent_of(folder: Folder) -> AuditRecord:
    """Return a folder as a Sync record names it: every public one says this of its path."""
    return {"Id": folder.id, "Name": folder.name, "Path": "Not Available"}
