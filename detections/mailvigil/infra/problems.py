"""What is wrong with a template, whatever an owner chooses in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mailvigil.infra.evaluate import evaluate
from mailvigil.infra.limits import NAMES, name_problems
from mailvigil.infra.parameters import LONGEST_PREFIX
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
    "everything": {
        "namePrefix": "m" * LONGEST_PREFIX,
        "privateNetwork": True,
        "useCertificate": True,
        "applicationClientId": _GUID,
        "applicationObjectId": _GUID,
        "allowedAddresses": ["192.0.2.0/24", "198.51.100.0/24"],
        "packageUri": "https://example.com/mailvigil-function.zip",
    },
    "nothing but the app": {
        "enableSentinel": False,
        "deployRules": False,
        "deployHuntingQueries": False,
        "deployWatchlist": False,
        "deployWorkbook": False,
        "deployConnectorPage": False,
        "startSubscriptions": False,
    },
}
"""Parameters of owners, such that each switch is on in one case and off in another."""


def template_problems(template: Mapping[str, Any]) -> Iterator[str]:
    """Return what is wrong, each ``place: what``, over all ``CASES`` and each once."""
    problems: dict[str, None] = {}
    try:
        problems.update(dict.fromkeys(frame_problems(template)))
        size = len(json.dumps(template, ensure_ascii=False).encode())
        if size > MAX_TEMPLATE_BYTES:
            problems[f"template: {size} bytes (a template may have 4 MB)"] = None
        for given in CASES.values():
            problems.update(dict.fromkeys(_problems(template, given)))
    except (KeyError, TypeError, AttributeError) as error:
        problems[f"template: not of its form: {error!r}"] = None
    yield from problems


def _problems(template: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    evaluated = evaluate(template, given)
    yield from evaluated.problems
    for deployed in evaluated.resources:
        yield from name_problems(deployed)
        if deployed.type in CHECKS:
            yield from (
                f"{deployed.type} {deployed.name}: {what}"
                for what in resource_problems(deployed.body)
            )
        elif deployed.type not in NAMES:
            yield f"{deployed.type} {deployed.name}: which names it takes is not known"
