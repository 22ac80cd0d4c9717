"""The content as ARM resources, in the form that Sentinel's Repositories deploys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailvigil.rules.summary_rule import SummaryRule
from mailvigil.sentinel.analytics import Analytic, iso_duration
from mailvigil.sentinel.content_files import Parser, Watchlist, Workbook
from mailvigil.sentinel.hunting import SentinelHuntingQuery
from mailvigil.sentinel.query_content import entity_mappings

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"

ALERT_RULES = "Microsoft.OperationalInsights/workspaces/providers/alertRules"
SAVED_SEARCHES = "Microsoft.OperationalInsights/workspaces/savedSearches"
WATCHLISTS = "Microsoft.OperationalInsights/workspaces/providers/watchlists"
WORKBOOKS = "Microsoft.Insights/workbooks"
SUMMARY_RULES = "Microsoft.OperationalInsights/workspaces/summaryLogs"

API_VERSIONS: Mapping[str, str] = {
    ALERT_RULES: "2025-06-01",
    f"{ALERT_RULES}:NRT": "2025-07-01-preview",
    SAVED_SEARCHES: "2023-09-01",
    WATCHLISTS: "2025-06-01",
    WORKBOOKS: "2022-04-01",
    SUMMARY_RULES: "2025-07-01",
}
"""Stable versions, but for NRT rules: only the previews of the API know that kind."""

REPLACE = "*"
"""The etag with which a saved search that is there already is replaced, and not refused."""

SentinelResource = dict[str, Any]

_OPERATOR = "GreaterThan"
_WORKSPACE = {
    "type": "string",
    "minLength": 4,
    "maxLength": 63,
    "metadata": {"description": "Name of the Log Analytics workspace with Microsoft Sentinel."},
}
_LOCATION = {
    "type": "string",
    "defaultValue": "[resourceGroup().location]",
    "metadata": {"description": "Region of the workbook: that of the workspace."},
}


def literal(text: str) -> str:
    """Return *text* so that ARM does not take it for an expression."""
    return f"[{text}" if text.startswith("[") and text.endswith("]") else text


def template(*resources: SentinelResource, location: bool = False) -> SentinelResource:
    """Return a template with *resources*; with *location* it takes the region as well."""
    parameters = {"workspace": _WORKSPACE} | ({"location": _LOCATION} if location else {})
    return {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": parameters,
        "resources": list(resources),
    }


def alert_rule(analytic: Analytic) -> SentinelResource:
    """Return *analytic* as a rule that is created and enabled.

    It names no template: none is in a workspace where the solution is not installed. Its version
    is in the first comment of its query.
    """
    return {
        "type": ALERT_RULES,
        "apiVersion": API_VERSIONS.get(f"{ALERT_RULES}:{analytic.kind}", API_VERSIONS[ALERT_RULES]),
        "name": in_sentinel(analytic.id),
        "kind": analytic.kind,
        "properties": alert_rule_properties(analytic),
    }


def alert_rule_properties(analytic: Analytic, *, enabled: bool = True) -> SentinelResource:
    """Return what a rule and its template have in common."""
    parents = dict.fromkeys(number.partition(".")[0] for number in analytic.techniques)
    return {
        "displayName": literal(analytic.title),
        "description": literal(analytic.description),
        "severity": analytic.severity,
        "enabled": enabled,
        "query": literal(analytic.query),
        **_schedule(analytic),
        "suppressionDuration": "PT5H",
        "suppressionEnabled": False,
        "tactics": list(analytic.tactics),
        "techniques": list(parents),
        "entityMappings": entity_mappings(analytic.entities),
        "customDetails": dict(analytic.details),
        "alertDetailsOverride": analytic.override(),
        "eventGroupingSettings": {"aggregationKind": "AlertPerResult"},
        "incidentConfiguration": analytic.incident(),
    }


def _schedule(analytic: Analytic) -> SentinelResource:
    if analytic.kind != "Scheduled":
        return {}
    return {
        "queryFrequency": iso_duration(analytic.frequency),
        "queryPeriod": iso_duration(analytic.period),
        "triggerOperator": _OPERATOR,
        "triggerThreshold": 0,
    }


def hunting_search(query: SentinelHuntingQuery) -> SentinelResource:
    """Return a hunting query as a saved search of the workspace."""
    return _saved_search(query.id, hunting_properties(query))


def hunting_properties(query: SentinelHuntingQuery) -> SentinelResource:
    """Return what makes a saved search a hunting query: the category and the tags."""
    return {
        "category": "Hunting Queries",
        "displayName": literal(query.title),
        "query": literal(query.query),
        "version": 2,
        "tags": [
            {"name": "description", "value": literal(" ".join(query.description.split()))},
            {"name": "tactics", "value": ",".join(query.tactics)},
            {"name": "techniques", "value": ",".join(query.techniques)},
        ],
    }


def function_search(parser: Parser) -> SentinelResource:
    """Return a KQL function as a saved search with an alias."""
    return _saved_search(parser.alias, function_properties(parser))


def _saved_search(name: str, properties: SentinelResource) -> SentinelResource:
    return {
        "type": SAVED_SEARCHES,
        "apiVersion": API_VERSIONS[SAVED_SEARCHES],
        "name": in_workspace(name),
        "etag": REPLACE,
        "properties": properties,
    }


def function_properties(parser: Parser) -> SentinelResource:
    """Return what makes a saved search a function."""
    return {
        "category": parser.category,
        "displayName": literal(parser.title),
        "query": literal(parser.query),
        "functionAlias": parser.alias,
        "functionParameters": parser.parameters,
        "version": 2,
        "tags": [{"name": "description", "value": literal(" ".join(parser.description.split()))}],
    }


def summary_rule(rule: SummaryRule) -> SentinelResource:
    """Return a summary rule of the workspace.

    It has no ``binStartTime``: its days begin with the hour in which it is made, and a later
    deployment goes on with them.
    """
    return {
        "type": SUMMARY_RULES,
        "apiVersion": API_VERSIONS[SUMMARY_RULES],
        "name": in_workspace(rule.name),
        "properties": summary_properties(rule),
    }


def summary_properties(rule: SummaryRule) -> SentinelResource:
    """Return what the service keeps of a summary rule."""
    return {
        "ruleType": "User",
        "displayName": literal(rule.title),
        "description": literal(" ".join(rule.description.split())),
        "ruleDefinition": {
            "query": literal(rule.query),
            "binSize": rule.bin_size,
            "binDelay": rule.bin_delay,
            "timeSelector": "TimeGenerated",
            "destinationTable": rule.destination,
        },
    }


def watchlist(listed: Watchlist) -> SentinelResource:
    """Return a watchlist with the rows of its template. Deployed again, rows are added to it."""
    return {
        "type": WATCHLISTS,
        "apiVersion": API_VERSIONS[WATCHLISTS],
        "name": in_sentinel(listed.alias),
        "properties": {
            "watchlistAlias": listed.alias,
            "displayName": listed.alias,
            "description": literal(listed.description),
            "provider": "mailvigil",
            "source": f"{listed.alias}.csv",
            "itemsSearchKey": listed.search_key,
            "contentType": "text/csv",
            "numberOfLinesToSkip": 0,
            "rawContent": literal(listed.text),
        },
    }


def workbook(book: Workbook) -> SentinelResource:
    """Return a workbook of the workspace. Its name is a GUID of workspace and workbook."""
    return {
        "type": WORKBOOKS,
        "apiVersion": API_VERSIONS[WORKBOOKS],
        "name": f"[guid(parameters('workspace'), '{book.id}')]",
        "location": "[parameters('location')]",
        "kind": "shared",
        "properties": {
            "displayName": literal(book.title),
            "category": "sentinel",
            "version": "1.0",
            "serializedData": literal(book.serialized),
            "sourceId": "[resourceId('Microsoft.OperationalInsights/workspaces', "
            "parameters('workspace'))]",
        },
    }


def in_sentinel(name: str) -> str:
    """Return the name of something of Sentinel's in the workspace, as an expression."""
    return f"[concat(parameters('workspace'), '/Microsoft.SecurityInsights/', '{name}')]"


def in_workspace(name: str) -> str:
    """Return the name of something in the workspace, as an expression."""
    return f"[concat(parameters('workspace'), '/', '{name}')]"
