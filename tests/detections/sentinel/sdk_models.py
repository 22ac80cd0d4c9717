"""Microsoft's own models of its resources, from the azure-mgmt packages, held against a template.

They know which properties a resource has, of which type, and the known values of enumerations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from azure.mgmt.applicationinsights.v2022_04_01 import models as insights
from azure.mgmt.loganalytics import models as analytics
from azure.mgmt.securityinsight import models as sentinel

from mailvigil.sentinel.arm import ALERT_RULES, SAVED_SEARCHES, WATCHLISTS, WORKBOOKS

RULES = {"Scheduled": sentinel.ScheduledAlertRule, "NRT": sentinel.NrtAlertRule}
NOT_IN_THE_MODEL = {"type", "apiVersion", "name", "kind", "location", "dependsOn"}
PLAIN = {"str": str, "int": int, "bool": bool, "duration": str, "iso-8601": str}
ENUMS = {
    "severity": sentinel.AlertSeverity,
    "triggerOperator": sentinel.TriggerOperator,
    "tactics": sentinel.AttackTactic,
    "entityType": sentinel.EntityMappingType,
    "matchingMethod": sentinel.MatchingMethod,
    "aggregationKind": sentinel.EventGroupingAggregationKind,
}
"""Properties that the models take as text, and the known values of each."""


def model_problems(resource: Mapping[str, Any]) -> list[str]:
    """Return what the model of a resource does not know or takes as another type."""
    kind = resource["type"]
    if kind == SAVED_SEARCHES:  # the models of this package are of another make
        return list(_names(resource["properties"], analytics.SavedSearchProperties))
    model = {ALERT_RULES: RULES.get(resource.get("kind", "")), WATCHLISTS: sentinel.Watchlist}
    module = insights if kind == WORKBOOKS else sentinel
    found = insights.Workbook if kind == WORKBOOKS else model[kind]
    body = {key: value for key, value in resource.items() if key not in NOT_IN_THE_MODEL}
    return list(_object(body, _tree(found), module, ""))


def _names(properties: Mapping[str, Any], model: Any) -> Iterator[str]:  # noqa: ANN401 - untyped
    model.__new__(model)  # it learns its fields when the first one is made
    known = {field._rest_name for field in model._attr_to_rest_field.values()}  # noqa: SLF001
    yield from (f"properties.{key}: unknown" for key in sorted(set(properties) - known))


def _tree(model: Any) -> dict[str, Any]:  # noqa: ANN401 - untyped
    """Return the model's fields, nested as in the JSON; each leaf is a type and whether read-only.

    The models of these packages hold them as ``properties.query`` with a type such as ``[str]``.
    """
    tree: dict[str, Any] = {}
    for name, field in model._attribute_map.items():  # noqa: SLF001 - the model's own table
        *parents, last = field["key"].split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = (field["type"], model._validation.get(name, {}).get("readonly"))  # noqa: SLF001
    return tree


def _object(
    value: Mapping[str, Any], tree: Mapping[str, Any], module: ModuleType, where: str
) -> Iterator[str]:
    for key, item in value.items():
        place = f"{where}.{key}".lstrip(".")
        known = tree.get(key)
        if known is None:
            yield f"{place}: unknown"
        elif isinstance(known, dict):
            yield from _object(item, known, module, place)
        elif known[1]:
            yield f"{place}: read-only"
        else:
            yield from _typed(item, known[0], module, place)


def _typed(value: object, kind: str, module: ModuleType, where: str) -> Iterator[str]:
    if kind.startswith(("[", "{")):
        yield from _many(value, kind, module, where)
    elif kind in PLAIN:
        right = isinstance(value, PLAIN[kind]) and (kind != "int" or not isinstance(value, bool))
        if not right:
            yield f"{where}: {kind} expected"
        yield from _enumerated(value, where)
    elif not isinstance(value, dict):
        yield f"{where}: {kind} expected"
    else:
        yield from _object(value, _tree(getattr(module, kind)), module, where)


def _many(value: object, kind: str, module: ModuleType, where: str) -> Iterator[str]:
    wanted = list if kind.startswith("[") else dict
    if not isinstance(value, wanted):
        yield f"{where}: {wanted.__name__} expected"
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield from _typed(item, kind[1:-1], module, f"{where}[{key}]")


def _enumerated(value: object, where: str) -> Iterator[str]:
    name = re.sub(r"\[\d+\]$", "", where).rpartition(".")[2]
    known: Any = ENUMS.get(name)
    if known is not None and value not in [one.value for one in known]:
        yield f"{where}: {value!r} is not known"
