"""What else stands in an audit log: mail sent and deleted, sign-ins, files, settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache

from mailvigil.lab.tenant.clients import BROWSERS, EXCHANGE, OFFICE, OWA
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.mail_access import message_id, written
from mailvigil.lab.tenant.people import Mailbox, Tenant

Timed = tuple[datetime, dict[str, object]]
"""When a record's event happened, and the record."""

SYSTEM = "NT AUTHORITY\\SYSTEM (Microsoft.Exchange.ServiceHost)"

SETTINGS_A_DAY = 3


@lru_cache(maxsize=1024)
def aad_session(seed: int, number: int, day: int) -> str:
    """Return the sign-in session that mailbox *number*'s owner holds on *day*."""
    return Dice(seed, "sign-in", number, day).guid()


def of_person(
    tenant: Tenant, mailbox: Mailbox, moments: list[datetime], session: str, dice: Dice
) -> Iterator[Timed]:
    """Yield one record a moment, each of some kind; the first is the day's sign-in."""
    for place, at in enumerate(moments):
        kind = _signed_in if place == 0 else dice.pick(_KINDS)
        yield at, kind(tenant, mailbox, at, session, dice)


def of_tenant(tenant: Tenant, midnight: datetime, dice: Dice) -> Iterator[Timed]:
    """Yield the settings that the service changes by itself on one day."""
    for _ in range(SETTINGS_A_DAY):
        at = midnight + timedelta(seconds=dice.below(86_000))
        mailbox = dice.pick(tenant.mailboxes)
        yield at, setting(tenant, mailbox, at, dice)


def _opening(
    tenant: Tenant, at: datetime, operation: str, kind: int, dice: Dice
) -> dict[str, object]:
    return {
        "CreationTime": at.isoformat()[:19],
        "Id": dice.guid(),
        "Operation": operation,
        "OrganizationId": tenant.organization_id,
        "RecordType": kind,
        "Version": 1,
    }


def _signed_in(
    tenant: Tenant, mailbox: Mailbox, at: datetime, session: str, dice: Dice
) -> dict[str, object]:
    opening = _opening(tenant, at, "UserLoggedIn", 15, dice)
    agent = BROWSERS[mailbox.number % len(BROWSERS)]
    return {
        **opening,
        "ResultStatus": "Success",
        "UserKey": mailbox.object_id,
        "UserType": 0,
        "Workload": "AzureActiveDirectory",
        "ClientIP": mailbox.home_ip if dice.chance(0.3) else mailbox.office_ip,
        "ObjectId": EXCHANGE,
        "UserId": mailbox.upn,
        "AzureActiveDirectoryEventType": 1,
        "ExtendedProperties": [
            {"Name": "ResultStatusDetail", "Value": "Success"},
            {"Name": "UserAgent", "Value": agent},
            {"Name": "RequestType", "Value": "OAuth2:Authorize"},
        ],
        "ModifiedProperties": [],
        "Actor": [{"ID": mailbox.object_id, "Type": 0}, {"ID": mailbox.upn, "Type": 5}],
        "ActorContextId": tenant.organization_id,
        "IntraSystemId": opening["Id"],
        "Target": [{"ID": EXCHANGE, "Type": 0}],
        "TargetContextId": tenant.organization_id,
        "ApplicationId": dice.pick((OFFICE, OWA, EXCHANGE)),
        "DeviceProperties": [{"Name": "SessionId", "Value": session}],
        "ErrorNumber": "0",
    }


def _mailbox_record(
    tenant: Tenant, mailbox: Mailbox, at: datetime, operation: str, kind: int, dice: Dice
) -> dict[str, object]:
    address = written(mailbox.office_ip, dice)
    return {
        **_opening(tenant, at, operation, kind, dice),
        "ResultStatus": "Succeeded",
        "UserKey": mailbox.user_key,
        "UserType": 0,
        "Workload": "Exchange",
        "ClientIP": address,
        "UserId": mailbox.upn,
        "AppId": EXCHANGE,
        "ClientIPAddress": address,
        "ClientInfoString": f"Client=OWA;{BROWSERS[mailbox.number % len(BROWSERS)]};",
        "ExternalAccess": False,
        "InternalLogonType": 0,
        "LogonType": 0,
        "LogonUserSid": mailbox.sid,
        "MailboxGuid": mailbox.guid,
        "MailboxOwnerSid": mailbox.sid,
        "MailboxOwnerUPN": mailbox.upn,
        "OrganizationName": tenant.name,
        "OriginatingServer": f"{mailbox.server} (15.20.8835.{10 + at.day:03d})\r\n",
    }


def _item(mailbox: Mailbox, at: datetime, folder: int, dice: Dice) -> dict[str, object]:
    parent = mailbox.folders[folder]
    return {
        "Id": f"RgAAAAD{dice.hexed(40)}AAAJ",
        "InternetMessageId": message_id(mailbox, at.toordinal(), 64 + dice.below(64)),
        "ParentFolder": {"Id": parent.id, "Path": parent.path},
        "SizeInBytes": 2_000 + dice.below(60_000),
        "Subject": dice.pick(SUBJECTS),
    }


SUBJECTS = ("Minutes", "RE: offer", "Travel in July", "Invoice 4711", "Draft agenda", "FW: photos")


def sent(
    tenant: Tenant, mailbox: Mailbox, at: datetime, session: str, dice: Dice
) -> dict[str, object]:
    """Return the record of a message that *mailbox*'s owner sent at *at* (UTC)."""
    return {
        **_mailbox_record(tenant, mailbox, at, "Send", 2, dice),
        "SessionId": session,
        "Item": _item(mailbox, at, 2, dice),
    }


def _moved(
    tenant: Tenant, mailbox: Mailbox, at: datetime, session: str, dice: Dice
) -> dict[str, object]:
    inbox, bin_ = mailbox.folders[0], mailbox.folders[3]
    return {
        **_mailbox_record(tenant, mailbox, at, "MoveToDeletedItems", 3, dice),
        "SessionId": session,
        "AffectedItems": [_item(mailbox, at, 0, dice) for _ in range(1 + dice.below(3))],
        "CrossMailboxOperation": False,
        "DestFolder": {"Id": bin_.id, "Path": bin_.path},
        "Folder": {"Id": inbox.id, "Path": inbox.path},
    }


def _deleted(
    tenant: Tenant, mailbox: Mailbox, at: datetime, session: str, dice: Dice
) -> dict[str, object]:
    bin_ = mailbox.folders[3]
    return {
        **_mailbox_record(tenant, mailbox, at, "HardDelete", 3, dice),
        "SessionId": session,
        "AffectedItems": [_item(mailbox, at, 3, dice)],
        "CrossMailboxOperation": False,
        "Folder": {"Id": bin_.id, "Path": bin_.path},
    }


def _opened(
    tenant: Tenant, mailbox: Mailbox, at: datetime, session: str, dice: Dice
) -> dict[str, object]:
    person = mailbox.upn.replace("@", "_").replace(".", "_")
    site = f"https://contoso-my.sharepoint.example/personal/{person}/"
    file = dice.pick(("Budget.xlsx", "Plan.docx", "Offer.pdf"))
    return {
        **_opening(tenant, at, "FileAccessed", 6, dice),
        "UserKey": f"i:0h.f|membership|{mailbox.user_key.lower()}@live.com",
        "UserType": 0,
        "Workload": "OneDrive",
        "ClientIP": mailbox.office_ip,
        "ObjectId": f"{site}Documents/{file}",
        "UserId": mailbox.upn,
        "CorrelationId": dice.guid(),
        "EventSource": "SharePoint",
        "ItemType": "File",
        "UserAgent": BROWSERS[mailbox.number % len(BROWSERS)],
        "AppAccessContext": {"AADSessionId": session, "CorrelationId": dice.guid()},
        "SiteUrl": site,
        "SourceFileName": file,
        "SourceRelativeUrl": "Documents",
    }


def licence_removed(
    tenant: Tenant, mailbox: Mailbox, at: datetime, dice: Dice
) -> dict[str, object]:
    """Return the record of a licence that an administrator took from *mailbox*'s owner.

    Its values follow Microsoft's documentation: no public record of it was there to look at.
    """
    return {
        **_opening(tenant, at, "Update user.", 8, dice),
        "ResultStatus": "Success",
        "UserKey": "10032000ADMIN@contoso.example",
        "UserType": 0,
        "Workload": "AzureActiveDirectory",
        "ClientIP": "192.0.2.9",
        "ObjectId": mailbox.upn,
        "UserId": ADMIN,
        "AzureActiveDirectoryEventType": 1,
        "ExtendedProperties": [],
        "ModifiedProperties": [
            {
                "Name": "AssignedLicense",
                "OldValue": '["[SkuName=SPE_E5, DisabledPlans=[]]"]',
                "NewValue": "[]",
            },
            {"Name": "Included Updated Properties", "OldValue": "", "NewValue": "AssignedLicense"},
        ],
    }


ADMIN = "admin@contoso.example"


def setting(tenant: Tenant, mailbox: Mailbox, at: datetime, dice: Dice) -> dict[str, object]:
    """Return the record of a setting that the service changed by itself at *at* (UTC)."""
    return {
        **_opening(tenant, at, "Set-Mailbox", 1, dice),
        "ResultStatus": "True",
        "UserKey": SYSTEM,
        "UserType": 3,
        "Workload": "Exchange",
        "ObjectId": mailbox.upn,
        "UserId": SYSTEM,
        "AppId": "",
        "ClientAppId": "",
        "ExternalAccess": True,
        "OrganizationName": tenant.name,
        "OriginatingServer": f"{mailbox.server} (15.20.8835.{10 + at.day:03d})",
        "Parameters": [
            {"Name": "Force", "Value": "True"},
            {"Name": "Identity", "Value": mailbox.upn},
            {"Name": "UseDatabaseQuotaDefaults", "Value": "False"},
        ],
    }


_Kind = Callable[[Tenant, Mailbox, datetime, str, Dice], dict[str, object]]

_KINDS: tuple[_Kind, ...] = (sent, sent, _moved, _moved, _deleted, _opened, _opened, _signed_in)
