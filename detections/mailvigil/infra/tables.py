"""The workspace and its tables: columns from ``audit_feed/tables``, plan and retention chosen."""

from __future__ import annotations

from collections.abc import Mapping

from audit_feed.columns import Table, load_table
from mailvigil.infra.names import NEW_WORKSPACE_ID
from mailvigil.infra.nested import nested
from mailvigil.infra.resources import (
    TABLE,
    WORKSPACE,
    Json,
    formula,
    parameter,
    resource,
    variable,
)

ACTIVITY = "M365Activity_CL"
CALLERS = "M365CallerBaseline_CL"
NAMES = (ACTIVITY, "M365FeedHealth_CL", CALLERS)
"""Tables that the app writes to."""

COLUMN_TYPES: Mapping[str, str] = {"bool": "boolean", "datetime": "dateTime"}
"""Our type to the table resource's, where they differ."""

TABLES = "tables"


def workspace() -> Json:
    """Return a new workspace, where none is given. Shared keys cannot write to it."""
    return resource(
        WORKSPACE,
        formula(variable("newWorkspaceName")),
        condition=formula(variable("newWorkspace")),
        location=formula(parameter("location")),
        properties={
            "sku": {"name": "PerGB2018"},
            "retentionInDays": 90,
            "features": {
                "enableLogAccessUsingOnlyResourcePermissions": True,
                "disableLocalAuth": True,
            },
        },
    )


def tables() -> Json:
    """Return the deployment of all tables."""
    given = {
        "plan": {"type": "string", "from": parameter("activityPlan")},
        "days": {"type": "int", "from": parameter("retentionDays")},
        "totalDays": {"type": "int", "from": parameter("totalRetentionDays")},
    }
    made = [table(load_table(name)) for name in NAMES]
    return nested(TABLES, made, given=given, after=[NEW_WORKSPACE_ID])


def table(described: Table) -> Json:
    """Return a table. The plan of the records' table is a parameter; the others are small."""
    chosen = described.name == ACTIVITY
    days = f"if(equals({parameter('plan')}, 'Analytics'), {parameter('days')}, null())"
    return resource(
        TABLE,
        formula(f"concat({parameter('workspace')}, '/{described.name}')"),
        properties={
            "plan": formula(parameter("plan")) if chosen else "Analytics",
            "retentionInDays": formula(days if chosen else parameter("days")),
            "totalRetentionInDays": formula(f"max({parameter('days')}, {parameter('totalDays')})"),
            "schema": table_schema(described),
        },
    )


def table_schema(described: Table) -> Json:
    """Return the columns of a table as its resource states them."""
    return {
        "name": described.name,
        "description": described.description,
        "columns": [
            {
                "name": column.name,
                "type": COLUMN_TYPES.get(column.type, column.type),
                "description": column.description,
            }
            for column in described.columns
        ],
    }
