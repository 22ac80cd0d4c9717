"""The page among Sentinel's data connectors: is the feed read, up to when, and is it complete?"""

from __future__ import annotations

from collections.abc import Iterator

from mailvigil.infra.resources import CONNECTOR_PAGE, Json, resource
from mailvigil.sentinel.arm import in_sentinel, template
from mailvigil.sentinel.compiled_content import Pack

NAME = "mailvigil"
HEALTH = "M365FeedHealth_CL"
ACTIVITY = "M365Activity_CL"

CONNECTED = f"""{HEALTH}
| where isnull(Hour)
| summarize LastStatement = max(TimeGenerated)
| project IsConnected = LastStatement > ago(1h)"""
"""A heartbeat is written with every pass, every 5 minutes by default."""

_LAST = "\n| summarize Time = max(TimeGenerated)\n| where isnotempty(Time)"

_SAMPLES = {
    "The last statement about each tenant and content type": f"""{HEALTH}
| where isnull(Hour)
| summarize arg_max(TimeGenerated, Complete, Pending, Expired, Rejected, HoursMissing, LagSeconds)
    by OrganizationId, ContentType""",
    "Hours that are not complete, as last stated": f"""{HEALTH}
| where isnotnull(Hour)
| summarize arg_max(TimeGenerated, Complete, Listed, Delivered, Pending, Expired, Rejected)
    by OrganizationId, ContentType, Hour
| where not(Complete)
| sort by Hour desc""",
    "Who read mail in the last day": """MailItemsAccessed
| where TimeGenerated > ago(1d)
| summarize Operations = sum(OperationCount), Mailboxes = dcount(MailboxId) by Caller, Protocol
| sort by Operations desc""",
}


def queries() -> Iterator[tuple[str, str]]:
    """Yield the place of each query on the page, and its KQL."""
    yield "connectivity", CONNECTED
    for metric, _, query in _GRAPHS:
        yield metric, query
    for table in (HEALTH, ACTIVITY):
        yield f"last of {table}", f"{table}{_LAST}"
    yield from _SAMPLES.items()


_GRAPHS = (
    ("Records delivered", "Records", f"{ACTIVITY}"),
    ("Statements of the collector", "Statements", f"{HEALTH}"),
    (
        "Hours stated as not complete",
        "Hours",
        f"{HEALTH}\n| where isnotnull(Hour) and not(Complete)",
    ),
)
"""What is drawn, its legend, and the rows that are counted by time."""


def connector_template(pack: Pack) -> Json:
    """Return a template of the page alone, for a workspace that has the tables."""
    return template(page(pack))


def page(pack: Pack) -> Json:
    """Return the page as a resource of the workspace."""
    return resource(
        CONNECTOR_PAGE,
        in_sentinel(NAME),
        kind="Customizable",
        properties={"connectorUiConfig": _config(pack)},
    )


def _config(pack: Pack) -> Json:
    return {
        "id": NAME,
        "title": "mailvigil: Microsoft 365 audit records, without loss",
        "publisher": pack.solution.author.partition(" - ")[0],
        "descriptionMarkdown": (
            "Moves records of the Office 365 Management Activity API into "
            f"`{ACTIVITY}`, and states in `{HEALTH}` for every hour whether it is complete."
        ),
        "graphQueriesTableName": HEALTH,
        "graphQueries": [
            {"metricName": metric, "legend": legend, "baseQuery": query}
            for metric, legend, query in _GRAPHS
        ],
        "sampleQueries": [
            {"description": title, "query": query} for title, query in _SAMPLES.items()
        ],
        "dataTypes": [
            {"name": table, "lastDataReceivedQuery": f"{table}{_LAST}"}
            for table in (HEALTH, ACTIVITY)
        ],
        "connectivityCriteria": [{"type": "IsConnectedQuery", "value": [CONNECTED]}],
        "availability": {"status": 1, "isPreview": False},
        "permissions": _permissions(),
        "instructionSteps": _steps(),
    }


def _permissions() -> Json:
    return {
        "resourceProvider": [
            {
                "provider": "Microsoft.OperationalInsights/workspaces",
                "permissionsDisplayText": "read permission on the workspace.",
                "providerDisplayName": "Workspace",
                "scope": "Workspace",
                "requiredPermissions": {"read": True, "write": False, "delete": False},
            }
        ],
        "customs": [
            {
                "name": "Office 365 Management APIs",
                "description": "The collector's identity needs the permission ActivityFeed.Read.",
            }
        ],
    }


def _steps() -> list[Json]:
    steps = (
        "The collector is deployed by `infra/azuredeploy.json`. Afterwards give its identity the "
        "permission ActivityFeed.Read, which no template can do: `mailvigil tenant grant` does. "
        "The page shows *Connected* once a heartbeat of the last hour is in the workspace."
    )
    return [{"title": "Deploy and permit", "description": steps, "instructions": []}]
