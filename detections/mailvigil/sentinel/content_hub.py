"""The content as a solution of Content Hub, version 3 of its form.

Installed, a solution brings templates from which rules and queries are made, and at once the
functions and watchlists that they read. ARM evaluates the inner templates' expressions with the
outer one's parameters and variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mailvigil.sentinel import arm
from mailvigil.sentinel.analytics import Analytic
from mailvigil.sentinel.arm import SentinelResource
from mailvigil.sentinel.arm_checks import (
    CONTENT_PACKAGES,
    CONTENT_TEMPLATES,
    METADATA,
    RULE_TEMPLATES,
    SOLUTION_SEARCHES,
)
from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.content_files import Parser, Workbook
from mailvigil.sentinel.hunting import SentinelHuntingQuery
from mailvigil.sentinel.query_content import connectors
from mailvigil.tables.record_tables import RECORD_TABLES

CONTENT_API = "2025-06-01"
"""Of contentTemplates, contentPackages and metadata."""

RULE_TEMPLATE_API = "2025-07-01-preview"
"""Of rule templates: stable versions know neither NRT rules nor sub-techniques."""

_ID, _VERSION = "[variables('_solutionId')]", "[variables('_solutionVersion')]"
_LOCATION = "[parameters('workspace-location')]"
_LEARN_MORE = "https://learn.microsoft.com/azure/sentinel/sentinel-solutions"
_SHORT = {"AnalyticsRule": "ar", "HuntingQuery": "hq", "Parser": "pr", "Workbook": "wb"}
"""Content kinds to the letters that name their templates."""


_Versioned = Analytic | SentinelHuntingQuery | Parser


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """One piece of content: what it is, what it deploys, and the resource that this makes."""

    kind: str
    id: str
    version: str
    title: str
    resource: SentinelResource
    parent: str

    @classmethod
    def of(cls, kind: str, content: _Versioned, parent: str, resource: SentinelResource) -> _Item:
        """Return the item of *content*, which has an id, a version and a title."""
        return cls(
            kind=kind,
            id=content.id,
            version=content.version,
            title=content.title,
            parent=parent,
            resource=resource,
        )

    @property
    def product(self) -> str:
        """Return the id of this version of the content, as an expression without brackets."""
        unique = f"uniqueString(concat(variables('_solutionId'), '{self.kind}', '{self.id}', "
        start = f"concat(take(variables('_solutionId'), 50), '-{_SHORT[self.kind]}-', "
        return f"{start}{unique}'{self.version}')))"


def main_template(pack: Pack) -> SentinelResource:
    """Return ``mainTemplate.json``: the package, a template of each content, and the functions."""
    items = list(_items(pack))
    return {
        "$schema": arm.SCHEMA,
        "contentVersion": "1.0.0.0",
        "metadata": {
            "author": pack.solution.author,
            "comments": f"Solution template for {pack.solution.name}",
        },
        "parameters": _parameters(pack),
        "variables": _variables(pack),
        "resources": [
            *(_content_template(item, pack) for item in items),
            *(_at_once(arm.function_search(parser)) for parser in pack.parsers),
            *(_parser_metadata(parser, pack) for parser in pack.parsers),
            *(arm.watchlist(watchlist) for watchlist in pack.watchlists),
            _package(items, pack),
        ],
    }


def create_ui_definition(pack: Pack) -> SentinelResource:
    """Return ``createUiDefinition.json``: the pages of the installer, one a kind of content."""
    workspaces = (
        "[concat(subscription().id,"
        "'/providers/Microsoft.OperationalInsights/workspaces?api-version=2022-10-01')]"
    )
    return {
        "$schema": "https://schema.management.azure.com/schemas/0.1.2-preview/"
        "CreateUIDefinition.MultiVm.json#",
        "handler": "Microsoft.Azure.CreateUIDef",
        "version": "0.1.2-preview",
        "parameters": {
            "config": {"isWizard": False, "basics": _basics(pack)},
            "basics": [
                {
                    "name": "getLAWorkspace",
                    "type": "Microsoft.Solutions.ArmApiControl",
                    "toolTip": "Workspaces of the resource group",
                    "condition": "[greater(length(resourceGroup().name),0)]",
                    "request": {"method": "GET", "path": workspaces},
                },
                _workspace_choice(),
            ],
            "steps": list(_steps(pack)),
            "outputs": {
                "workspace-location": "[first(map(filter(basics('getLAWorkspace').value, (filter) "
                "=> and(contains(toLower(filter.id), toLower(resourceGroup().name)), "
                "equals(filter.name, basics('workspace')))), (item) => item.location))]",
                "location": "[location()]",
                "workspace": "[basics('workspace')]",
            },
        },
    }


def solution_data(pack: Pack, folder: Mapping[str, list[str]]) -> SentinelResource:
    """Return what Microsoft's packaging tool reads: *folder* names the files of each kind."""
    return {
        "Name": pack.solution.name,
        "Author": pack.solution.author,
        "Logo": logo(pack),
        "Description": pack.solution.description,
        **folder,
        "BasePath": f"Solutions/{pack.solution.name}",
        "Version": pack.solution.version,
        "Metadata": "SolutionMetadata.json",
        "TemplateSpec": True,
        "Is1PConnector": False,
    }


def logo(pack: Pack) -> str:
    """Return the logo as Content Hub takes it: an image of 75 by 75 pixels."""
    return f'<img src="{pack.solution.logo}" width="75px" height="75px">'


def release_notes(pack: Pack) -> str:
    """Return ``ReleaseNotes.md`` in the form that Azure-Sentinel asks for, the newest first."""
    head = (
        "| **Version** | **Date Modified (DD-MM-YYYY)** | **Change History** |\n| --- | --- | --- |"
    )
    rows = (
        f"| {release.version} | {'-'.join(reversed(release.date.split('-')))} | {release.changes} |"
        for release in pack.solution.releases
    )
    return "\n".join((head, *rows)) + "\n"


def solution_metadata(pack: Pack) -> SentinelResource:
    """Return ``SolutionMetadata.json``."""
    return {
        "publisherId": pack.solution.publisher,
        "offerId": pack.solution.offer,
        "firstPublishDate": pack.solution.first_published,
        "providers": list(pack.solution.providers),
        "categories": dict(pack.solution.categories),
        "support": dict(pack.solution.support),
    }


def _items(pack: Pack) -> Iterator[_Item]:
    yield from (_workbook_item(number, book) for number, book in enumerate(pack.workbooks, 1))
    yield from (_rule_item(analytic) for analytic in pack.analytics)
    yield from (_hunting_item(query) for query in pack.hunting)
    yield from (_parser_item(parser) for parser in pack.parsers)


def _rule_item(analytic: Analytic) -> _Item:
    properties = {
        **arm.alert_rule_properties(analytic, enabled=False),
        "subTechniques": [number for number in analytic.techniques if "." in number],
        "status": "Available",
        "version": analytic.version,
        "requiredDataConnectors": connectors(analytic.sources),
    }
    parent = f"resourceId('Microsoft.SecurityInsights/AlertRuleTemplates', '{analytic.id}')"
    resource: SentinelResource = {
        "type": RULE_TEMPLATES,
        "apiVersion": RULE_TEMPLATE_API,
        "name": analytic.id,
        "kind": analytic.kind,
        "location": _LOCATION,
        "properties": _without_empty_arrays(properties),
    }
    return _Item.of("AnalyticsRule", analytic, parent, resource)


def _hunting_item(query: SentinelHuntingQuery) -> _Item:
    parent = f"resourceId('{SOLUTION_SEARCHES}', '{query.id}')"
    resource: SentinelResource = {
        "type": SOLUTION_SEARCHES,
        "apiVersion": arm.API_VERSIONS[arm.SAVED_SEARCHES],
        "name": query.id,
        "etag": arm.REPLACE,
        "location": _LOCATION,
        "properties": arm.hunting_properties(query),
    }
    return _Item.of("HuntingQuery", query, parent, resource)


def _parser_item(parser: Parser) -> _Item:
    parent = f"resourceId('{arm.SAVED_SEARCHES}', parameters('workspace'), '{parser.alias}')"
    return _Item.of("Parser", parser, parent, _at_once(arm.function_search(parser)))


def _without_empty_arrays(data: Mapping[str, Any]) -> SentinelResource:
    """Return *data* without keys that are empty arrays, as Azure-Sentinel's arm-ttk asks."""
    return {key: _filled(part) for key, part in data.items() if part != []}


def _filled(part: object) -> object:
    if isinstance(part, list):
        return [_filled(item) for item in part]
    return _without_empty_arrays(part) if isinstance(part, dict) else part


def _workbook_item(number: int, book: Workbook) -> _Item:
    resource = arm.workbook(replace(book, data=_without_empty_arrays(book.data)))
    resource["location"] = _LOCATION
    resource["metadata"] = {"description": book.description}
    resource["properties"] |= {
        "displayName": f"[parameters('workbook{number}-name')]",
        "sourceId": "[variables('workspaceResourceId')]",
    }
    return _Item(
        kind="Workbook",
        id=book.id,
        version=book.version,
        title=book.title,
        parent=f"resourceId('{arm.WORKBOOKS}', {resource['name'][1:-1]})",
        resource=resource,
    )


def _at_once(resource: SentinelResource) -> SentinelResource:
    return {**resource, "location": _LOCATION}


def _parser_metadata(parser: Parser, pack: Pack) -> SentinelResource:
    """Return what makes Content Hub show and remove a function that is there at once."""
    item = _parser_item(parser)
    after = [f"[{item.parent}]"]
    return {**_metadata(item, pack), "location": _LOCATION, "dependsOn": after}


def _content_template(item: _Item, pack: Pack) -> SentinelResource:
    name = (
        f"[concat(parameters('workspace'), '/Microsoft.SecurityInsights/', parameters('workspace'),"
        f" '-{_SHORT[item.kind]}-', uniqueString('{item.id}'))]"
    )
    package = (
        "[extensionResourceId(resourceId('Microsoft.OperationalInsights/workspaces', "
        "parameters('workspace')), 'Microsoft.SecurityInsights/contentPackages', "
        "variables('_solutionId'))]"
    )
    return {
        "type": CONTENT_TEMPLATES,
        "apiVersion": CONTENT_API,
        "name": name,
        "location": _LOCATION,
        "dependsOn": [package],
        "properties": {
            "description": f"{item.title}, {item.kind} of {pack.solution.name}",
            "mainTemplate": {
                "$schema": arm.SCHEMA,
                "contentVersion": item.version,
                "parameters": {},
                "variables": {},
                "resources": [item.resource, _metadata(item, pack)],
            },
            "packageKind": "Solution",
            "packageVersion": _VERSION,
            "packageName": "[variables('_solutionName')]",
            "packageId": _ID,
            "contentSchemaVersion": "3.0.0",
            "contentId": item.id,
            "contentKind": item.kind,
            "displayName": arm.literal(item.title),
            "contentProductId": f"[{item.product}]",
            "id": f"[{item.product}]",
            "version": item.version,
        },
    }


def _metadata(item: _Item, pack: Pack) -> SentinelResource:
    return {
        "type": METADATA,
        "apiVersion": CONTENT_API,
        "name": f"[concat(parameters('workspace'), '/Microsoft.SecurityInsights/', "
        f"concat('{item.kind}-', last(split({item.parent}, '/'))))]",
        "properties": {
            "description": arm.literal(item.title),
            "parentId": f"[{item.parent}]",
            "contentId": item.id,
            "kind": item.kind,
            "version": item.version,
            **_origin(pack),
            **({"dependencies": _record_tables()} if item.kind == "Workbook" else {}),
        },
    }


def _record_tables() -> SentinelResource:
    """Return what a workbook reads: any one of the tables that hold records."""
    tables = [{"kind": "DataType", "contentId": name} for name in RECORD_TABLES]
    known = [
        {"kind": "DataConnector", "contentId": c["connectorId"]} for c in connectors(RECORD_TABLES)
    ]
    return {"operator": "OR", "criteria": [*tables, *known]}


def _origin(pack: Pack) -> SentinelResource:
    return {
        "source": {"kind": "Solution", "name": pack.solution.name, "sourceId": _ID},
        "author": _author(pack),
        "support": dict(pack.solution.support),
    }


def _author(pack: Pack) -> SentinelResource:
    email = {"email": "[variables('_email')]"} if pack.solution.author_email else {}
    return {"name": pack.solution.author_name, **email}


def _package(items: list[_Item], pack: Pack) -> SentinelResource:
    needs = [{"kind": i.kind, "contentId": i.id, "version": i.version} for i in items]
    lists = [
        {"kind": "Watchlist", "contentId": watchlist.alias, "version": pack.solution.version}
        for watchlist in pack.watchlists
    ]
    product = (
        "[concat(take(variables('_solutionId'), 50), '-sl-', "
        "uniqueString(concat(variables('_solutionId'), 'Solution', "
        "variables('_solutionVersion'))))]"
    )
    return {
        "type": CONTENT_PACKAGES,
        "apiVersion": CONTENT_API,
        "name": "[concat(parameters('workspace'), '/Microsoft.SecurityInsights/', "
        "variables('_solutionId'))]",
        "location": _LOCATION,
        "properties": {
            "version": _VERSION,
            "kind": "Solution",
            "contentSchemaVersion": "3.0.0",
            "displayName": "[variables('_solutionName')]",
            "publisherDisplayName": pack.solution.support["name"],
            "icon": logo(pack),
            "descriptionHtml": f"<p>{_escaped(pack.solution.description)}</p>",
            "contentKind": "Solution",
            "contentProductId": product,
            "id": product,
            "contentId": _ID,
            "parentId": _ID,
            **_origin(pack),
            "dependencies": {"operator": "AND", "criteria": [*needs, *lists]},
            "firstPublishDate": pack.solution.first_published,
            "providers": list(pack.solution.providers),
            "categories": dict(pack.solution.categories),
        },
    }


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _parameters(pack: Pack) -> SentinelResource:
    location = (
        "Region of the resource group; not used, as everything goes to the workspace's region: "
        "[parameters('location')]"
    )
    return {
        "location": {
            "type": "string",
            "minLength": 1,
            "defaultValue": "[resourceGroup().location]",
            "metadata": {"description": location},
        },
        "workspace-location": {
            "type": "string",
            "defaultValue": "",
            "metadata": {"description": "Region of the workspace."},
        },
        "workspace": {
            "type": "string",
            "defaultValue": "",
            "metadata": {"description": "Log Analytics workspace with Microsoft Sentinel."},
        },
        **{
            f"workbook{number}-name": {
                "type": "string",
                "defaultValue": book.title,
                "minLength": 1,
                "metadata": {"description": "Name of the workbook."},
            }
            for number, book in enumerate(pack.workbooks, 1)
        },
    }


def _variables(pack: Pack) -> SentinelResource:
    email = pack.solution.author_email
    return {
        **({"email": email, "_email": "[variables('email')]"} if email else {}),
        "_solutionName": pack.solution.name,
        "_solutionVersion": pack.solution.version,
        "solutionId": pack.solution.id,
        "_solutionId": "[variables('solutionId')]",
        "workspaceResourceId": "[resourceId('Microsoft.OperationalInsights/workspaces', "
        "parameters('workspace'))]",
    }


def _counts(pack: Pack) -> dict[str, int]:
    return {
        "Parsers": len(pack.parsers),
        "Workbooks": len(pack.workbooks),
        "Analytic Rules": len(pack.analytics),
        "Hunting Queries": len(pack.hunting),
        "Watchlists": len(pack.watchlists),
    }


def _basics(pack: Pack) -> SentinelResource:
    counts = ", ".join(f"**{kind}:** {number}" for kind, number in _counts(pack).items())
    return {
        "description": f"{logo(pack)}\n\n{pack.solution.description}\n\n{counts}\n\n"
        f"[Learn more about solutions]({_LEARN_MORE})",
        "subscription": {
            "resourceProviders": [
                "Microsoft.OperationsManagement/solutions",
                "Microsoft.OperationalInsights/workspaces/providers/alertRules",
                "Microsoft.Insights/workbooks",
            ]
        },
        "location": {"metadata": {"hidden": "It is that of the workspace."}, "visible": False},
        "resourceGroup": {"allowExisting": True},
    }


def _workspace_choice() -> SentinelResource:
    allowed = (
        "[map(filter(basics('getLAWorkspace').value, (filter) => contains(toLower(filter.id), "
        "toLower(resourceGroup().name))), (item) => "
        'parse(concat(\'{"label":"\', item.name, \'","value":"\', item.name, \'"}\')))]'
    )
    return {
        "name": "workspace",
        "type": "Microsoft.Common.DropDown",
        "label": "Workspace",
        "placeholder": "Select a workspace",
        "toolTip": "Workspaces of the resource group that is selected",
        "constraints": {"allowedValues": allowed, "required": True},
        "visible": True,
    }


def _steps(pack: Pack) -> Iterator[SentinelResource]:
    kinds = (
        ("workbooks", "Workbooks", "A workbook of:", [(b.title, "") for b in pack.workbooks]),
        (
            "analytics",
            "Analytics",
            "Templates of analytics rules. Make rules from them in Content Hub, under Manage.",
            [(analytic.title, analytic.description) for analytic in pack.analytics],
        ),
        (
            "huntingqueries",
            "Hunting Queries",
            "Queries for hunting. They stand on the Hunting page.",
            [(query.title, query.description) for query in pack.hunting],
        ),
        (
            "watchlists",
            "Watchlists",
            "Watchlists that the rules read.",
            [(watchlist.alias, watchlist.description) for watchlist in pack.watchlists],
        ),
    )
    for name, label, text, entries in kinds:
        if entries:
            yield _step(name, label, text, entries)


def _step(name: str, label: str, text: str, entries: list[tuple[str, str]]) -> SentinelResource:
    sections = [
        {
            "name": f"{name}{number}",
            "type": "Microsoft.Common.Section",
            "label": title,
            "elements": [_text(f"{name}{number}-text", words or title)],
        }
        for number, (title, words) in enumerate(entries, 1)
    ]
    return {
        "name": name,
        "label": label,
        "subLabel": {"preValidation": f"Configure the {label.lower()}", "postValidation": "Done"},
        "bladeTitle": label,
        "elements": [_text(f"{name}-text", text), *sections],
    }


def _text(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "type": "Microsoft.Common.TextBlock", "options": {"text": text}}
