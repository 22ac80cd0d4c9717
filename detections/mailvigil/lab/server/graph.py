"""Microsoft Graph v1.0, as far as the permissions of a tenant's applications need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from mailvigil.lab.server.clock import LabClock
from mailvigil.lab.server.directory import Directory, DirectoryTenant
from mailvigil.lab.server.errors_by_code import as_json, graph_error
from mailvigil.lab.server.feed_request import AnsweredError, bearer, is_guid
from mailvigil.lab.server.graph_directory import (
    AppRoleAssignment,
    AppRoleAssignments,
    GraphObject,
    ServicePrincipal,
    held,
    principals,
)
from mailvigil.lab.server.graph_request import (
    GraphRoute,
    page_of,
    read_body,
    read_filter,
    read_route,
    selected,
)
from mailvigil.lab.server.messages import HttpRequest, Response
from mailvigil.lab.server.options import GraphOptions
from mailvigil.lab.server.tokens import Mint, TokenError

READERS: Final = frozenset(
    {
        "Application.Read.All",
        "Application.ReadWrite.All",
        "Directory.Read.All",
        "Directory.ReadWrite.All",
    }
)
"""Any one of them may read service principals and assignments."""

ASSIGNER: Final = "AppRoleAssignment.ReadWrite.All"
"""Who takes an app role needs it; who gives one needs one of ``READERS`` beside it."""

PRINCIPAL_FILTERS: Final = frozenset({"id", "appId", "displayName"})
ASSIGNMENT_FILTERS: Final = frozenset({"resourceId"})


@dataclass(frozen=True, slots=True)
class GraphCaller:
    """Whom a token stands for, with the roles of the moment in which it was issued."""

    tenant: DirectoryTenant
    app_id: str
    roles: frozenset[str]

    @property
    def may_read(self) -> bool:
        """Whether it may read all service principals."""
        return bool(self.roles & READERS)


@dataclass(frozen=True, slots=True)
class GraphCall:
    """A request that passed the front. ``base`` is the scheme and host that the client used."""

    request: HttpRequest
    caller: GraphCaller
    route: GraphRoute
    base: str

    @property
    def tenant(self) -> DirectoryTenant:
        """The caller's tenant: there is no way to ask for another."""
        return self.caller.tenant

    def principal(self) -> ServicePrincipal:
        """Return the service principal that the path names.

        Raises:
            AnsweredError: It is not there.

        """
        route = self.route
        asked = route.app_id or route.object_id
        if not is_guid(asked):
            raise AnsweredError(graph_error("InvalidId", asked))
        name = "app_id" if route.app_id else "id"
        return _found(self.tenant, name, asked)


@dataclass(slots=True)
class GraphApi:
    """The API over the lab's directory. Its options may be replaced at any time."""

    options: GraphOptions
    directory: Directory
    mint: Mint
    clock: LabClock
    _assignments: AppRoleAssignments = field(init=False)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        """What the options grant was granted when the lab was made."""
        self._assignments = AppRoleAssignments(self.clock.now())

    def answer(self, request: HttpRequest, base: str) -> Response:
        """Answer *request*; *base* is the scheme and host that the client used."""
        try:
            caller = self._caller(request)
            call = GraphCall(request, caller, read_route(request), base)
            with self._lock:
                return self._method(call)(call)
        except AnsweredError as answered:
            return answered.response

    def _caller(self, request: HttpRequest) -> GraphCaller:
        token = bearer(request)
        if not token:
            raise AnsweredError(graph_error("NoToken"))
        try:
            claims = self.mint.read(token)
        except TokenError as error:
            expired = str(error) == "expired"
            raise AnsweredError(graph_error("ExpiredToken" if expired else "BadToken")) from None
        tenant = self.directory.tenants.get(str(claims.get("tid")))
        if str(claims.get("aud")).rstrip("/") != self.options.audience or tenant is None:
            raise AnsweredError(graph_error("WrongAudience"))
        roles = claims.get("roles")
        names = map(str, roles) if isinstance(roles, list) else ()
        return GraphCaller(tenant, str(claims.get("appid")), frozenset(names))

    def _method(self, call: GraphCall) -> Callable[[GraphCall], Response]:
        route = call.route
        shape = (call.request.method, bool(route.relation), bool(route.assignment))
        methods: dict[tuple[str, bool, bool], Callable[[GraphCall], Response]] = {
            ("GET", False, False): self._one if route.names_one else self._list,
            ("GET", True, False): self._list_assignments,
            ("POST", True, False): self._assign,
            ("DELETE", True, True): self._unassign,
        }
        if shape not in methods:
            raise AnsweredError(graph_error("NoMethod"))
        return methods[shape]

    def _one(self, call: GraphCall) -> Response:
        """Show one; an application may always see its own."""
        own = call.caller.app_id
        principal = call.principal() if call.caller.may_read else _own(call, own)
        context = f"{call.base}/v1.0/$metadata#servicePrincipals/$entity"
        return as_json({"@odata.context": context, **selected(principal.shown(), call.request)})

    def _list(self, call: GraphCall) -> Response:
        _insist(allowed=call.caller.may_read)
        shown = [principal.shown() for principal in principals(call.tenant)]
        return self._page(call, shown, PRINCIPAL_FILTERS, "servicePrincipals")

    def _list_assignments(self, call: GraphCall) -> Response:
        _insist(allowed=call.caller.may_read)
        related = self._related(call)
        collection = f"servicePrincipals('{call.principal().id}')/{call.route.relation}"
        return self._page(
            call, [assignment.shown() for assignment in related], ASSIGNMENT_FILTERS, collection
        )

    def _assign(self, call: GraphCall) -> Response:
        """Give an app role, through the principal's assignments or through the resource's."""
        _insist(allowed=ASSIGNER in call.caller.roles and call.caller.may_read)
        addressed, sent = call.principal(), read_body(call.request)
        principal_id, resource_id, role_id = (
            _guid(sent, name) for name in ("principalId", "resourceId", "appRoleId")
        )
        ours = principal_id if call.route.relation == "appRoleAssignments" else resource_id
        if ours != addressed.id:
            raise AnsweredError(graph_error("OtherPrincipal"))
        principal = _found(call.tenant, "id", principal_id)
        resource = _found(call.tenant, "id", resource_id)
        role = resource.role(role_id)
        if role is None:
            raise AnsweredError(graph_error("NoRole", resource.app_id))
        if principal.app is None or role.value in held(principal.app, resource):
            raise AnsweredError(graph_error("RoleExists"))
        now = self.clock.now()
        made = self._assignments.add(call.tenant, principal, resource, role, now)
        context = f"{call.base}/v1.0/$metadata#appRoleAssignments/$entity"
        return as_json({"@odata.context": context, **made.shown()}, 201)

    def _unassign(self, call: GraphCall) -> Response:
        _insist(allowed=ASSIGNER in call.caller.roles)
        asked = call.route.assignment
        for assignment in self._related(call):
            if assignment.id == asked:
                self._assignments.remove(call.tenant, assignment)
                return Response(status=204)
        raise AnsweredError(graph_error("NotFound", asked))

    def _related(self, call: GraphCall) -> list[AppRoleAssignment]:
        """Return the assignments to, or of the roles of, the service principal in the path."""
        named, given = call.principal(), call.route.relation == "appRoleAssignments"
        return [
            assignment
            for assignment in self._assignments.of(call.tenant)
            if named == (assignment.principal if given else assignment.resource)
        ]

    def _page(
        self,
        call: GraphCall,
        shown: Sequence[GraphObject],
        filters: frozenset[str],
        collection: str,
    ) -> Response:
        clause = read_filter(call.request, filters)
        matching = [item for item in shown if clause is None or _matches(item, clause)]
        page = page_of(
            matching,
            call.request,
            call.base,
            self.options.page_size,
            empty_first=self.options.empty_first_page,
        )
        answer: dict[str, object] = {"@odata.context": f"{call.base}/v1.0/$metadata#{collection}"}
        if page.next_link:
            answer["@odata.nextLink"] = page.next_link
        return as_json({**answer, "value": [selected(item, call.request) for item in page.objects]})


def _found(tenant: DirectoryTenant, name: str, value: str) -> ServicePrincipal:
    for principal in principals(tenant):
        if getattr(principal, name) == value.lower():
            return principal
    raise AnsweredError(graph_error("NotFound", value))


def _own(call: GraphCall, app_id: str) -> ServicePrincipal:
    """Return the caller's own service principal, if it is the one asked for."""
    own = _found(call.tenant, "app_id", app_id)
    _insist(allowed=own.id == call.route.object_id.lower() or own.app_id == call.route.app_id)
    return own


def _insist(*, allowed: bool) -> None:
    if not allowed:
        raise AnsweredError(graph_error("Denied"))


def _guid(sent: GraphObject, name: str) -> str:
    value = sent.get(name)
    if not isinstance(value, str) or not is_guid(value):
        raise AnsweredError(graph_error("InvalidProperty", name))
    return value.lower()


def _matches(shown: GraphObject, clause: tuple[str, str]) -> bool:
    name, value = clause
    return str(shown.get(name, "")).lower() == value.lower()
