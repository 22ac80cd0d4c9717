"""One reading of mail as an audit record, field by field as Exchange Online writes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailvigil.lab.tenant.clients import BROWSERS, Client
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.people import Folder, Mailbox, Tenant

MESSAGES_A_DAY = 48
"""How many different messages a mailbox gets in a day: clients read the same ones again."""

ODD_ADDRESS, WITH_PORT = 0.09, 0.06
"""The parts of all addresses that are not written bare, and that carry a port."""

OUTLOOK_VERSION = "16.0.18925.20138"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Someone reads some messages of one mailbox.

    ``at`` is UTC. ``reader`` is the mailbox's owner, a delegate, or None for an app that
    acts without a user. ``newest_day`` numbers the day of the newest message read.
    ``items`` is ignored for a synchronised folder. ``aad_session`` and ``token_tenant``
    are left out of the record when empty.
    """

    at: datetime
    mailbox: Mailbox
    reader: Mailbox | None
    client: Client
    address: str
    items: int
    newest_day: int
    session: str = ""
    aad_session: str = ""
    token_tenant: str = ""
    throttled: bool = False


def record(tenant: Tenant, access: Access, dice: Dice) -> dict[str, object]:
    """Return the audit record of *access*; *dice* settles its small print."""
    address = written(access.address, dice)
    return {
        **_opening(tenant, access, dice),
        **({"ClientIP": address} if access.client.sync else {}),
        "UserId": access.reader.upn if access.reader else access.client.app_id,
        **_applications(access.client),
        "ClientIPAddress": address,
        **_client(access, dice),
        **_mailbox(tenant, access, dice),
        **_optional(access, dice),
        **(_synced(access, dice) if access.client.sync else _bound(access, dice)),
    }


def written(address: str, dice: Dice) -> str:
    """Return *address* as one of the ways records write it: bare, with port, in brackets."""
    luck = dice.fraction()
    if luck >= ODD_ADDRESS or not address:
        return address
    six = ":" in address
    if luck < WITH_PORT:
        port = 1_024 + dice.below(60_000)
        return f"[{address}]:{port}" if six else f"{address}:{port}"
    if six:
        return f"[{address}]"
    return f"::ffff:{address}"


def message_id(mailbox: Mailbox, day: int, number: int) -> str:
    """Return the Internet message id of one message: the same for the same arguments."""
    mixed = ((mailbox.number << 24) + ((day & 0xFFFF) << 8) + number + 1) * _MIXER % (1 << 96)
    return f"<{mailbox.server}{mixed:024X}@{mailbox.server}.eurprd04.prod.outlook.com>"


_MIXER = 0x9E3779B97F4A7C15F39CC061
"""Odd, so that multiplying modulo 2**96 never makes two messages one."""


def _opening(tenant: Tenant, access: Access, dice: Dice) -> dict[str, object]:
    reader = access.reader
    return {
        "CreationTime": access.at.isoformat()[:19],
        "Id": dice.guid(),
        "Operation": "MailItemsAccessed",
        "OrganizationId": tenant.organization_id,
        "RecordType": 2 if access.client.sync else 50,
        "ResultStatus": "Succeeded",
        "UserKey": reader.user_key if reader else access.client.app_id,
        "UserType": 0 if reader else 5,
        "Version": 1,
        "Workload": "Exchange",
    }


def _applications(client: Client) -> dict[str, object]:
    shown = {"AppId": client.app_id, "ClientAppId": client.client_app_id}
    return {name: value for name, value in shown.items() if value}


def _client(access: Access, dice: Dice) -> dict[str, object]:
    info = access.client.info
    if "{browser}" in info:
        owner = access.reader or access.mailbox
        info = info.format(browser=BROWSERS[owner.number % len(BROWSERS)])
    shown: dict[str, object] = {"ClientInfoString": info}
    if access.client.process:
        shown["ClientProcessName"] = access.client.process
        shown["ClientVersion"] = OUTLOOK_VERSION
    elif access.client.app_id and dice.chance(0.2):
        shown["ClientRequestId"] = dice.guid()
    return shown


def _mailbox(tenant: Tenant, access: Access, dice: Dice) -> dict[str, object]:
    mailbox, reader = access.mailbox, access.reader
    return {
        "ExternalAccess": False,
        "InternalLogonType": 0,
        "LogonType": 1 if reader is None else 0 if reader is mailbox else 2,
        "LogonUserSid": reader.sid if reader else "S-1-5-18",
        "MailboxGuid": mailbox.guid,
        "MailboxOwnerSid": mailbox.sid,
        "MailboxOwnerUPN": mailbox.upn,
        "OperationProperties": _properties(access, dice),
        "OrganizationName": tenant.name,
        "OriginatingServer": f"{mailbox.server} (15.20.8835.{10 + access.at.day:03d})\r\n",
    }


def _properties(access: Access, dice: Dice) -> list[dict[str, str]]:
    pairs = [
        {"Name": "MailAccessType", "Value": "Sync" if access.client.sync else "Bind"},
        {"Name": "IsThrottled", "Value": str(access.throttled)},
    ]
    return pairs if dice.chance(0.8) else pairs[::-1]


def _optional(access: Access, dice: Dice) -> dict[str, object]:
    shown: dict[str, object] = {}
    if access.session:
        shown["SessionId"] = access.session
    if access.token_tenant:
        shown["TokenTenantId"] = access.token_tenant
    if access.client.app_id and dice.chance(0.2):
        shown["AppAccessContext"] = _token(access, dice)
    return shown


def _token(access: Access, dice: Dice) -> dict[str, object]:
    issued = access.at - timedelta(seconds=60 + dice.below(3_000))
    context = {
        "AADSessionId": access.aad_session,
        "APIId": access.client.client_app_id and access.client.app_id,
        "ClientAppId": access.client.client_app_id,
        "IssuedAtTime": issued.isoformat()[:19],
        "UniqueTokenId": f"{dice.hexed(16)}AA".upper(),
    }
    return {name: value for name, value in context.items() if value}


def _bound(access: Access, dice: Dice) -> dict[str, object]:
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


def _item(access: Access, dice: Dice, *, sized: bool) -> dict[str, object]:
    age = int(dice.fraction() ** 3 * 10)
    number = dice.below(MESSAGES_A_DAY)
    shown: dict[str, object] = {
        "InternetMessageId": message_id(access.mailbox, access.newest_day - age, number)
    }
    if sized:
        size = 4_000 + dice.below(90_000)
        shown["SizeInBytes"] = float(size) if number % 8 == 0 else size
    return shown


def _synced(access: Access, dice: Dice) -> dict[str, object]:
    box = access.mailbox
    folder = box.busy[0] if dice.chance(0.6) else dice.pick(box.busy)
    if dice.chance(box.filing):
        folder = dice.pick(box.seldom)
    return {"Item": {"Id": folder.id, "ParentFolder": parent_of(folder)}}


def parent_of(folder: Folder) -> dict[str, object]:
    """Return a folder as a Sync record names it: every public one says this of its path."""
    return {"Id": folder.id, "Name": folder.name, "Path": "Not Available"}
