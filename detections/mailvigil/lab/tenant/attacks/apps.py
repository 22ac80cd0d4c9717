"""Attacks by applications: by a new consent, or by an approved one whose credential was stolen."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from mailvigil.lab.tenant.attacks.story import (
    ELSEWHERE,
    Attack,
    Visit,
    World,
    all_visits,
    app_sign_in,
    attack,
    user_sign_in,
)
from mailvigil.lab.tenant.clients import ARCHIVE, CUSTOMERS
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.event import AuditRecord
from mailvigil.lab.tenant.people import Mailbox

READER = replace(CUSTOMERS, name="reader", client_app_id="d94b1f63-5a7e-4c20-8f19-3e06b7a2c58d")
"""Made up: an application with Mail.Read for all mailboxes, whose secret leaked."""

PHISHER = replace(CUSTOMERS, name="phisher", client_app_id="17c8e2a0-94d3-4b6f-a5e7-c20f81b96d34")
"""Made up: "Mail Upgrade", to which people were tricked to consent."""

CLOUD = "2001:db8:c10d::7"


def slow_graph_app(world: World) -> Attack:
    """Return an application that reads three mailboxes a day, without a user, through Graph."""
    visits = [
        Visit(
            at=world.at(day, 11 + turn),
            mailbox=world.staff[30 + 3 * day + turn],
            reader=None,
            client=READER,
            address=CLOUD,
            count=5,
            session=Dice(world.seed, "slow", day).guid(),
        )
        for day in range(5)
        for turn in range(3)
    ]
    return attack("slow-graph-app", "app-only through Graph, 3 mailboxes a day",
        all_visits(world, visits), sign_ins=[app_sign_in(v) for v in visits])  # fmt: skip


def consent_phishing(world: World) -> Attack:
    """Return three people who consent to a made-up application, which then reads their mail."""
    records: list[AuditRecord] = []
    visits = []
    for turn, owner in enumerate(world.staff[50:53]):
        agreed = world.at(turn / 2, 10)
        session = Dice(world.seed, "consent", owner.number).guid()
        records.append(_consent(world, owner, agreed))
        visit = Visit(
            at=world.at(turn / 2, 10.5),
            mailbox=owner,
            reader=owner,
            client=PHISHER,
            address=CLOUD,
            count=12,
            session=session,
        )
        visits.append(visit)
    return attack("consent-phishing", "consent phishing, then mail read",
        [*records, *all_visits(world, visits)],
        sign_ins=[user_sign_in(v, "AADNonInteractiveUserSignInLogs") for v in visits])  # fmt: skip


def stolen_app(world: World) -> Attack:
    """Return the approved archiving service's secret, used from elsewhere."""
    visits = [
        Visit(
            at=world.at(0, 14 + turn / 4),
            mailbox=mailbox,
            reader=None,
            client=ARCHIVE,
            address=ELSEWHERE,
            session=Dice(world.seed, "stolen-app").guid(),
        )
        for turn, mailbox in enumerate(world.tenant.executives)
    ]
    return attack("stolen-app", "approved app stolen and used from elsewhere",
        all_visits(world, visits), sign_ins=[app_sign_in(v) for v in visits[:1]])  # fmt: skip


def _consent(world: World, owner: Mailbox, at: datetime) -> AuditRecord:
    """Return the record of a person's consent, in the form that Entra ID documents."""
    scopes = "[] => [[Id: x, ConsentType: Principal, Scope: Mail.Read offline_access User.Read]]"
    return {
        "CreationTime": at.isoformat()[:19],
        "Id": Dice(world.seed, "consented", owner.number).guid(),
        "Operation": "Consent to application.",
        "OrganizationId": world.tenant.organization_id,
        "RecordType": 8,
        "ResultStatus": "Success",
        "UserKey": owner.user_key,
        "UserType": 0,
        "Version": 1,
        "Workload": "AzureActiveDirectory",
        "ObjectId": PHISHER.client_app_id,
        "UserId": owner.upn,
        "AzureActiveDirectoryEventType": 1,
        "ExtendedProperties": [],
        "ModifiedProperties": [
            {"Name": "ConsentContext.IsAdminConsent", "NewValue": "False", "OldValue": ""},
            {"Name": "ConsentAction.Permissions", "NewValue": scopes, "OldValue": ""},
            {"Name": "ServicePrincipal.AppId", "NewValue": PHISHER.client_app_id, "OldValue": ""},
        ],
    }
