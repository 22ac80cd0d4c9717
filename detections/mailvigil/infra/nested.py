"""Parts that are deployed into the workspace's resource group, which may be another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mailvigil.infra.resources import DEPLOYMENT, Json, formula, parameter, resource, variable
from mailvigil.sentinel.arm import SCHEMA

WORKSPACE_PARAMETER: Json = {"type": "string", "minLength": 4, "maxLength": 63}


def deployment_name(word: str) -> str:
    """Return what names a part's deployment, without brackets."""
    return f"concat({parameter('namePrefix')}, '-{word}')"


def deployment_id(word: str) -> str:
    """Return what gives a part's id, in the workspace's group, without brackets."""
    group = f"{variable('workspaceSubscription')}, {variable('workspaceGroup')}"
    return f"resourceId({group}, '{DEPLOYMENT}', {deployment_name(word)})"


def nested(
    word: str,
    resources: Iterable[Json],
    *,
    given: Mapping[str, Json],
    after: Iterable[str] = (),
    condition: str = "",
) -> Json:
    """Return a deployment of *resources* into the workspace's group.

    Args:
        word: What the part is named by.
        resources: They read parameters of their own: ``workspace``, and those of *given*.
        given: Parameter to its declaration, and under ``from`` the outer expression passed on.
        after: Ids, without brackets, of what must be there before.
        condition: Without brackets; empty for always.

    """
    outer = {"workspace": {**WORKSPACE_PARAMETER, "from": variable("workspaceName")}, **given}
    declared = {
        name: {k: v for k, v in declaration.items() if k != "from"}
        for name, declaration in outer.items()
    }
    passed = {name: {"value": formula(declaration["from"])} for name, declaration in outer.items()}
    conditional: Json = {"condition": formula(condition)} if condition else {}
    return resource(
        DEPLOYMENT,
        formula(deployment_name(word)),
        **conditional,
        subscriptionId=formula(variable("workspaceSubscription")),
        resourceGroup=formula(variable("workspaceGroup")),
        dependsOn=[formula(declaration) for declaration in after],
        properties={
            "mode": "Incremental",
            "expressionEvaluationOptions": {"scope": "inner"},
            "parameters": passed,
            "template": {
                "$schema": SCHEMA,
                "contentVersion": "1.0.0.0",
                "parameters": declared,
                "resources": list(resources),
            },
        },
    )
