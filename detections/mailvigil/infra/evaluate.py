"""Evaluate a template as a deployment would: which resources there are, with what in them.

What only Azure can know has a made-up value: see ``STATES``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mailvigil.infra.resources import (
    APP_CONFIG,
    DEPLOYMENT,
    IDENTITY,
    INSIGHTS,
    NETWORK,
    RULE,
    STORAGE,
    WORKSPACE,
    Json,
)
from mailvigil.sentinel.arm_checks import TYPES
from mailvigil.sentinel.arm_expressions import GROUP, ExpressionError, Scope, resource_id

State = Callable[[str], Mapping[str, Any]]
"""Gives the runtime state of the deployed resource with that name."""

STATES: Mapping[str, State] = {
    RULE: lambda _: {
        "immutableId": "dcr-00000000000040008000000000000003",
        "endpoints": {"logsIngestion": "https://feed.westeurope-1.ingest.monitor.azure.com"},
    },
    IDENTITY: lambda _: {
        "principalId": "00000000-0000-4000-8000-000000000004",
        "clientId": "00000000-0000-4000-8000-000000000005",
    },
    INSIGHTS: lambda _: {
        "ConnectionString": "InstrumentationKey=00000000-0000-4000-8000-000000000006"
    },
    APP_CONFIG: lambda _: {},
    STORAGE: lambda name: {"primaryEndpoints": {"blob": f"https://{name}.blob.core.windows.net/"}},
}
"""Type of a resource to what ``reference`` gives of it, or ``list`` as its properties."""

_ID = re.compile(r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/.+", re.IGNORECASE)
_KEYS = frozenset(
    {"type", "apiVersion", "name", "kind", "location", "sku", "identity", "scope", "etag",
     "condition", "dependsOn", "properties", "subscriptionId", "resourceGroup"}
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResource:
    """A resource as it is deployed. ``body`` is resolved; ``id`` is in lower case.

    ``reads`` are the ids that ``reference`` reads.
    """

    type: str
    name: str
    id: str
    scope: str
    deployed: bool
    after: tuple[str, ...]
    reads: frozenset[str]
    body: Json


@dataclass(slots=True)
class Evaluation:
    """The result of a template: all its resources, nested ones too, outputs and problems."""

    resources: list[ArmResource] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def deployed(self, kind: str) -> list[ArmResource]:
        """Return the resources of one type that are deployed."""
        return [
            resource for resource in self.resources if resource.type == kind and resource.deployed
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a template is deployed to, and what is known there already."""

    where: str = ""
    group: str = GROUP
    deployed: bool = True
    known: frozenset[str] = frozenset()
    states: Mapping[str, State] = field(default_factory=lambda: STATES)


def evaluate(
    template: Mapping[str, Any],
    given: Mapping[str, Any] | None = None,
    states: Mapping[str, State] | None = None,
) -> Evaluation:
    """Return what a deployment of *template* with the parameters *given* results in.

    Args:
        template: As parsed from its file.
        given: Parameter to value; the others have their default.
        states: What ``reference`` gives, type by type, in place of ``STATES``.

    """
    place = _Place(states={**STATES, **(states or {})})
    return _Template(template, place).evaluate(given or {})


class _Template:
    """One template, the outer or a nested one."""

    def __init__(self, template: Mapping[str, Any], place: _Place) -> None:
        self._template = template
        self._place = place
        self._evaluated = Evaluation()
        self._conditions: dict[str, bool] = {}
        self._asked: set[str] = set()
        self._read: set[str] = set()
        self._listed: set[str] = set()
        self._elsewhere: frozenset[str] = frozenset()

    def evaluate(self, given: Mapping[str, Any]) -> Evaluation:
        values = self._parameters(given)
        self._elsewhere = frozenset(self._given_ids(values))
        functions = {"resourceid": self._resource_id}
        scope = Scope(values, self._template.get("variables", {}), functions)
        heads = [self._head(number, resource, scope) for number, resource in self._numbered()]
        scope.functions = {**scope.functions, "reference": self._reference, "list": self._list}
        for (number, resource), head in zip(self._numbered(), heads, strict=True):
            if head:
                self._body(number, resource, head, scope)
        self._outputs(scope)
        self._whole(scope)
        return self._evaluated

    def _numbered(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        yield from enumerate(self._template["resources"])

    def _wrong(self, where: str, what: object) -> None:
        self._evaluated.problems.append(f"{self._place.where}{where}: {what}")

    # --- Parameters -------------------------------------------------------------------------

    def _parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        declared = self._template.get("parameters", {})
        for name in sorted(set(given) - set(declared)):
            self._wrong(f"parameter {name}", "given, but not declared")
        values = {}
        for name, declaration in declared.items():
            if name not in given and "defaultValue" not in declaration:
                self._wrong(f"parameter {name}", "not given, and has no default")
                continue
            values[name] = given.get(name, declaration.get("defaultValue"))
            if name in given or not _expression(values[name]):
                for problem in _out_of_bounds(declaration, values[name]):
                    self._wrong(f"parameter {name}", problem)
        return values

    # --- Resources --------------------------------------------------------------------------

    def _head(self, number: int, resource: Mapping[str, Any], scope: Scope) -> Json | None:
        """Resolve what must be known before the deployment, which ``reference`` cannot give yet."""
        where = f"resources[{number}]"
        for key in sorted(set(resource) - _KEYS):
            self._wrong(where, f"unknown key {key}")
        try:
            names = ("type", "name", "scope", "condition", "subscriptionId", "resourceGroup")
            head: Json = {key: scope.resolve(resource[key]) for key in names if key in resource}
            group = self._group(head)
            head["id"] = self._id(head, group).lower()
        except (ExpressionError, ValueError, KeyError) as error:
            self._wrong(where, error)
            return None
        head["deployed"] = self._place.deployed and head.get("condition", True) is True
        if head["id"] in self._conditions:
            self._wrong(where, f"a second {head['type']} named {head['name']}")
        self._conditions[head["id"]] = head["deployed"]
        return head

    def _group(self, head: Json) -> str:
        if "resourceGroup" not in head:
            return self._place.group
        return f"/subscriptions/{head['subscriptionId']}/resourceGroups/{head['resourceGroup']}"

    def _id(self, head: Json, group: str) -> str:
        path = resource_id(str(head["type"]), *str(head["name"]).split("/"), group=group)
        scope = head.get("scope")
        return f"{scope}{path.removeprefix(group)}" if scope else path

    def _body(self, number: int, resource: Mapping[str, Any], head: Json, scope: Scope) -> None:
        where = f"resources[{number}] {head['type']}"
        nested = head["type"] == DEPLOYMENT
        self._read, self._listed = set(), set()
        try:
            body = scope.resolve(_without_template(resource) if nested else dict(resource))
        except (ExpressionError, KeyError, TypeError) as error:
            self._wrong(where, error)
            return
        after = tuple(str(name).lower() for name in body.get("dependsOn", ()))
        self._evaluated.resources.append(
            ArmResource(
                type=head["type"], name=head["name"], id=head["id"],
                scope=str(head.get("scope", "")).lower(), deployed=head["deployed"],
                after=after, reads=frozenset(self._read), body=body,
            )
        )  # fmt: skip
        self._follow(where, head, after)
        if nested:
            if body["properties"].get("expressionEvaluationOptions") != {"scope": "inner"}:
                self._wrong(where, "its names are not its own (expressionEvaluationOptions)")
            given = body["properties"]["parameters"]
            self._nested(where, resource["properties"]["template"], given, head)

    def _follow(self, where: str, head: Json, after: Sequence[str]) -> None:
        for identifier in after:
            if identifier not in self._conditions:
                self._wrong(where, f"dependsOn {identifier}: no resource of this template")
        for identifier in sorted(
            {identifier for identifier in after if after.count(identifier) > 1}
        ):
            self._wrong(where, f"dependsOn {identifier}: twice")
        scope = str(head.get("scope", "")).lower()
        if scope and scope not in self._known():
            self._wrong(where, f"scope {scope}: no resource of this template")
        if head["deployed"]:
            for identifier in sorted(self._read):
                if not self._conditions.get(identifier):
                    self._wrong(where, f"reads {identifier}, which is not deployed")
            for identifier in sorted(self._listed):
                if not any(identifier.startswith(f"{there}/") for there in after):
                    self._wrong(where, f"lists {identifier}, and does not wait for what has it")

    def _nested(self, where: str, template: Json, given: Json, head: Json) -> None:
        place = _Place(
            where=f"{self._place.where}{where} > ",
            group=self._group(head),
            deployed=head["deployed"],
            known=self._known(),
            states=self._place.states,
        )
        values = {name: parameter["value"] for name, parameter in given.items()}
        evaluated = _Template(template, place).evaluate(values)
        self._evaluated.resources += evaluated.resources
        self._evaluated.problems += evaluated.problems

    # --- Functions that read the whole deployment ----------------------------------------------

    def _resource_id(self, *words: str) -> str:
        identifier = resource_id(*words, group=self._place.group)
        self._asked.add(identifier.lower())
        return identifier

    def _reference(self, identifier: str, version: str = "") -> Mapping[str, Any]:
        kind, name = _type_of(identifier)
        if not re.fullmatch(r"\d{4}-\d\d-\d\d(-preview)?", version):
            raise ValueError(f"{kind} is read without a version of its API")
        if identifier.lower() not in self._conditions:
            raise ValueError(f"{identifier} is not a resource of this template")
        if kind not in self._place.states:
            raise ValueError(f"what a deployed {kind} says is not known")
        self._read.add(identifier.lower())
        return self._place.states[kind](name)

    def _list(self, identifier: str, version: str = "") -> Mapping[str, Any]:
        """Return what is in a resource that the deployment does not make itself."""
        kind, name = _type_of(identifier)
        if not re.fullmatch(r"\d{4}-\d\d-\d\d(-preview)?", version):
            raise ValueError(f"{kind} is listed without a version of its API")
        if identifier.lower() in self._conditions:
            raise ValueError(f"{identifier} is listed by the template that makes it")
        if kind not in self._place.states:
            raise ValueError(f"what a deployed {kind} lists is not known")
        self._listed.add(identifier.lower())
        return {"properties": self._place.states[kind](name)}

    def _known(self) -> frozenset[str]:
        """Return the ids of everything there is, subnets too, and those that were given."""
        subnets = {
            f"{resource.id}/subnets/{subnet['name']}".lower()
            for resource in self._evaluated.resources
            if resource.type == NETWORK
            for subnet in resource.body["properties"]["subnets"]
        }
        return self._place.known | frozenset(self._conditions) | subnets | self._elsewhere

    # --- The whole ----------------------------------------------------------------------------

    def _outputs(self, scope: Scope) -> None:
        self._read = set()
        for name, output in self._template.get("outputs", {}).items():
            try:
                value = scope.resolve(output["value"])
            except ExpressionError as error:
                self._wrong(f"output {name}", error)
                continue
            if not isinstance(value, TYPES[str(output["type"]).lower()]):
                self._wrong(f"output {name}", f"not of type {output['type']}")
            self._evaluated.outputs[name] = value

    def _whole(self, scope: Scope) -> None:
        for identifier in sorted(self._asked - self._known()):
            self._wrong("resourceId", f"{identifier}: no resource of this template")
        for kind in ("parameters", "variables"):
            for name in self._template.get(kind, {}):
                if (kind, name.lower()) not in scope.used:
                    self._wrong(f"{kind}('{name}')", "never used")
        for circle in _circles(self._evaluated.resources):
            self._wrong("dependsOn", f"{circle} waits for itself")

    def _given_ids(self, values: Mapping[str, Any]) -> Iterator[str]:
        """Yield the ids that are given, and that of the workspace that content is for."""
        yield from (str(value).lower() for value in values.values() if _ID.fullmatch(str(value)))
        if "workspace" in values:
            yield resource_id(WORKSPACE, values["workspace"], group=self._place.group).lower()


def _expression(value: object) -> bool:
    return isinstance(value, str) and value.startswith("[")


def _without_template(deployment: Mapping[str, Any]) -> Json:
    """Return a nested deployment without its template, which has names of its own."""
    properties = {
        key: value for key, value in deployment["properties"].items() if key != "template"
    }
    return {**deployment, "properties": properties}


def _type_of(identifier: str) -> tuple[str, str]:
    """Return a resource's type, and the last part of its name."""
    namespace, *rest = identifier.rpartition("/providers/")[2].split("/")
    return "/".join((namespace, *rest[::2])), rest[-1]


def _out_of_bounds(declared: Mapping[str, Any], value: object) -> Iterator[str]:
    kind = TYPES.get(str(declared["type"]).lower())
    if kind is None or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        yield f"{value!r} is not of type {declared['type']}"
        return
    if "allowedValues" in declared and value not in declared["allowedValues"]:
        yield f"{value!r} is none of {declared['allowedValues']}"
    size = value if isinstance(value, int) else len(value)  # type: ignore[arg-type] # checked above
    word = "Value" if isinstance(value, int) else "Length"
    if size < declared.get(f"min{word}", size):
        yield f"{value!r} is below min{word} {declared[f'min{word}']}"
    if size > declared.get(f"max{word}", size):
        yield f"{value!r} is above max{word} {declared[f'max{word}']}"


def _circles(resources: Sequence[ArmResource]) -> Iterator[str]:
    """Yield each resource that waits for itself, by dependsOn or by what it reads."""
    waits = {waiting.id: {*waiting.after, *waiting.reads} for waiting in resources}
    for start, first in waits.items():
        seen: set[str] = set()
        todo = list(first)
        while todo:
            waiting = todo.pop()
            if waiting not in seen:
                seen.add(waiting)
                todo.extend(waits.get(waiting, ()))
        if start in seen:
            yield start
