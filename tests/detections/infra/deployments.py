"""A resource group over time: what one deployment leaves is what the next one finds.

It has the rules of Azure that decide whether a deployment is whole: what a plan refuses, which
settings a template replaces, which names a removed vault and a removed identity keep, and that
Sentinel knows a function only some time after it was made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mailvigil.infra import resources as kinds
from mailvigil.infra.evaluate import ArmResource, Evaluation, evaluate
from mailvigil.sentinel.arm import ALERT_RULES, SAVED_SEARCHES, WATCHLISTS

Template = Mapping[str, Any]

NEEDS_SENTINEL = {ALERT_RULES, WATCHLISTS, kinds.CONNECTOR_PAGE}
FUNCTIONS = ("MailItemsAccessed", "AuditRecords", "AuditChanges", "ApprovedMailCallers")
KNOWN_LATER = 10
"""Minutes after which Sentinel knows a function."""


def app_settings(found: Evaluation) -> dict[str, str]:
    """Return the settings that a deployment leaves in the app."""
    [config] = found.deployed(kinds.APP_CONFIG)
    settings: dict[str, str] = config.body["properties"]
    return settings


@dataclass(frozen=True, slots=True)
class Deployed:
    """How a deployment ended: no outputs where anything was refused."""

    outputs: Mapping[str, Any]
    refused: tuple[str, ...]


@dataclass(slots=True)
class ResourceGroup:
    """What is in it, and which names are held by what was removed."""

    settings: dict[str, str] = field(default_factory=dict)
    minutes: int = 0
    sentinel: bool = False
    functions: dict[str, int] = field(default_factory=dict)
    vaults: dict[str, bool] = field(default_factory=dict)
    removed_vaults: dict[str, bool] = field(default_factory=dict)
    assignments: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    identities: int = 0

    def deploy(self, template: Template, **given: object) -> Deployed:
        """Deploy *template*: each resource is made or refused, and what waits for it too."""
        found = evaluate(
            template,
            given,
            {kinds.APP_CONFIG: lambda _: self.settings, kinds.IDENTITY: lambda _: self._identity()},
        )
        refused: dict[str, str] = {}
        for one in found.resources:
            if not one.deployed or any(name in refused for name in one.after):
                continue
            for why in self._refused(one):
                refused[one.id] = f"{one.type.rpartition('/')[2]}: {why}"
            if one.id not in refused:
                self._make(one)
        return Deployed({} if refused else found.outputs, tuple(refused.values()))

    def wait(self) -> None:
        """Let time pass until Sentinel knows every function."""
        self.minutes += KNOWN_LATER

    def remove(self) -> None:
        """Remove the group. A vault is only marked as removed; a new identity is another one."""
        self.removed_vaults |= self.vaults
        self.settings, self.functions, self.vaults, self.assignments = {}, {}, {}, {}
        self.sentinel = False
        self.identities += 1

    def purge(self, vault: str) -> bool:
        """Give a removed vault's name free, unless it is protected from that."""
        if self.removed_vaults[vault]:
            return False
        del self.removed_vaults[vault]
        return True

    def _identity(self) -> Mapping[str, str]:
        return {name: f"00000000-0000-4000-8000-{self.identities:08}{number:04}"
                for number, name in enumerate(("principalId", "clientId"))}  # fmt: skip

    def _refused(self, one: ArmResource) -> Iterator[str]:
        if one.type in NEEDS_SENTINEL and not self.sentinel:
            yield "Sentinel is not on"
        if one.type == kinds.SITE and "ftpsState" in one.body["properties"]["siteConfig"]:
            yield "51021: site configuration properties are invalid: ftpsState"
        if one.type == kinds.VAULT and one.name in self.removed_vaults:
            yield "already exists in deleted state"
        if one.type == ALERT_RULES:
            yield from self._unknown(one.body["properties"]["query"])
        if one.type == kinds.ASSIGNMENT:
            yield from self._assigned_already(one)

    def _unknown(self, query: str) -> Iterator[str]:
        for name in FUNCTIONS:
            made = self.functions.get(name, self.minutes)
            if re.search(rf"\b{name}\b", query) and self.minutes < made + KNOWN_LATER:
                yield f"the query does not run: {name} is not known"

    def _assigned_already(self, one: ArmResource) -> Iterator[str]:
        wanted = _assignment(one)
        there = self.assignments.get(one.id)
        if there and there != wanted:
            yield "RoleAssignmentUpdateNotPermitted"
        if there is None and wanted in self.assignments.values():
            yield "RoleAssignmentExists"

    def _make(self, one: ArmResource) -> None:
        properties = one.body.get("properties", {})
        if one.type == kinds.ONBOARDING:
            self.sentinel = True
        elif one.type == SAVED_SEARCHES and "functionAlias" in properties:
            self.functions.setdefault(properties["functionAlias"], self.minutes)
        elif one.type == kinds.VAULT:
            self.vaults[one.name] = properties.get("enablePurgeProtection", False)
        elif one.type == kinds.ASSIGNMENT:
            self.assignments[one.id] = _assignment(one)
        elif one.type == kinds.APP_CONFIG:
            self.settings = dict(properties)
        elif one.type == kinds.SITE and "appSettings" in properties["siteConfig"]:
            named = properties["siteConfig"]["appSettings"]
            self.settings = {setting["name"]: setting["value"] for setting in named}


def _assignment(one: ArmResource) -> tuple[str, str, str]:
    properties = one.body["properties"]
    return one.scope, properties["roleDefinitionId"], properties["principalId"]
