"""What is known of a rule or of an application id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mailvigil.compiler.compile import to_kql
from mailvigil.errors import InputError
from mailvigil.rules.app_names import CATALOGUE, catalogue, find
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.rule import Rule

_GUID = re.compile(r"\{?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\}?", re.ASCII)
_PARTIES = {
    "microsoft": "Microsoft's own (first party)",
    "third-party": "of another maker",
    "third-party-abused": "of another maker, and known from account takeovers",
}
_SOURCE = (
    f"mailvigil's own catalogue ({CATALOGUE}), written by hand and not complete; it names no "
    "source for a single entry"
)
_CAUTION = (
    "A name is for reading an alert. An id that is known is not thereby harmless: intruders use "
    "Microsoft's own."
)
_UNKNOWN = (
    "Not known: it is not among the {count} application ids of mailvigil's catalogue. That speaks "
    "neither for nor against it."
)
_NEXT = (
    "Look the id up in your tenant: Entra admin center, Enterprise applications, filter "
    "Application ID; or Get-MgServicePrincipal -Filter \"appId eq '{id}'\"."
)

Explanation = Mapping[str, object]
"""What is known, in the form of the JSON. In a table, each name is a heading."""


def explained(what: str, root: Path) -> Explanation:
    """Return what is known of *what*, a rule's name or id, or an application id, in any case.

    Raises:
        InputError: It is neither.
        RuleError: A rule below *root* is broken.

    """
    wanted = what.strip().lower()
    guid = _GUID.fullmatch(wanted)
    rules = load_rules(root)
    for rule in rules:
        if rule.name.lower() == wanted or (guid and rule.id.lower() == guid[1]):
            return _explain_rule(rule, root)
    if not guid:
        names = ", ".join(rule.name for rule in rules)
        todo = f"the rules are {names}; an application id is a GUID"
        raise InputError(what, "neither a rule nor an application id", todo)
    return _explain_app(guid[1])


def _explain_rule(rule: Rule, root: Path) -> Explanation:
    return {
        "rule": rule.name,
        "id": rule.id,
        "title": rule.title,
        "severity": rule.severity,
        "version": rule.version,
        "detects": " ".join(rule.description.split()),
        "misses": list(rule.misses),
        "false_positives": list(rule.falsepositives),
        "triage": list(rule.triage),
        "attack": [_attack(tag) for tag in rule.tags if tag.startswith("attack.")],
        "tables": list(rule.sources),
        "kql": to_kql(rule, root),
    }


def _attack(tag: str) -> str:
    """Return a tag as ATT&CK writes it: ``T1114.002``, or the tactic ``Initial Access``."""
    word = tag.removeprefix("attack.")
    is_number = re.fullmatch(r"[a-z]{1,2}\d+(\.\d+)?", word, re.ASCII)
    return word.upper() if is_number else word.replace("-", " ").replace("_", " ").title()


def _explain_app(app_id: str) -> Explanation:
    app = find(app_id)
    if app is None:
        return {
            "application": app_id,
            "known": False,
            "note": _UNKNOWN.format(count=len(catalogue())),
            "next": _NEXT.format(id=app_id),
        }
    return {
        "application": app_id,
        "known": True,
        "name": app.name,
        "first_party": app.party == "microsoft",
        "party": app.party,
        "maker": _PARTIES[app.party],
        "what": app.what,
        "source": _SOURCE,
        "note": _CAUTION,
    }
