"""Microsoft's models of its resources, from the azure-mgmt packages, held against a resource.

The packages are made by two generators. Both are read into one form: key to kind of value.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, ForwardRef, Literal, Union, get_args, get_origin

from mailvigil.infra import resources as kinds
from mailvigil.sentinel.arm import SUMMARY_RULES

MODELS: Mapping[str, tuple[str, str]] = {
    kinds.WORKSPACE: ("loganalytics", "Workspace"),
    kinds.TABLE: ("loganalytics", "Table"),
    kinds.ONBOARDING: ("securityinsight", "SentinelOnboardingState"),
    kinds.RULE: ("monitor", "DataCollectionRuleResource"),
    kinds.INSIGHTS: ("applicationinsights.v2020_02_02", "ApplicationInsightsComponent"),
    kinds.IDENTITY: ("msi", "Identity"),
    kinds.STORAGE: ("storage", "StorageAccountCreateParameters"),
    kinds.BLOBS: ("storage", "BlobServiceProperties"),
    kinds.CONTAINER: ("storage", "BlobContainer"),
    kinds.PLAN: ("web", "AppServicePlan"),
    kinds.SITE: ("web", "Site"),
    kinds.APP_CONFIG: ("web", "StringDictionary"),
    kinds.PUBLISHING: ("web", "CsmPublishingCredentialsPoliciesEntity"),
    kinds.ASSIGNMENT: ("authorization", "RoleAssignmentCreateParameters"),
    kinds.VAULT: ("keyvault", "VaultCreateOrUpdateParameters"),
    kinds.NETWORK: ("network", "VirtualNetwork"),
    kinds.SECURITY_GROUP: ("network", "NetworkSecurityGroup"),
    kinds.ENDPOINT: ("network", "PrivateEndpoint"),
    kinds.ZONE_GROUP: ("network", "PrivateDnsZoneGroup"),
    kinds.ZONE: ("privatedns", "PrivateZone"),
    kinds.ZONE_LINK: ("privatedns", "VirtualNetworkLink"),
    kinds.DEPLOYMENT: ("resource.deployments", "Deployment"),
    SUMMARY_RULES: ("loganalytics", "SummaryLogs"),
}
"""Type to package and class."""

WITHOUT_MODEL = {
    kinds.ONE_DEPLOY: "no version of azure-mgmt-web describes it",
    kinds.CONNECTOR_PAGE: "azure-mgmt-securityinsight has no connector definitions",
}
"""Types that no model describes, and why."""

OF_THE_TEMPLATE = {
    "type", "apiVersion", "name", "dependsOn", "condition", "scope", "subscriptionId",
    "resourceGroup",
}  # fmt: skip
PLAIN: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One property of a model."""

    kind: Any
    readonly: bool
    required: bool


@dataclass(frozen=True, slots=True)
class Many:
    """An array, or with ``named`` an object with any keys."""

    item: Any
    named: bool


def model_problems(resource_type: str, body: Mapping[str, Any]) -> list[str]:
    """Return what the model of a resource refuses, each with its place."""
    package, name = MODELS[resource_type]
    module = import_module(f"azure.mgmt.{package}.models")
    inner = {key: value for key, value in body.items() if key not in OF_THE_TEMPLATE}
    return list(_object(inner, _fields(getattr(module, name), module), ""))


def _object(value: Mapping[str, Any], fields: Mapping[str, Any], where: str) -> Iterator[str]:
    for key, item in value.items():
        place = f"{where}.{key}".lstrip(".")
        field = fields.get(key)
        if field is None:
            yield f"{place}: unknown"
        elif isinstance(field, Field) and field.readonly:
            yield f"{place}: read-only"
        else:
            yield from _value(item, field.kind if isinstance(field, Field) else field, place)
    for key, field in fields.items():
        missing = isinstance(field, Field) and field.required and key not in value
        if missing and not field.readonly and where:
            yield f"{where}.{key}: missing"


def _value(value: object, kind: Any, where: str) -> Iterator[str]:  # noqa: ANN401 - a kind
    if value is None or kind is None:
        return
    if isinstance(kind, Many):
        yield from _many(value, kind, where)
        return
    if isinstance(kind, tuple):
        if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind):
            yield f"{where}: {kind[0].__name__} expected"
        return
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        known = [str(one.value) for one in kind]
        if str(value).lower() not in [one.lower() for one in known]:
            yield f"{where}: {value!r} is not known"
        return
    fields = kind if isinstance(kind, Mapping) else _fields_of(kind)
    if not isinstance(value, dict):
        yield f"{where}: object expected"
        return
    yield from _object(value, fields, where)


def _many(value: object, kind: Many, where: str) -> Iterator[str]:
    if not isinstance(value, dict if kind.named else list):
        yield f"{where}: {'object' if kind.named else 'array'} expected"
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield from _value(item, kind.item, f"{where}[{key}]")


def _fields_of(model: type) -> Mapping[str, Any]:
    return _fields(model, import_module(model.__module__.rpartition(".")[0]))


@cache
def _fields(model: Any, module: ModuleType) -> Mapping[str, Any]:  # noqa: ANN401 - untyped
    return _newer(model, module) if hasattr(model, "_calculated") else _older(model, module)


def _newer(model: Any, module: ModuleType) -> Mapping[str, Field]:  # noqa: ANN401 - untyped
    """Read a model whose fields learn their names when the first one is made."""
    model.__new__(model)
    hints: dict[str, object] = {}
    for base in reversed(model.__mro__):
        hints.update(inspect.get_annotations(base))
    found = {}
    for name, field in model._attr_to_rest_field.items():  # noqa: SLF001 - the model's own table
        kind, optional = _hinted(hints.get(name), module)
        readonly = field._visibility == ["read"]  # noqa: SLF001 - the same
        found[field._rest_name] = Field(kind, readonly, not optional)  # noqa: SLF001 - the same
    return found


def _hinted(hint: Any, module: ModuleType) -> tuple[Any, bool]:  # noqa: ANN401 - annotations
    """Return the kind that an annotation says, and whether it may be left out."""
    if isinstance(hint, ForwardRef | str):
        return _named(
            re.split(r"\W", str(getattr(hint, "__forward_arg__", hint)))[-1], module
        ), False
    parts = get_args(hint)
    if get_origin(hint) is Union:
        kinds = [_hinted(one, module)[0] for one in parts if one not in (type(None), str)]
        return (kinds[0] if kinds else (str,)), type(None) in parts
    if get_origin(hint) in (list, dict):
        return Many(_hinted(parts[-1], module)[0], get_origin(hint) is dict), False
    if get_origin(hint) is Literal:
        return None, False
    return _named(getattr(hint, "__name__", ""), module), False


def _older(model: Any, module: ModuleType) -> Mapping[str, Any]:  # noqa: ANN401 - untyped
    """Read a model that names a nested property by its path, such as ``properties.query``."""
    tree: dict[str, Any] = {}
    for name, field in model._attribute_map.items():  # noqa: SLF001 - the model's own table
        *parents, last = field["key"].split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        told = model._validation.get(name, {})  # noqa: SLF001 - the same
        kind = _written(field["type"], module)
        place[last] = Field(kind, bool(told.get("readonly")), bool(told.get("required")))
    return tree


def _written(text: str, module: ModuleType) -> Any:  # noqa: ANN401 - a kind
    if text[0] in "[{":
        return Many(_written(text[1:-1], module), text[0] == "{")
    return _named(text, module)


def _named(name: str, module: ModuleType) -> Any:  # noqa: ANN401 - a kind
    return PLAIN.get(name) or getattr(module, name, None)
