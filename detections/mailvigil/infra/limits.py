"""Which names Azure takes, type by type, and what the plan of the app refuses.

Source: Azure Resource Manager, "Naming rules and restrictions for Azure resources", except where
another one is named.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

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
_WITHOUT_EFFECT = ("http20Enabled", "remoteDebuggingEnabled")
_REFUSED_SETTINGS = re.compile(
    "FUNCTIONS_(WORKER_RUNTIME|EXTENSION_VERSION)|WEBSITE_(RUN_FROM_PACKAGE|CONTENT.*|TIME_ZONE)|"
    "WEBSITE_LOAD_CERTIFICATES|SCM_DO_BUILD_DURING_DEPLOYMENT|ENABLE_ORYX_BUILD|TZ"
)
"""Source: Azure Functions, "Flex Consumption plan: deprecated properties and settings"."""

_PACKAGE = re.compile(r"https://[^/?#\s]+/([^?#\s]+/)?released-package\.zip(\?\S+)?")
"""Source: Azure Functions, "Automate resource deployment": the zip of a Flex Consumption app."""


_REFERENCE = re.compile(
    r"@Microsoft\.KeyVault\(SecretUri=https://[A-Za-z0-9.-]+/secrets/[0-9A-Za-z-]{1,127}\)"
)
"""Source: Azure App Service, "Use Key Vault references"; Key Vault, "Object identifiers"."""


def plan_problems(resource: ArmResource) -> Iterator[str]:
    """Return what the plan Flex Consumption refuses, and what would undo an owner's settings."""
    properties = resource.body.get("properties", {})
    if resource.type == SITE:
        config = properties.get("siteConfig", {})
        yield from (f"{SITE} {resource.name}: {what}" for what in _config_problems(config))
    if resource.type == APP_CONFIG:
        yield from (f"{APP_CONFIG}: {what}" for what in _setting_problems(properties))
    package = properties.get("packageUri", "") if resource.type == ONE_DEPLOY else ""
    if resource.deployed and package and not _PACKAGE.fullmatch(package):
        yield f"{ONE_DEPLOY}: packageUri is not https://, or does not end with released-package.zip"


def principal_problems(resource: ArmResource) -> Iterator[str]:
    """Return what no role can be given to."""
    if resource.type != ASSIGNMENT or not resource.deployed:
        return
    principal = str(resource.body["properties"].get("principalId"))
    if not re.fullmatch(_GUID, principal, re.IGNORECASE):
        yield f"{ASSIGNMENT} {resource.name}: principalId {principal!r} is not a GUID"


def _setting_problems(settings: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(filter(_REFUSED_SETTINGS.fullmatch, settings)):
        yield f"Flex Consumption refuses the setting {name}"
    for name, value in settings.items():
        if str(value).startswith("@Microsoft.KeyVault(") and not _REFERENCE.fullmatch(value):
            yield f"{name} is not a reference to a secret of a Key Vault"


def _config_problems(config: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"Flex Consumption refuses siteConfig.{k}" for k in _REFUSED_CONFIG if k in config)
    yield from (f"siteConfig.{key} has no effect" for key in _WITHOUT_EFFECT if key in config)
    if "appSettings" in config:
        yield "siteConfig.appSettings removes every other setting"
    for address in (rule["ipAddress"] for rule in config.get("ipSecurityRestrictions", ())):
        if not _is_range(address):
            yield f"ipSecurityRestrictions {address!r} is not a range such as 192.0.2.0/24"


def _is_range(text: str) -> bool:
    """Return whether *text* is a range with its length. Azure CLI refuses bits behind that too."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return "/" in text
