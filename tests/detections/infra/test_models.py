"""Every resource of the template is one that Microsoft's own models know."""

from __future__ import annotations

import copy
import json

import pytest

from detections.infra.arm_models import MODELS, WITHOUT_MODEL, model_problems
from detections.json_changes import Body, Change, drop, put
from detections.sentinel.sdk_models import model_problems as content_problems
from mailvigil.infra import resources as kinds
from mailvigil.infra.evaluate import Evaluation
from mailvigil.sentinel.arm_checks import CHECKS


@pytest.fixture
def everything(
    cases: dict[str, Evaluation], content_cases: dict[str, Evaluation]
) -> list[Evaluation]:
    return [*cases.values(), *content_cases.values()]


def test_every_resource_is_known_to_the_service(everything: list[Evaluation]) -> None:
    bodies = {json.dumps(one.body): one for case in everything for one in case.resources}
    found = []
    for one in bodies.values():
        if one.type in MODELS:
            found += [f"{one.type} {p}" for p in model_problems(one.type, one.body)]
        elif one.type in CHECKS:
            found += [f"{one.type} {p}" for p in content_problems(unconditional(one.body))]

    assert found == []


def test_every_resource_is_held_against_a_model(everything: list[Evaluation]) -> None:
    types = {one.type for case in everything for one in case.resources}

    assert types - set(MODELS) - set(CHECKS) == set(WITHOUT_MODEL)
    assert set(MODELS) < types


def unconditional(body: Body) -> Body:
    return {key: value for key, value in body.items() if key not in {"condition", "dependsOn"}}


def changed(kind: str, change: Change, case: Evaluation) -> list[str]:
    body = copy.deepcopy(next(one.body for one in case.resources if one.type == kind))
    change(body)
    return model_problems(kind, body)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (
            kinds.WORKSPACE,
            put("properties", "sku", "name", value="PerGB2019"),
            "properties.sku.name: 'PerGB2019' is not known",
        ),
        (
            kinds.TABLE,
            put("properties", "schema", "columns", 0, "type", value="text"),
            "properties.schema.columns[0].type: 'text' is not known",
        ),
        (
            kinds.TABLE,
            put("properties", "retentionInDays", value="90"),
            "properties.retentionInDays: int expected",
        ),
        (
            kinds.RULE,
            put("properties", "dataFlows", 0, "transform", value="source"),
            "properties.dataFlows[0].transform: unknown",
        ),
        (
            kinds.RULE,
            put("properties", "immutableId", value="dcr-1"),
            "properties.immutableId: read-only",
        ),
        (
            kinds.STORAGE,
            put("properties", "minimumTlsVersion", value="TLS1_9"),
            "properties.minimumTlsVersion: 'TLS1_9' is not known",
        ),
        (kinds.STORAGE, put("sku", value={}), "sku.name: missing"),
        (
            kinds.SITE,
            put("properties", "siteConfig", "ftpState", value="Disabled"),
            "properties.siteConfig.ftpState: unknown",
        ),
        (
            kinds.SITE,
            put("properties", "functionAppConfig", "runtime", "name", value="perl"),
            "properties.functionAppConfig.runtime.name: 'perl' is not known",
        ),
        (
            kinds.SITE,
            put("properties", "siteConfig", "ipSecurityRestrictions", value={}),
            "properties.siteConfig.ipSecurityRestrictions: array expected",
        ),
        (kinds.SITE, put("properties", "state", value="Running"), "properties.state: read-only"),
        (
            kinds.ASSIGNMENT,
            drop("properties", "principalId"),
            "properties.principalId: missing",
        ),
        (
            kinds.VAULT,
            put("properties", "enableRbacAuthorization", value="true"),
            "properties.enableRbacAuthorization: bool expected",
        ),
        (
            kinds.NETWORK,
            put("properties", "subnets", 0, "properties", "delegation", value=[]),
            "properties.subnets[0].properties.delegation: unknown",
        ),
        (
            kinds.DEPLOYMENT,
            put("properties", "mode", value="Additive"),
            "properties.mode: 'Additive' is not known",
        ),
    ],
)
def test_the_models_notice_every_fault(
    kind: str, change: Change, message: str, cases: dict[str, Evaluation]
) -> None:
    assert changed(kind, change, cases["everything"]) == [message]
