"""Records of other operations than reading: mail sent and deleted, sign-ins, files, settings."""

from __future__ import annotations

from collections.abc import Mapping

from mailvigil.lab.tenant.clients import BROWSERS, EXCHANGE, OFFICE, OWA
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.event import AuditEvent, AuditRecord, Writer, message_id, written
from mailvigil.lab.tenant.people import MadeUpTenant

ADMIN = "admin@contoso.example"

SYSTEM = "NT AUTHORITY\\SYSTEM (Microsoft.Exchange.ServiceHost)"

SUBJECTS = ("Minutes", "RE: offer", "Travel in July", "Invoice 4711", "Draft agenda", "FW: photos")


def _opening(
    tenant: MadeUpTenant, event: AuditEvent, operation: str, kind: int, dice: Dice
) -> AuditRecord:
    return {
        "CreationTime": event.at.isoformat()[:19],
        "Id": dice.guid(),
        "Operation": operation,
        "OrganizationId": tenant.organization_id,
        "RecordType": kind,
        "Version": 1,
    }


def _signed_in(tenant: MadeUpTenant, event: AuditEvent, dice: Dice) -> AuditRecord:
    mailbox, opening = event.mailbox, _opening(tenant, event, "UserLoggedIn", 15, dice)
    agent = BROWSERS[mailbox.number % len(BROWSERS)]
    return {
        **opening,
        "ResultStatus": "Success",
        "UserKey": mailbox.object_id,
        "UserType": 0,
        "Workload": "AzureActiveDirectory",
        "ClientIP": event.address,
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
        "DeviceProperties": [{"Name": "SessionId", "Value": event.aad_session}],
        "ErrorNumber": "0",
    }


def _mailbox_record(
    tenant: MadeUpTenant, event: AuditEvent, operation: str, kind: int, dice: Dice
) -> AuditRecord:
    mailbox, address = event.mailbox, written(event.address, dice)
    return {
        **_opening(tenant, event, operation, kind, dice),
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
        "OriginatingServer": f"{mailbox.server} (15.20.8835.{10 + event.at.day:03d})\r\n",
    }


def _item(event: AuditEvent, folder: int, dice: Dice) -> AuditRecord:
    parent = event.mailbox.folders[folder]
    return {
        "Id": f"RgAAAAD{dice.hexed(40)}AAAJ",
        "InternetMessageId": message_id(event.mailbox, event.at.toordinal(), 64 + dice.below(64)),
        "ParentFolder": {"Id": parent.id, "Path": parent.path},
        "SizeInBytes": 2_000 + dice.below(60_000),
        "Subject": dice.pick(SUBJECTS),
    }


def sent(tenant: MadeUpTenant, event: AuditEvent, dice: Dice) -> AuditRecord:
    """Return the record of a message that the mailbox's owner sent."""
    return {
        **_mailbox_record(tenant, event, "Send", 2, dice),
        "SessionId": event.aad_session,
        "Item": _item(event, 2, dice),
    }


def _moved(tenant: MadeUpTenant, event: AuditEvent, dice: Dice) -> AuditRecord:
    inbox, bin_ = event.mailbox.folders[0], event.mailbox.folders[3]
    return {
        **_mailbox_record(tenant, event, "MoveToDeletedItems", 3, dice),
        "SessionId": event.aad_session,
        "AffectedItems": [_item(event, 0, dice) for _ in range(1 + dice.below(3))],
        "CrossMailboxOperation": False,
        "DestFolder": {"Id": bin_.id, "Path": bin_.path},
        "Folder": {"Id": inbox.id, "Path": inbox.path},
    }


def _deleted(tenant: MadeUpTenant, event: AuditEvent, dice: Dice) -> AuditRecord:
    bin_ = event.mailbox.folders[3]
    return {
        **_mailbox_record(tenant, event, "HardDelete", 3, dice),
        "SessionId": event.aad_session,
        "AffectedItems": [_item(event, 3, dice)],
        "CrossMailboxOperation": False,
        "Folder": {"Id": bin_.id, "Path": bin_.path},
    }


def _opened(tenant: MadeUpTenant, event: AuditEvent, dice: Dice) -> AuditRecord:
    mailbox = event.mailbox
    person = mailbox.upn.replace("@", "_").replace(".", "_")
    site = f"https://contoso-my.sharepoint.example/personal/{person}/"
    file = dice.pick(("Budget.xlsx", "Plan.docx", "Offer.pdf"))
    return {
        **_opening(tenant, event, "FileAccessed", 6, dice),
        "UserKey": f"i:0h.f|membership|{mailbox.user_key.lower()}@live.com",
        "UserType": 0,
        "Workload": "OneDrive",
        "ClientIP": event.address,
        "ObjectId": f"{site}Documents/{file}",
        "UserId": mailbox.upn,
        "CorrelationId": dice.guid(),
        "EventSource": "SharePoint",
        "ItemType": "File",
        "UserAgent": BROWSERS[mailbox.number % len(BROWSERS)],
        "AppAccessContext": {"AADSessionId": event.aad_session, "CorrelationId": dice.guid()},
        "SiteUrl": site,
        "SourceFileName": file,
        "SourceRelativeUrl": "Documents",
    }


def licence_removed(tenant: MadeUpTenant, event: AuditEvent, dice: Dice) -> AuditRecord:
    """Return the record of a licence that an administrator removed from the mailbox's owner.

    Its values follow Microsoft's documentation: no public record of it was available.
    """
    return {
        **_opening(tenant, event, "Update user.", 8, dice),
        "ResultStatus": "Success",
        "UserKey": "10032000ADMIN@contoso.example",
        "UserType": 0,
        "Workload": "AzureActiveDirectory",
        "ClientIP": "192.0.2.9",
        "ObjectId": event.mailbox.upn,
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


def setting(tenant: MadeUpTenant, event: AuditEvent, dice: Dice) -> AuditRecord:
    """Return the record of a setting that the service changed by itself."""
    mailbox = event.mailbox
    return {
        **_opening(tenant, event, "Set-Mailbox", 1, dice),
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
        "OriginatingServer": f"{mailbox.server} (15.20.8835.{10 + event.at.day:03d})",
        "Parameters": [
            {"Name": "Force", "Value": "True"},
            {"Name": "Identity", "Value": mailbox.upn},
            {"Name": "UseDatabaseQuotaDefaults", "Value": "False"},
        ],
    }


OPERATIONS: Mapping[str, Writer] = {
    "Send": sent,
    "MoveToDeletedItems": _moved,
    "HardDelete": _deleted,
    "FileAccessed": _opened,
    "UserLoggedIn": _signed_in,
}
"""What a person does besides reading mail, by its operation."""
