"""The data collection rule: a stream and a transform for each table, and an endpoint of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audit_feed.columns import Table, load_table
from mailvigil.infra.names import NEW_WORKSPACE_ID
from mailvigil.infra.nested import deployment_id
from mailvigil.infra.resources import RULE, Json, formula, parameter, resource, variable
from mailvigil.infra.tables import NAMES, TABLES

STREAM_TYPES: Mapping[str, str] = {"bool": "boolean"}
"""Our type to a stream's, where they differ."""

DESTINATION = "workspace"

TRANSFORM = "source | extend TimeGenerated = iif(isnull(TimeGenerated), now(), TimeGenerated)"
"""A row without TimeGenerated, of a record without a time, would be dropped without a report."""


def rule() -> Json:
    """Return the rule. Kind Direct has its own endpoint for logs, so no other is needed."""
    tables = [load_table(name) for name in NAMES]
    return resource(
        RULE,
        formula(variable("ruleName")),
        location=formula(parameter("location")),
        kind="Direct",
        dependsOn=[formula(NEW_WORKSPACE_ID), formula(deployment_id(TABLES))],
        properties={
            "description": "What mailvigil sends: audit records, statements and known callers.",
            **streams_into(formula(variable("workspaceId")), tables),
        },
    )


def streams_into(workspace: str, tables: Sequence[Table]) -> Json:
    """Return a stream for each of *tables* into the workspace whose id *workspace* gives."""
    return {
        "streamDeclarations": {stream(table): {"columns": _columns(table)} for table in tables},
        "destinations": {"logAnalytics": [{"name": DESTINATION, "workspaceResourceId": workspace}]},
        "dataFlows": [_flow(table) for table in tables],
    }


def stream(table: Table) -> str:
    """Return the name of a table's stream."""
    return f"Custom-{table.name}"


def _columns(table: Table) -> list[Json]:
    return [{"name": c.name, "type": STREAM_TYPES.get(c.type, c.type)} for c in table.columns]


def _flow(table: Table) -> Json:
    return {
        "streams": [stream(table)],
        "destinations": [DESTINATION],
        "transformKql": TRANSFORM,
        "outputStream": stream(table),
    }
