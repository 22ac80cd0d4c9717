"""Which names Azure takes, type by type, and what the plan of the app refuses.

Source: Azure Resource Manager, "Naming rules and restrictions for Azure resources", except where
another one is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from mailvigil.infra.evaluate import ArmResource
from mailvigil.infra.resources import (
    APP_CONFIG,
    ASSIGNMENT,
    BLOBS,
    CONNECTOR_PAGE,
    CONTAINER,
    DEPLOYMENT,
    ENDPOINT,
    IDENTITY,
    INSIGHTS,
    NETWORK,
    ONBOARDING,
    ONE_DEPLOY,
    PLAN,
    PUBLISHING,
    RULE,
    SECURITY_GROUP,
    SITE,
    STORAGE,
    TABLE,
    VAULT,
    WORKSPACE,
    ZONE,
    ZONE_GROUP,
    ZONE_LINK,
)
from mailvigil.sentinel.arm import SUMMARY_RULES

_GUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

NAMES: Mapping[str, str] = {
    WORKSPACE: r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]",
    TABLE: r"[A-Za-z][A-Za-z0-9_]{0,59}_CL",
    ONBOARDING: r"default",
    CONNECTOR_PAGE: r"[A-Za-z0-9][A-Za-z0-9-]{0,62}",
    # A rule of kind Direct is a part of its endpoint's host name, and so is shorter than others.
    RULE: r"[A-Za-z0-9][A-Za-z0-9-]{1,28}[A-Za-z0-9]",
    INSIGHTS: r"[A-Za-z0-9._()-]{0,259}[A-Za-z0-9_()-]",
    IDENTITY: r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}",
    STORAGE: r"[a-z0-9]{3,24}",
    BLOBS: r"default",
    CONTAINER: r"[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]",
    PLAN: r"[A-Za-z0-9-]{1,60}",
    # The host takes the first 32 letters as its id: longer names can meet each other.
    SITE: r"[A-Za-z0-9][A-Za-z0-9-]{0,30}[A-Za-z0-9]",
    PUBLISHING: r"ftp|scm",
    APP_CONFIG: r"appsettings",
    ONE_DEPLOY: r"onedeploy",
    ASSIGNMENT: _GUID,
    VAULT: r"[A-Za-z](?!.*--)[A-Za-z0-9-]{1,22}[A-Za-z0-9]",
    NETWORK: r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}[A-Za-z0-9_]",
    SECURITY_GROUP: r"[A-Za-z0-9][A-Za-z0-9._-]{0,78}[A-Za-z0-9_]",
    ENDPOINT: r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}[A-Za-z0-9_]",
    ZONE_GROUP: r"[A-Za-z0-9][A-Za-z0-9._-]{0,78}",
    ZONE: r"(?=.{1,253}$)([a-z0-9_]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}",
    ZONE_LINK: r"[A-Za-z0-9][A-Za-z0-9._-]{0,78}[A-Za-z0-9_]",
    DEPLOYMENT: r"[A-Za-z0-9._()-]{1,64}",
    SUMMARY_RULES: r"[A-Za-z0-9._-]{1,128}",
}
"""Type to the whole of what its last part may be. Other types have checks of their own."""


def name_problems(resource: ArmResource) -> Iterator[str]:
    """Return what is wrong with the name of one resource."""
    pattern = NAMES.get(resource.type)
    name = resource.name.rpartition("/")[2]
    if pattern and not re.fullmatch(pattern, name, re.ASCII):
        yield f"{resource.type} {name!r}: no name that Azure takes ({len(name)} letters)"


_REFUSED_CONFIG = ("ftpsState",)
_REFUSED_SETTINGS = re.compile(
    "FUNCTIONS_(WORKER_RUNTIME|EXTENSION_VERSION)|WEBSITE_(RUN_FROM_PACKAGE|CONTENT.*|TIME_ZONE)|"
    "WEBSITE_LOAD_CERTIFICATES|SCM_DO_BUILD_DURING_DEPLOYMENT|ENABLE_ORYX_BUILD|TZ"
)
"""Source: Azure Functions, "Flex Consumption plan: deprecated properties and settings"."""


def plan_problems(resource: ArmResource) -> Iterator[str]:
    """Return what the plan Flex Consumption refuses, and what would undo an owner's settings."""
    properties = resource.body.get("properties", {})
    config = properties.get("siteConfig", {}) if resource.type == SITE else {}
    for key in _REFUSED_CONFIG:
        if key in config:
            yield f"{SITE} {resource.name}: Flex Consumption refuses siteConfig.{key}"
    if "appSettings" in config:
        yield f"{SITE} {resource.name}: siteConfig.appSettings removes every other setting"
    names = properties if resource.type == APP_CONFIG else {}
    for name in sorted(filter(_REFUSED_SETTINGS.fullmatch, names)):
        yield f"{APP_CONFIG}: Flex Consumption refuses the setting {name}"
