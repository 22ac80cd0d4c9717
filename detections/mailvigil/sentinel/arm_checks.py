"""Whether an ARM template is whole: every expression resolves, and every resource is known."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mailvigil.sentinel.arm import (
    ALERT_RULES,
    REPLACE,
    SAVED_SEARCHES,
    SCHEMA,
    WATCHLISTS,
    WORKBOOKS,
)
from mailvigil.sentinel.arm_expressions import REGION, ExpressionError, Scope
from mailvigil.sentinel.service_limits import (
    AlertRuleBody,
    is_guid,
    query_problems,
    rule_problems,
    tactic_problems,
)

CONTENT_TEMPLATES = "Microsoft.OperationalInsights/workspaces/providers/contentTemplates"
CONTENT_PACKAGES = "Microsoft.OperationalInsights/workspaces/providers/contentPackages"
METADATA = "Microsoft.OperationalInsights/workspaces/providers/metadata"
RULE_TEMPLATES = "Microsoft.SecurityInsights/AlertRuleTemplates"
SOLUTION_SEARCHES = "Microsoft.OperationalInsights/savedSearches"

MAX_WATCHLIST_BYTES = int(3.8 * 1024 * 1024)
"""https://learn.microsoft.com/azure/sentinel/sentinel-service-limits: a watchlist's file."""

MAX_RESOURCES = 800
MAX_TEMPLATE_BYTES = 4 * 1024 * 1024
MAX_PARAMETERS = 256
MAX_VARIABLES = 256
"""https://learn.microsoft.com/azure/azure-resource-manager/management/azure-subscription-service-limits"""

_KNOWN_KEYS = {"$schema", "contentVersion", "metadata", "parameters", "variables", "resources"}
_RESOURCE_KEYS = {
    "type",
    "apiVersion",
    "name",
    "location",
    "kind",
    "etag",
    "metadata",
    "dependsOn",
    "condition",
    "properties",
}
_API_VERSION = re.compile(r"\d{4}-\d\d-\d\d(-preview)?", re.ASCII)
_CONTENT_VERSION = re.compile(r"\d+(\.\d+){2,3}", re.ASCII)
_WORKSPACE_NAME = "contoso-law"
_WORKSPACE_ID = re.compile(r"/Microsoft\.OperationalInsights/workspaces/[^/]+$", re.IGNORECASE)
TYPES: Mapping[str, type] = {
    "string": str, "int": int, "bool": bool, "object": dict, "array": list, "secureobject": dict,
}  # fmt: skip
"""The types of parameters and outputs, and what JSON gives for each."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,259}", re.ASCII)
ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_WATCHLIST_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{1,62}[A-Za-z0-9]", re.ASCII)
"""https://learn.microsoft.com/azure/sentinel/watchlists-create: 3 to 64 characters."""

TemplatePart = Mapping[str, Any]


def template_problems(text: str) -> Iterator[str]:
    """Return what is wrong with a template, each ``place: what (what to do)``."""
    try:
        parsed = json.loads(text)
        if len(text.encode()) > MAX_TEMPLATE_BYTES:
            yield f"{len(text.encode())} bytes (a template may have 4 MB)"
        yield from frame_problems(parsed)
        yield from _resources(parsed)
    except ValueError as error:
        yield f"no JSON: {error}"
    except (KeyError, TypeError, AttributeError) as error:
        yield f"not of the form of a template: {error!r}"


def frame_problems(arm_template: TemplatePart) -> Iterator[str]:
    """Return what is wrong around the resources: the schema, unknown keys, how many there are.

    Raises:
        KeyError, TypeError, AttributeError: It has not the form of a template.

    """
    if arm_template["$schema"] != SCHEMA:
        yield f"$schema is not {SCHEMA}"
    if not _CONTENT_VERSION.fullmatch(str(arm_template["contentVersion"])):
        yield f"contentVersion {arm_template['contentVersion']!r} is not of the form 1.0.0.0"
    for key in sorted(set(arm_template) - _KNOWN_KEYS - {"outputs"}):
        yield f"unknown key {key}"
    for key, most in (("parameters", MAX_PARAMETERS), ("variables", MAX_VARIABLES)):
        if len(arm_template.get(key, {})) > most:
            yield f"{len(arm_template[key])} {key} (there may be {most})"
    if not 1 <= len(arm_template["resources"]) <= MAX_RESOURCES:
        yield f"{len(arm_template['resources'])} resources (there may be 1 to {MAX_RESOURCES})"
    for name, declared in arm_template.get("parameters", {}).items():
        kind = TYPES.get(str(declared.get("type")).lower())
        if kind is None:
            yield f"parameter {name} has the type {declared.get('type')!r}"
        elif "defaultValue" in declared and not isinstance(declared["defaultValue"], kind):
            yield f"parameter {name}: its default is not {declared['type']}"


def _resources(arm_template: TemplatePart) -> Iterator[str]:
    scope = Scope(_values(arm_template.get("parameters", {})), arm_template.get("variables", {}))
    yield from _broken(scope, {k: v for k, v in arm_template.items() if k != "parameters"}, "")
    seen: set[tuple[str, str]] = set()
    for number, resource in enumerate(arm_template["resources"]):
        try:
            resolved = scope.resolve(resource)
        except ExpressionError:
            continue  # already reported, with its place
        where = f"resources[{number}]"
        yield from (f"{where}: {problem}" for problem in resource_problems(resolved))
        key = (str(resolved["type"]).lower(), str(resolved["name"]).lower())
        if key in seen:
            yield f"{where}: a second {resolved['type']} named {resolved['name']}"
        seen.add(key)
    yield from _unused(arm_template, scope)


def _values(parameters: TemplatePart) -> dict[str, Any]:
    """Return a value for each parameter: its default, else a made-up one."""
    given = {"workspace": _WORKSPACE_NAME, "workspace-location": REGION, "location": REGION}
    return {
        name: given.get(name, declared.get("defaultValue", "value"))
        for name, declared in parameters.items()
    }


def _broken(scope: Scope, value: object, where: str) -> Iterator[str]:
    """Yield every text in *value* whose expression does not resolve, with its place."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _broken(scope, item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _broken(scope, item, f"{where}[{number}]")
    elif isinstance(value, str):
        try:
            scope.evaluate(value)
        except ExpressionError as error:
            yield f"{where}: {error}"


def _unused(arm_template: TemplatePart, scope: Scope) -> Iterator[str]:
    # A parameter may also be named by the description of another one, as arm-ttk allows.
    given = json.dumps(arm_template.get("parameters", {})).lower()
    for kind in ("parameters", "variables"):
        for name in arm_template.get(kind, {}):
            named = kind == "parameters" and f"parameters('{name.lower()}')" in given
            if (kind, name.lower()) not in scope.used and not named:
                yield f"{kind}.{name} is never used (leave it out)"


def resource_problems(resource: TemplatePart) -> Iterator[str]:
    """Return what is wrong with one resource whose expressions are resolved."""
    kind = str(resource["type"])
    check = CHECKS.get(kind)
    if check is None:
        yield f"unknown type {kind} (there are {', '.join(CHECKS)})"
        return
    for key in sorted(set(resource) - _RESOURCE_KEYS):
        yield f"unknown key {key}"
    if not _API_VERSION.fullmatch(str(resource["apiVersion"])):
        yield f"apiVersion {resource['apiVersion']!r} is not of the form 2025-06-01"
    yield from _name_problems(kind, str(resource["name"]))
    yield from check(resource)


def _name_problems(kind: str, name: str) -> Iterator[str]:
    """Check that a name has a part for each part of its type, of characters that ARM takes."""
    parts = name.split("/")
    if len(parts) != kind.count("/"):
        yield f"name {name} has {len(parts)} parts, its type has {kind.count('/')}"
    for part in parts:
        if not _NAME.fullmatch(part):
            yield f"name {name}: {part!r} is not of up to 260 letters, digits, '.', _ and -"


def _alert_rule(resource: TemplatePart) -> Iterator[str]:
    yield from rule_problems(AlertRuleBody(resource.get("kind", ""), resource["properties"]))
    if not is_guid(resource["name"].rpartition("/")[2]):
        yield f"name {resource['name']} does not end in a GUID"


def _rule_template(resource: TemplatePart) -> Iterator[str]:
    properties = resource["properties"]
    origin = {
        "alertRuleTemplateName": resource["name"],
        "templateVersion": properties.get("version"),
    }
    yield from rule_problems(AlertRuleBody(resource.get("kind", ""), {**properties, **origin}))


def _saved_search(resource: TemplatePart) -> Iterator[str]:
    properties = resource["properties"]
    for key in ("category", "displayName", "query"):
        if not properties.get(key):
            yield f"a saved search without {key}"
    if resource.get("etag") != REPLACE:
        yield "a saved search without etag * (deployed again, it is refused)"
    tags = {tag["name"]: tag["value"] for tag in properties.get("tags", [])}
    if "functionAlias" in properties:
        if not ALIAS.fullmatch(properties["functionAlias"]):
            yield f"functionAlias {properties['functionAlias']!r} is not a name of a function"
    else:
        yield from query_problems(properties.get("query"))
    yield from tactic_problems(_listed(tags, "tactics"), _listed(tags, "techniques"))


def _listed(tags: Mapping[str, str], name: str) -> list[str]:
    return [word for word in tags.get(name, "").split(",") if word]


def _watchlist(resource: TemplatePart) -> Iterator[str]:
    properties = resource["properties"]
    text = str(properties["rawContent"])
    if len(text.encode()) > MAX_WATCHLIST_BYTES:
        yield f"rawContent has {len(text.encode())} bytes (a watchlist's file may have 3.8 MB)"
    if not _WATCHLIST_ALIAS.fullmatch(properties["watchlistAlias"]):
        yield f"watchlistAlias {properties['watchlistAlias']!r} is not of 3 to 64 letters"
    lines = list(csv.reader(io.StringIO(text)))[int(properties["numberOfLinesToSkip"]) :]
    if not lines or properties["itemsSearchKey"] not in lines[0]:
        yield f"itemsSearchKey {properties['itemsSearchKey']!r} is not a column of rawContent"
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(lines[0]):
            yield f"rawContent, line {number}: {len(line)} values for {len(lines[0])} columns"


def _workbook(resource: TemplatePart) -> Iterator[str]:
    properties = resource["properties"]
    if resource.get("kind") != "shared":
        yield f"kind {resource.get('kind')!r} (a workbook of a workspace is shared)"
    try:
        data = json.loads(properties["serializedData"])
        if data["version"] != "Notebook/1.0" or not data["items"]:
            yield "serializedData is not a workbook of the form Notebook/1.0"
    except (ValueError, KeyError, TypeError) as error:
        yield f"serializedData is not a workbook: {error!r}"
    if not _WORKSPACE_ID.search(str(properties["sourceId"])):
        yield "sourceId is not the workspace"


def _content_template(resource: TemplatePart) -> Iterator[str]:
    properties = resource["properties"]
    for key in ("contentId", "contentKind", "contentProductId", "packageId", "version"):
        if not properties.get(key):
            yield f"a content template without {key}"
    if properties.get("contentSchemaVersion") != "3.0.0":
        yield "contentSchemaVersion is not 3.0.0"
    for number, inner in enumerate(properties["mainTemplate"]["resources"]):
        where = f"mainTemplate.resources[{number}]"
        yield from (f"{where}: {problem}" for problem in resource_problems(inner))


def _content_package(resource: TemplatePart) -> Iterator[str]:
    properties = resource["properties"]
    for key in ("contentId", "contentProductId", "displayName", "version", "support", "author"):
        if not properties.get(key):
            yield f"a content package without {key}"
    if properties.get("contentKind") != "Solution":
        yield "contentKind is not Solution"


def _metadata(resource: TemplatePart) -> Iterator[str]:
    for key in ("parentId", "contentId", "kind", "version", "source"):
        if not resource["properties"].get(key):
            yield f"metadata without {key}"


CHECKS: Mapping[str, Callable[[TemplatePart], Iterator[str]]] = {
    ALERT_RULES: _alert_rule,
    RULE_TEMPLATES: _rule_template,
    SAVED_SEARCHES: _saved_search,
    SOLUTION_SEARCHES: _saved_search,
    WATCHLISTS: _watchlist,
    WORKBOOKS: _workbook,
    CONTENT_TEMPLATES: _content_template,
    CONTENT_PACKAGES: _content_package,
    METADATA: _metadata,
}
