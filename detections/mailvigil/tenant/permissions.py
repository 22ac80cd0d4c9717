"""Permissions of the feed: which an identity has, and giving and taking them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Protocol

from audit_feed.blobs import DLP_ROLE
from mailvigil.tenant.steps import (
    FEED_APP,
    MAKE_FEED_APP,
    ServiceRefusedError,
    SetupError,
    StepErrors,
    StepResult,
    change,
    failed,
)

READ_ROLE = "ActivityFeed.Read"
ROLES = (READ_ROLE, DLP_ROLE)
"""What there is to give. Source: Management Activity API, "Specify the permissions"."""

_READ_API = "read Office 365 Management APIs"
_READ_IDENTITY = "read the identity"
_OBJECT_ID = (
    "take the object id of the service principal: az identity show calls it principalId; for an "
    "application, az ad sp show --id CLIENT-ID --query id"
)


class DirectoryReading(Protocol):
    """What is asked of Microsoft Graph; see ``graph_client.GraphClient``."""

    def read(self, where: str, path: str) -> Mapping[str, object]:
        """Return one object."""

    def read_all(self, where: str, path: str) -> Sequence[Mapping[str, object]]:
        """Return a collection."""

    def create(self, where: str, path: str, body: Mapping[str, str]) -> None:
        """Create an object that may be there."""

    def delete(self, where: str, path: str) -> None:
        """Delete an object that may be gone."""


@dataclass(frozen=True, slots=True)
class FeedAccess:
    """An identity at the feed's API: ids of the roles there, and of its own assignments by role."""

    identity: str
    name: str
    api: str
    roles: Mapping[str, str]
    assigned: Mapping[str, str]

    def assignment(self, role: str) -> str:
        """Return the id of the assignment of *role*, ``""`` if the identity does not have it.

        Raises:
            SetupError: The API of this tenant has no such role.

        """
        if role not in self.roles:
            raise SetupError(role, "the API offers no such permission", "check --cloud")
        return self.assigned.get(self.roles[role], "")


def read_access(graph: DirectoryReading, identity: str) -> FeedAccess:
    """Return what the service principal with object id *identity* has of the feed's API.

    Raises:
        SetupError, AuditFeedError: The API or the identity is not there, or cannot be read.

    """
    api = _api(graph)
    name = _name(graph, identity)
    path = f"/servicePrincipals/{identity}/appRoleAssignments?$top=999"
    assignments = graph.read_all(f"read what {name} has", path)
    own = [item for item in assignments if _text(item, "resourceId").lower() == api.id]
    return FeedAccess(
        identity,
        name,
        api.id,
        api.roles,
        {_text(item, "appRoleId").lower(): _text(item, "id") for item in own},
    )


@dataclass(frozen=True, slots=True)
class _FeedApi:
    id: str
    roles: Mapping[str, str]


def _api(graph: DirectoryReading) -> _FeedApi:
    """Return the feed's API in this tenant, with the roles that applications can have."""
    try:
        shown = graph.read(_READ_API, f"/servicePrincipals(appId='{FEED_APP}')?$select=id,appRoles")
    except ServiceRefusedError as refused:
        if refused.answer.status != HTTPStatus.NOT_FOUND:
            raise
        raise SetupError(_READ_API, "the tenant does not have them", MAKE_FEED_APP) from None
    roles = shown.get("appRoles")
    named = [role for role in roles if isinstance(role, dict)] if isinstance(roles, list) else []
    for_apps = [role for role in named if "Application" in (role.get("allowedMemberTypes") or ())]
    ids = {_text(role, "value"): _text(role, "id").lower() for role in for_apps}
    return _FeedApi(_text(shown, "id").lower(), ids)


def _name(graph: DirectoryReading, identity: str) -> str:
    """Return the display name of the identity."""
    try:
        path = f"/servicePrincipals/{identity}?$select=id,displayName"
        return _text(graph.read(_READ_IDENTITY, path), "displayName") or "the identity"
    except ServiceRefusedError as refused:
        if refused.answer.status != HTTPStatus.NOT_FOUND:
            raise
    if _is_application_id(graph, identity):
        what = "--identity is an application's client id, not an object id"
    else:
        what = "no service principal of this tenant has the object id of --identity"
    raise SetupError(_READ_IDENTITY, what, _OBJECT_ID)


def _is_application_id(graph: DirectoryReading, identity: str) -> bool:
    try:
        graph.read(_READ_IDENTITY, f"/servicePrincipals(appId='{identity}')?$select=id")
    except ServiceRefusedError as refused:
        if refused.answer.status != HTTPStatus.NOT_FOUND:
            raise
        return False
    return True


def _text(item: Mapping[str, object], key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""


def show(graph: DirectoryReading, identity: str) -> Iterator[StepResult]:
    """Yield of each role of the feed's API whether the identity has it."""
    try:
        access = read_access(graph, identity)
    except StepErrors as error:
        yield failed(error)
        return
    for role in ROLES:
        try:
            has = "has" if access.assignment(role) else "does not have"
            yield StepResult(f"{access.name} {has} {role}")
        except SetupError as error:
            yield failed(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRequest:
    """Which *roles* an identity (object id) is to have or, with *undo*, not to have."""

    identity: str
    roles: Sequence[str]
    undo: bool = False
    what_if: bool = False


def roles_named(*, dlp: bool, undo: bool) -> Sequence[str]:
    """Return the roles that are to be given or taken back.

    Taken back are all that can be given, or with *dlp* the one for ``DLP.All`` alone.
    """
    if undo:
        return (DLP_ROLE,) if dlp else ROLES
    return ROLES if dlp else (READ_ROLE,)


def grant(graph: DirectoryReading, request: GrantRequest) -> Iterator[StepResult]:
    """Give or take back each role, and yield what became of it; one holds back no other."""
    try:
        access = read_access(graph, request.identity)
    except StepErrors as error:
        yield failed(error)
        return
    for role in request.roles:
        try:
            yield _set_role(graph, request, access, role)
        except StepErrors as error:
            yield failed(error)


def _set_role(
    graph: DirectoryReading, request: GrantRequest, access: FeedAccess, role: str
) -> StepResult:
    assignment, name = access.assignment(role), access.name
    path = f"/servicePrincipals/{access.identity}/appRoleAssignments"
    if request.undo and assignment:
        what = f"take {role} from {name}"
        do = partial(graph.delete, what, f"{path}/{assignment}")
        return change(what, do, what_if=request.what_if)
    if request.undo or assignment:
        has = "has" if assignment else "does not have"
        return StepResult(f"as it should be: {name} {has} {role}")
    what = f"give {role} to {name}"
    body = {
        "principalId": access.identity,
        "resourceId": access.api,
        "appRoleId": access.roles[role],
    }
    return change(what, partial(graph.create, what, path, body), what_if=request.what_if)
