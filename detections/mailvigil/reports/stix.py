"""The findings as a STIX 2.1 bundle, with ids that stay the same from run to run.

A rule is an indicator whose pattern is its Sigma text; a finding is a sighting of it, with the
observed callers, mailboxes and addresses, and a note that says what to do next.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import uuid5

import stix2
from stix2.base import _STIXBase

from mailvigil.hunt.finding_id import NAMESPACE, finding_id
from mailvigil.hunt.findings import Finding, display_name
from mailvigil.hunt.result import HuntResult
from mailvigil.printable import visible
from mailvigil.rules.rule import Rule

_SINCE = datetime(2026, 1, 1, tzinfo=UTC)
"""Creation time of objects without a time of their own: the rules and their author."""
_MOST = 999_999_999
"""Largest count that STIX allows."""


def as_stix(result: HuntResult) -> str:
    """Return the bundle as JSON; the same findings give the same bytes."""
    author = stix2.Identity(
        id=_id("identity", "mailvigil"),
        created=_SINCE,
        modified=_SINCE,
        name="mailvigil",
        identity_class="system",
        description="A hunt for mail read by callers that a tenant has not seen before.",
    )
    rules = {f.rule.name: f.rule for f in result.findings}
    indicators = {name: _indicator(rule, author) for name, rule in rules.items()}
    objects = [author, *indicators.values()]
    for finding in result.findings:
        objects += _objects(finding, indicators[finding.rule.name], author)
    unique = {item.id: item for item in objects}
    names = ",".join(unique)
    bundle = stix2.Bundle(
        id=_id("bundle", names), objects=list(unique.values()), allow_custom=False
    )
    return str(bundle.serialize(pretty=True)) + "\n"


def _indicator(rule: Rule, author: _STIXBase) -> _STIXBase:
    return stix2.Indicator(
        id=_id("indicator", f"{rule.id} {rule.version}"),
        created=_SINCE,
        modified=_SINCE,
        created_by_ref=author.id,
        name=rule.title,
        description=" ".join(rule.description.split()),
        pattern=rule.text,
        pattern_type="sigma",
        valid_from=_SINCE,
        labels=[rule.name, f"version-{rule.version}", f"severity-{rule.severity.lower()}"],
    )


def _objects(finding: Finding, indicator: _STIXBase, author: _STIXBase) -> Sequence[_STIXBase]:
    key = str(finding_id(finding))
    last = max(finding.last, finding.first)
    common = {"created": finding.first, "modified": last, "created_by_ref": author.id}
    seen = [*_callers(finding), *_mailboxes(finding), *_addresses(finding)]
    observed = stix2.ObservedData(
        id=_id("observed-data", key),
        first_observed=finding.first,
        last_observed=last,
        number_observed=min(finding.records, _MOST),
        object_refs=[item.id for item in seen],
        **common,
    )
    sighting = stix2.Sighting(
        id=_id("sighting", key),
        sighting_of_ref=indicator.id,
        observed_data_refs=[observed.id],
        first_seen=finding.first,
        last_seen=last,
        count=min(finding.records, _MOST),
        description=visible(finding.why),
        **common,
    )
    note = stix2.Note(
        id=_id("note", key),
        abstract="What to do next",
        content="\n".join(finding.rule.triage),
        object_refs=[sighting.id],
        **common,
    )
    return [*seen, observed, sighting, note]


def _callers(finding: Finding) -> list[_STIXBase]:
    return [
        _observable(stix2.Software, name=visible(display_name(caller, name)))
        for caller, name in finding.callers.items()
    ]


def _mailboxes(finding: Finding) -> list[_STIXBase]:
    names = dict.fromkeys((*finding.mailboxes, *finding.users))
    return [
        _observable(stix2.UserAccount, account_login=visible(name), account_type="office-365")
        for name in names
    ]


def _addresses(finding: Finding) -> list[_STIXBase]:
    """Return the IP addresses; a host name or broken text, which logs have too, is none."""
    return [
        _observable(
            stix2.IPv4Address if address.version == 4 else stix2.IPv6Address,  # noqa: PLR2004 - IP version
            value=str(address),
        )
        for address in _parsed(finding.addresses)
    ]


def _parsed(
    texts: Iterable[str],
) -> Iterable[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    for text in texts:
        try:
            yield ipaddress.ip_address(text)
        except ValueError:
            continue


def _observable(kind: type[_STIXBase], **values: str) -> _STIXBase:
    return kind(**values)


def _id(kind: str, name: str) -> str:
    return f"{kind}--{uuid5(NAMESPACE, f'{kind} {name}')}"
