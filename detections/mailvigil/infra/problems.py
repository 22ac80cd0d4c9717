"""What is wrong with the templates, whatever an owner chooses in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mailvigil.infra.evaluate import evaluate
from mailvigil.infra.limits import NAMES, name_problems, plan_problems, principal_problems
from mailvigil.infra.parameters import LONGEST_PREFIX
from mailvigil.infra.type_check import TypeCheck
from mailvigil.sentinel.arm_checks import (
    CHECKS,
    MAX_TEMPLATE_BYTES,
    frame_problems,
    resource_problems,
)

ELSEWHERE = (
    "/subscriptions/00000000-0000-4000-8000-0000000000aa/resourceGroups/soc/providers/"
    "Microsoft.OperationalInsights/workspaces/soc-logs"
)
"""A workspace of another subscription."""

_GUID = "00000000-0000-4000-8000-00000000000b"

CASES: Mapping[str, Mapping[str, Any]] = {
    "defaults": {},
    "longest names": {"namePrefix": "m" * LONGEST_PREFIX, "certificateName": "c" * 127},
    "shortest names": {"namePrefix": "mv1"},
    "workspace elsewhere": {"existingWorkspaceId": ELSEWHERE, "activityPlan": "Basic"},
    "every choice": {
        "tenantIds": _GUID,
        "contentTypes": ["Audit.Exchange", "Audit.SharePoint"],
        "cloud": "gcc-high",
        "since": "7d",
        "profile": "lean",
        "startSubscriptions": "false",
        "settings": {"AUDIT_FEED_KEEP": "60d"},
    },
    "everything": {
        "namePrefix": "m" * LONGEST_PREFIX,
        "privateNetwork": True,
        "useCertificate": True,
        "applicationClientId": _GUID,
        "applicationObjectId": _GUID,
        "allowedAddresses": ["192.0.2.0/24", "198.51.100.0/24"],
        "vaultName": "kv-mailvigil-2",
        "packageUri": "https://example.com/released-package.zip",
    },
}
"""Parameters of owners, such that each switch is on in one case and off in another."""

_LOGS = {"workspace": "soc-logs"}

COLLECTOR = "azuredeploy.json"
CONTENT = "content.json"
RULES = "rules.json"
PAGE = "data-connector.json"
CASES_OF: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    COLLECTOR: CASES,
    CONTENT: {
        "all content": _LOGS,
        "memory without the collector": {
            **_LOGS,
            "createCallerTable": True,
            "summarizeOfficeActivity": True,
        },
        "memory beside the collector": {**_LOGS, "summarizeCloudAppEvents": True},
        "functions alone": {
            **_LOGS,
            "enableSentinel": False,
            "deployHuntingQueries": False,
            "deployWatchlist": False,
            "deployWorkbook": False,
            "deployConnectorPage": False,
        },
    },
    RULES: {"all rules": _LOGS},
    PAGE: {"page alone": _LOGS},
}
"""Template to its cases."""


def template_problems(
    template: Mapping[str, Any],
    cases: Mapping[str, Mapping[str, Any]] = CASES,
    types: TypeCheck | None = None,
) -> Iterator[str]:
    """Yield what is wrong, each ``place: what``, over all *cases* and each once, as it is found.

    *types* counts the resources and keeps the warnings.
    """
    named: set[str] = set()
    try:
        for problem in _in_all(template, cases, types or TypeCheck()):
            if problem not in named:
                named.add(problem)
                yield problem
    except (KeyError, TypeError, AttributeError) as error:
        yield f"template: not of its form: {error!r}"


def _in_all(
    template: Mapping[str, Any], cases: Mapping[str, Mapping[str, Any]], types: TypeCheck
) -> Iterator[str]:
    yield from frame_problems(template)
    size = len(json.dumps(template, ensure_ascii=False).encode())
    if size > MAX_TEMPLATE_BYTES:
        yield f"template: {size} bytes (a template may have 4 MB)"
    for given in cases.values():
        yield from _problems(template, given, types)


def _problems(
    template: Mapping[str, Any], given: Mapping[str, Any], types: TypeCheck
) -> Iterator[str]:
    evaluated = evaluate(template, given)
    yield from evaluated.problems
    for deployed in evaluated.resources:
        yield from name_problems(deployed)
        yield from plan_problems(deployed)
        yield from principal_problems(deployed)
        yield from types.problems(deployed)
        if deployed.type in CHECKS:
            yield from (
                f"{deployed.type} {deployed.name}: {what}"
                for what in resource_problems(deployed.body)
            )
        elif deployed.type not in NAMES:
            yield f"{deployed.type} {deployed.name}: which names it takes is not known"
