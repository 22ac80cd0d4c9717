"""Every resource of every evaluated case is one that Azure's own published types know."""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from detections.json_changes import Change, drop, put
from mailvigil.infra import resources as kinds
from mailvigil.infra.evaluate import Evaluation
from mailvigil.infra.problems import CASES_OF, COLLECTOR, template_problems
from mailvigil.infra.type_check import TypeCheck
from mailvigil.sentinel.arm import ALERT_RULES, SAVED_SEARCHES
from mailvigil.sentinel.resource_types import (
    TypeFinding,
    published_types,
    source,
    type_findings,
    undeclared_values,
    without_indices,
)

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def evaluated(
    cases: dict[str, Evaluation], content_cases: dict[str, Evaluation]
) -> list[Evaluation]:
    return [*cases.values(), *content_cases.values()]


def checked(evaluated: list[Evaluation]) -> tuple[TypeCheck, list[str]]:
    check = TypeCheck()
    problems = [problem for case in evaluated for deployed in case.resources
                for problem in check.problems(deployed)]  # fmt: skip
    return check, problems


def test_no_resource_of_any_case_has_what_its_type_has_not(evaluated: list[Evaluation]) -> None:
    check, problems = checked(evaluated)

    assert problems == []
    assert check.resources == sum(len(case.resources) for case in evaluated)
    assert check.types == set(published_types())
    assert check.summary().startswith(f"{check.resources} resources of {len(check.types)} types ")


def test_every_warning_has_a_reason_and_every_reason_warns(evaluated: list[Evaluation]) -> None:
    findings = {
        (without_indices(finding.place), finding.reason)
        for case in evaluated for deployed in case.resources
        for finding in type_findings(deployed.body) if finding.warning
    }  # fmt: skip

    assert findings == {(row.place, f"{row.reason} ({row.source})") for row in undeclared_values()}


def written(part: object) -> Iterator[tuple[str, str]]:
    """Yield each resource's type and API version, in nested templates too."""
    if isinstance(part, dict) and "apiVersion" in part:
        below = "Microsoft.OperationalInsights/workspaces/providers"
        yield part["type"].replace(below, "Microsoft.SecurityInsights"), part["apiVersion"]
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for item in inner:
        yield from written(item)


def test_every_api_version_that_is_written_is_published(checkout: Path) -> None:
    texts = [(checkout / "infra" / name).read_text(encoding="utf-8") for name in CASES_OF]
    versions = {version for text in texts for version in written(json.loads(text))}

    published = {(name, version) for name, known in published_types().items()
                 for version in known.published}  # fmt: skip
    assert versions <= published
    assert {name for name, _ in versions} == set(published_types())


# --- Seeded faults -------------------------------------------------------------------------------


def found(kind: str, change: Change, evaluated: list[Evaluation]) -> list[TypeFinding]:
    """Return what *change* does to the findings about the first resource of a type."""
    deployed = next(one for case in evaluated for one in case.resources if one.type == kind)
    body = copy.deepcopy(deployed.body)
    change(body)
    before = set(type_findings(deployed.body))
    return [finding for finding in type_findings(body) if finding not in before]


CONFIG = ("properties", "siteConfig")


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (kinds.SITE, put(*CONFIG, "ftpState", value="Disabled"),
         "properties.siteConfig.ftpState: unknown property (is ftpsState meant?)"),
        (kinds.RULE, put("properties", "dataFlows", 0, "transform", value="source"),
         "properties.dataFlows[0].transform: unknown property (is transformKql meant?)"),
        (kinds.NETWORK, put("properties", "subnets", 0, "properties", "delegation", value=[]),
         "properties.subnets[0].properties.delegation: unknown property (is delegations meant?)"),
        (ALERT_RULES, put("properties", "threshold", value=0),
         "properties.threshold: unknown property (is triggerThreshold meant?)"),
        (kinds.ONE_DEPLOY, put("properties", "remoteBuidl", value=True),
         "properties.remoteBuidl: unknown property (is remoteBuild meant?)"),
    ],
)  # fmt: skip
def test_an_unknown_property_is_named(
    kind: str, change: Change, message: str, evaluated: list[Evaluation]
) -> None:
    [finding] = found(kind, change, evaluated)

    assert (str(finding), finding.warning) == (message, False)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (kinds.VAULT, put("properties", "sku", "name", value="basic"),
         "properties.sku.name: 'basic' is none of 'standard', 'premium'"),
        (kinds.DEPLOYMENT, put("properties", "mode", value="Additive"),
         "properties.mode: 'Additive' is none of 'Incremental', 'Complete'"),
        (kinds.STORAGE, put("properties", "networkAcls", "defaultAction", value="Refuse"),
         "properties.networkAcls.defaultAction: 'Refuse' is none of 'Allow', 'Deny'"),
        (kinds.CONTAINER, put("properties", "publicAccess", value="All"),
         "properties.publicAccess: 'All' is none of 'Container', 'Blob', 'None'"),
        (kinds.SITE, put("properties", "redundancyMode", value="Two"), (
            "properties.redundancyMode: 'Two' is none of "
            "'None', 'Manual', 'Failover', 'ActiveActive', 'GeoRedundant'"
        )),
        (ALERT_RULES, put("kind", value="Sometimes"), "kind: 'Sometimes' is none of 'Scheduled'"),
        (kinds.APP_CONFIG, put("name", value="app/web"), "name: 'web' is none of 'appsettings'"),
    ],
)  # fmt: skip
def test_a_wrong_value_of_an_enumeration_is_named(
    kind: str, change: Change, message: str, evaluated: list[Evaluation]
) -> None:
    [finding] = found(kind, change, evaluated)

    assert (str(finding), finding.warning) == (message, False)


def test_a_value_that_is_not_among_the_known_ones_warns(evaluated: list[Evaluation]) -> None:
    change = put("properties", "minimumTlsVersion", value="TLS1_9")

    [finding] = found(kinds.STORAGE, change, evaluated)

    assert finding.warning
    assert str(finding).startswith("properties.minimumTlsVersion: 'TLS1_9' is none of 'TLS1_0', ")


@pytest.mark.parametrize(
    ("kind", "change", "place"),
    [
        (kinds.ASSIGNMENT, drop("properties", "principalId"), "properties.principalId"),
        (kinds.STORAGE, drop("sku"), "sku"),
        (kinds.STORAGE, put("sku", "name", value=None), "sku.name"),
        (kinds.SITE, drop("location"), "location"),
        (kinds.VAULT, drop("properties", "tenantId"), "properties.tenantId"),
        (SAVED_SEARCHES, drop("properties", "query"), "properties.query"),
        (ALERT_RULES, drop("kind"), "kind"),
        (kinds.ONE_DEPLOY, drop("properties", "packageUri"), "properties.packageUri"),
    ],
)
def test_a_required_property_that_is_missing_is_named(
    kind: str, change: Change, place: str, evaluated: list[Evaluation]
) -> None:
    [finding] = found(kind, change, evaluated)

    assert (str(finding), finding.warning) == (f"{place}: missing, and required", False)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (kinds.VAULT, put("properties", "enableRbacAuthorization", value="true"),
         "properties.enableRbacAuthorization: string where the type has bool"),
        (kinds.TABLE, put("properties", "retentionInDays", value="90"),
         "properties.retentionInDays: string where the type has int"),
        (kinds.TABLE, put("properties", "retentionInDays", value=True),
         "properties.retentionInDays: bool where the type has int"),
        (kinds.SITE, put(*CONFIG, "minTlsVersion", value=1.2),
         "properties.siteConfig.minTlsVersion: number where the type has string"),
        (kinds.SITE, put(*CONFIG, "ipSecurityRestrictions", value={}),
         "properties.siteConfig.ipSecurityRestrictions: object where the type has array"),
        (kinds.APP_CONFIG, put("properties", "AUDIT_FEED_WORKERS", value=4),
         "properties.AUDIT_FEED_WORKERS: int where the type has string"),
        (kinds.PLAN, put("sku", value="FC1"), "sku: string where the type has object"),
        (kinds.ONE_DEPLOY, put("properties", "remoteBuild", value="true"),
         "properties.remoteBuild: string where the type has bool"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_primitive_type_is_named(
    kind: str, change: Change, message: str, evaluated: list[Evaluation]
) -> None:
    [finding] = found(kind, change, evaluated)

    assert (str(finding), finding.warning) == (message, False)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (kinds.RULE, ("properties", "immutableId")),
        (kinds.SITE, ("properties", "state")),
        (kinds.SITE, ("id",)),
        (kinds.STORAGE, ("properties", "primaryEndpoints")),
        (kinds.NETWORK, ("properties", "provisioningState")),
    ],
)
def test_a_read_only_property_that_is_written_is_named(
    kind: str, path: tuple[str, ...], evaluated: list[Evaluation]
) -> None:
    [finding] = found(kind, put(*path, value="made-up"), evaluated)

    read_only = f"{'.'.join(path)}: read-only: the service sets it"
    assert (str(finding), finding.warning) == (read_only, False)


def test_a_version_that_is_not_published_is_named(evaluated: list[Evaluation]) -> None:
    [finding] = found(SAVED_SEARCHES, put("apiVersion", value="2022-10-01"), evaluated)

    assert str(finding).startswith("apiVersion: 2022-10-01 is not published (2023-09-01, ")
    assert not finding.warning


def test_a_type_that_is_not_carried_is_named() -> None:
    [finding] = type_findings({"type": "Microsoft.Web/sites/slots", "name": "a/b"})

    assert "Microsoft.Web/sites/slots is not carried" in str(finding)
    assert not finding.warning


def test_a_template_with_a_seeded_fault_is_not_built(template: dict[str, Any]) -> None:
    [site] = [one for one in template["resources"] if one["type"] == kinds.SITE]
    site["properties"]["reserved"] = "yes"

    [problem] = template_problems(template, {"defaults": CASES_OF[COLLECTOR]["defaults"]})

    assert problem.startswith(f"{kinds.SITE} mailvigil-")
    assert problem.endswith("properties.reserved: string where the type has bool")


# --- Renewal --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """Return the module that renews the types."""
    path = CHECKOUT / ".ci" / "resource_types.py"
    spec = importlib.util.spec_from_file_location("renew_resource_types", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reference(number: int) -> dict[str, str]:
    return {"$ref": f"#/{number}"}


def property_of(number: int, flags: int = 0) -> dict[str, object]:
    return {"type": reference(number), "flags": flags, "description": "left out"}


PUBLISHED: list[dict[str, object]] = [
    {"$type": "ResourceType", "name": "X/y@1", "body": reference(1)},
    {"$type": "ObjectType", "name": "X/y", "properties": {
        "id": property_of(2, 10), "name": property_of(2, 9), "type": property_of(2, 10),
        "apiVersion": property_of(2, 10), "properties": property_of(3, 1),
    }},
    {"$type": "StringType", "maxLength": 3},
    {"$type": "ObjectType", "name": "Properties", "properties": {
        "mode": property_of(4), "open": property_of(7), "many": property_of(8),
        "state": property_of(2, 2), "tags": property_of(9), "count": property_of(10, 1),
        "part": property_of(11),
    }},
    {"$type": "UnionType", "elements": [reference(5), reference(6)]},
    {"$type": "StringLiteralType", "value": "On"},
    {"$type": "StringLiteralType", "value": "Off"},
    {"$type": "UnionType", "elements": [reference(5), reference(2)]},
    {"$type": "ArrayType", "itemType": reference(3)},
    {"$type": "ObjectType", "name": "Tags", "properties": {}, "additionalProperties": reference(2)},
    {"$type": "IntegerType"},
    {"$type": "DiscriminatedObjectType", "name": "Part", "discriminator": "kind",
     "baseProperties": {"size": property_of(10)}, "elements": {"A": reference(12)}},
    {"$type": "ObjectType", "name": "A", "properties": {"kind": property_of(13, 1)}},
    {"$type": "StringLiteralType", "value": "A"},
]  # fmt: skip
"""A file of types in the form of Azure/bicep-types-az, with each kind of type."""


@pytest.fixture
def types_checkout(tmp_path: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(script, "RESOURCES", {"X/y": ()})
    generated = tmp_path / "generated" / "x"
    generated.mkdir(parents=True)
    (generated / "types.json").write_text(json.dumps(PUBLISHED))
    versions = ("2020-01-01", "2025-01-01", "2026-01-01-preview")
    index = {"resources": {f"x/Y@{version}": {"$ref": "x/types.json#/0"} for version in versions}}
    (tmp_path / "generated" / "index.json").write_text(json.dumps(index))
    return tmp_path


def test_the_types_are_renewed_from_a_checkout(
    types_checkout: Path, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    out = types_checkout / "out.json"

    assert script.main([str(types_checkout), "--out", str(out)]) == 0

    assert "1 types of Azure/bicep-types-az" in capsys.readouterr().out
    written = json.loads(out.read_text())["resources"]["X/y"]
    assert written["published"] == ["2020-01-01", "2025-01-01", "2026-01-01-preview"]
    assert written["shapes"] == {
        "2025-01-01": {
            "body": {"object": {"id-": "any", "name!": "string", "properties!": "#Properties"}},
            "objects": {
                "Part": {
                    "by": "kind",
                    "of": {"A": {"object": {"size": "int", "kind!": {"enum": ["A"]}}}},
                },
                "Properties": {
                    "object": {
                        "mode": {"enum": ["On", "Off"]}, "open": {"known": ["On"]},
                        "many": {"array": "#Properties"}, "state-": "any", "tags": "#Tags",
                        "count!": "int", "part": "#Part",
                    }
                },
                "Tags": {"object": {}, "map": "string"},
            },
        }
    }  # fmt: skip


def test_a_folder_that_is_not_such_a_checkout_writes_nothing(
    tmp_path: Path, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"

    assert script.main([str(tmp_path), "--out", str(out)]) == 1
    assert "not a checkout with these types" in capsys.readouterr().err
    assert not out.exists()


def test_the_carried_types_are_those_that_are_renewed_and_say_where_they_are_from(
    script: ModuleType,
) -> None:
    carried = json.loads(script.TARGET.read_text(encoding="utf-8"))

    assert set(carried["resources"]) == set(script.RESOURCES)
    assert script.as_text(carried["source"], carried["resources"]) == script.TARGET.read_text()
    assert carried["source"]["repository"] == "https://github.com/Azure/bicep-types-az"
    assert carried["source"]["licence"] == script.LICENCE
    assert source() == carried["source"]["version"]
    notices = (CHECKOUT / "THIRD_PARTY_NOTICES.txt").read_text(encoding="utf-8")
    assert carried["source"]["repository"] in notices
