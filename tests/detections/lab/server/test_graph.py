"""Microsoft Graph as the lab plays it, asked by requests with tokens of azure-identity.

The forms are those of learn.microsoft.com/graph: "Get servicePrincipal", "List
servicePrincipals", "List appRoleAssignments granted to a service principal", "List
appRoleAssignments granted for a service principal", "Grant an appRoleAssignment to a service
principal", "Delete appRoleAssignment", "appRoleAssignment resource type", "Paging Microsoft Graph
data in your app", "Microsoft Graph error responses and resource types" and "Microsoft Graph
throttling guidance". Each test names its page. Texts of errors are not in these pages: they are
what clients of the service have reported in public.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CertificateCredential, ClientSecretCredential

from detections.lab.server.clients import FEED_SCOPE, Feed, options_of
from mailvigil.lab.server.faults import Fault, FaultKind, Scripted
from mailvigil.lab.server.graph_directory import FEED_APP_ID
from mailvigil.lab.server.lab import Lab, LabTenant, tenants_of
from mailvigil.lab.server.options import FEED_ROLES, GraphOptions, LabOptions, TenantOptions

GRAPH_SCOPE = "https://graph.microsoft.com/.default"
READ_ROLE_ID = "594c1fb6-4f81-4475-ae41-0c394909246c"
NOBODY = "11111111-2222-4333-8444-555555555555"
BARE = replace(TenantOptions(), roles=())
"""A tenant whose collecting application has no role yet."""


class Graph:
    """A client of the Graph that follows nothing and retries nothing."""

    def __init__(self, lab: Lab, token: str = "") -> None:
        self.lab, self.tenant = lab, lab.tenants[0]
        self.token = token or token_of(lab, self.tenant.admin_id, self.tenant.admin_secret)

    def ask(self, method: str, path: str, payload: object = None) -> requests.Response:
        url = path if "://" in path else f"{self.lab.url}/v1.0/{path}"
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.request(
            method, url, headers=headers, json=payload, verify=str(self.lab.ca), timeout=30
        )

    def get(self, path: str) -> requests.Response:
        return self.ask("GET", path)

    def all(self, path: str) -> tuple[list[Any], int]:
        """Return what a collection holds, and on how many pages."""
        found, pages, at = list[Any](), 0, path
        while at:
            answer = self.get(at).json()
            found, pages, at = [*found, *answer["value"]], pages + 1, answer.get("@odata.nextLink")
        return found, pages

    def assign(self, **changed: str) -> requests.Response:
        """Give the collector ActivityFeed.Read, or with *changed* another combination."""
        principal = changed.pop("at", self.tenant.object_id)
        sent = {
            "principalId": self.tenant.object_id,
            "resourceId": self.feed_api["id"],
            "appRoleId": READ_ROLE_ID,
        }
        return self.ask("POST", f"servicePrincipals/{principal}/appRoleAssignments", sent | changed)

    @property
    def feed_api(self) -> dict[str, Any]:
        return dict(self.get(f"servicePrincipals(appId='{FEED_APP_ID}')").json())

    @property
    def assignments(self) -> str:
        return f"servicePrincipals/{self.tenant.object_id}/appRoleAssignments"


def token_of(lab: Lab, client_id: str, secret: str, scope: str = GRAPH_SCOPE) -> str:
    with ClientSecretCredential(lab.tenants[0].id, client_id, secret, **options_of(lab)) as who:
        return who.get_token(scope).token


def collector_token(lab: Lab, scope: str = GRAPH_SCOPE) -> str:
    return token_of(lab, lab.tenants[0].client_id, lab.tenants[0].secret, scope)


def error_of(answer: requests.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


def not_there(asked: str) -> tuple[int, str, str]:
    text = f"Resource '{asked}' does not exist or one of its queried reference-property objects "
    return 404, "Request_ResourceNotFound", f"{text}are not present."


@pytest.fixture
def graph(lab: Lab) -> Graph:
    return Graph(lab)


@pytest.fixture
def bare() -> Iterator[Graph]:
    with Lab(LabOptions(tenants=(BARE,))) as lab:
        yield Graph(lab)


def test_an_api_is_found_by_its_application_id_and_by_its_object_id(graph: Graph) -> None:
    """Page "Get servicePrincipal": ``(appId='…')`` and ``/{id}`` give the same object."""
    by_app_id = graph.get(f"servicePrincipals(appId='{FEED_APP_ID}')")
    by_object_id = graph.get(f"servicePrincipals/{by_app_id.json()['id']}")

    found = by_app_id.json()
    assert by_app_id.status_code == by_object_id.status_code == requests.codes.ok
    assert found == by_object_id.json()
    assert found["displayName"] == "Office 365 Management APIs"
    assert found["appId"] == FEED_APP_ID != found["id"]


def test_an_api_shows_its_app_roles_for_applications(graph: Graph) -> None:
    """Page "Get servicePrincipal", example 2: the fields of an appRole, and ``$select``."""
    answer = graph.get(f"servicePrincipals(appId='{FEED_APP_ID}')?$select=id,appRoles").json()

    assert answer.keys() == {"@odata.context", "id", "appRoles"}
    roles = {role["value"]: role for role in answer["appRoles"]}
    assert {*FEED_ROLES} < roles.keys()
    read = roles["ActivityFeed.Read"]
    assert read["id"] == READ_ROLE_ID
    assert read["allowedMemberTypes"] == ["Application"]
    assert read["isEnabled"] is True


def test_a_filter_on_the_application_id_gives_a_list_of_one_or_none(graph: Graph) -> None:
    """Page "List servicePrincipals": an unknown id is an empty list, not an error."""
    known = graph.get(f"servicePrincipals?$filter=appId eq '{FEED_APP_ID}'")
    unknown = graph.get(f"servicePrincipals?$filter=appId eq '{NOBODY}'")

    assert [one["appId"] for one in known.json()["value"]] == [FEED_APP_ID]
    assert (unknown.status_code, unknown.json()["value"]) == (requests.codes.ok, [])


def test_an_application_id_where_an_object_id_belongs_is_not_found(graph: Graph) -> None:
    """Page "Error responses": 404; ``/servicePrincipals/{id}`` takes the object id alone."""
    for asked in (NOBODY, graph.tenant.client_id, FEED_APP_ID):
        assert error_of(graph.get(f"servicePrincipals/{asked}")) == not_there(asked)
        listed = graph.get(f"servicePrincipals/{asked}/appRoleAssignments")
        assert error_of(listed) == not_there(asked)


def test_what_is_not_a_guid_and_what_is_not_there_are_errors_of_their_own(graph: Graph) -> None:
    """Page "Error responses": 400 for a malformed request, 405 for a method."""
    asked = {
        ("GET", "servicePrincipals/collector"): (400, "Request_BadRequest"),
        ("GET", "users"): (400, "BadRequest"),
        ("GET", "servicePrincipals?$filter=tags eq 'x'"): (400, "Request_UnsupportedQuery"),
        ("GET", "servicePrincipals?$filter=appId = 'x'"): (400, "BadRequest"),
        ("GET", "servicePrincipals?$top=1000"): (400, "Request_UnsupportedQuery"),
        ("GET", "servicePrincipals?$skiptoken=%C3%A9"): (400, "Directory_ExpiredPageToken"),
        ("PUT", graph.assignments): (405, "Request_BadRequest"),
    }

    assert {one: error_of(graph.ask(*one))[:2] for one in asked} == asked


def test_assignments_come_page_by_page_with_the_documented_fields(graph: Graph) -> None:
    """Page "List appRoleAssignments granted to a service principal", "Paging": next links."""
    found, pages = graph.all(graph.assignments)

    assert pages == len(found) == len(FEED_ROLES)
    assert {one["principalId"] for one in found} == {graph.tenant.object_id}
    assert {one["resourceId"] for one in found} == {graph.feed_api["id"]}
    assert len({one["id"] for one in found}) == len(found)
    one = next(one for one in found if one["appRoleId"] == READ_ROLE_ID)
    assert one["principalType"] == "ServicePrincipal"
    assert one["resourceDisplayName"] == "Office 365 Management APIs"
    assert one["createdDateTime"].endswith("Z")
    raw = base64.urlsafe_b64decode(one["id"] + "=")
    assert (len(raw), str(UUID(bytes_le=raw[:16]))) == (32, graph.tenant.object_id)


def test_a_next_link_keeps_the_parameters_of_the_first_request(graph: Graph) -> None:
    """Page "Paging": the link is whole, and "contains all the other query parameters"."""
    first = graph.get(f"{graph.assignments}?$select=id&$top=999").json()
    second = graph.get(first["@odata.nextLink"]).json()

    assert first["@odata.nextLink"].startswith(f"{graph.lab.url}/v1.0/{graph.assignments}?")
    assert first["value"][0].keys() == second["value"][0].keys() == {"id"}
    assert first["value"] != second["value"]
    assert "@odata.nextLink" not in second


def test_a_page_may_be_empty_and_have_a_next_one() -> None:
    """Page "Paging": "A page of results may contain zero or more results"."""
    empty = LabOptions(graph=GraphOptions(page_size=100, empty_first_page=True))
    with Lab(empty) as lab:
        graph = Graph(lab)

        first = graph.get(graph.assignments).json()

        assert first["value"] == []
        assert len(graph.get(first["@odata.nextLink"]).json()["value"]) == len(FEED_ROLES)


def test_the_api_lists_who_has_its_roles(graph: Graph) -> None:
    """Page "List appRoleAssignments granted for a service principal": ``appRoleAssignedTo``."""
    feed_api = graph.feed_api["id"]

    found, _pages = graph.all(f"servicePrincipals/{feed_api}/appRoleAssignedTo")

    assert sorted(found, key=lambda one: str(one["id"])) == graph.all(graph.assignments)[0]
    assert graph.all(f"servicePrincipals/{feed_api}/appRoleAssignments") == ([], 1)


def test_a_granted_role_is_in_the_next_token_and_the_feed_takes_it(bare: Graph) -> None:
    """Page "Grant an appRoleAssignment to a service principal": 201 and the object."""
    with Feed(bare.lab) as before:
        assert before.code_of(before.get("subscriptions/list")) == "AF10001"

    made = bare.assign()

    assert made.status_code == requests.codes.created
    assert made.json()["appRoleId"] == READ_ROLE_ID
    assert made.json()["principalId"] == bare.tenant.object_id
    shown = {name: value for name, value in made.json().items() if "@" not in name}
    assert bare.all(bare.assignments)[0] == [shown]
    assert claims_of(bare.lab, FEED_SCOPE)["roles"] == ["ActivityFeed.Read"]
    with Feed(bare.lab) as after:
        assert after.get("subscriptions/list").status_code == requests.codes.ok


def claims_of(lab: Lab, scope: str) -> dict[str, Any]:
    return dict(lab._mint.read(collector_token(lab, scope)))  # noqa: SLF001 - the lab reads its own


def test_the_resources_side_grants_and_takes_the_same_role(bare: Graph) -> None:
    """The page on granting recommends ``appRoleAssignedTo`` of the resource."""
    feed_api = bare.feed_api["id"]
    sent = {"principalId": bare.tenant.object_id, "resourceId": feed_api, "appRoleId": READ_ROLE_ID}
    place = f"servicePrincipals/{feed_api}/appRoleAssignedTo"

    made = bare.ask("POST", place, sent)
    listed, _pages = bare.all(bare.assignments)
    taken = bare.ask("DELETE", f"{place}/{made.json()['id']}")

    assert (made.status_code, taken.status_code) == (201, 204)
    assert [one["id"] for one in listed] == [made.json()["id"]]
    assert "roles" not in claims_of(bare.lab, FEED_SCOPE)


def test_a_role_that_is_there_already_is_refused_and_stays(graph: Graph) -> None:
    """Reported by clients: 400 Request_BadRequest with this text, not 409."""
    before, _pages = graph.all(graph.assignments)

    text = "Permission being assigned already exists on the object"
    assert error_of(graph.assign()) == (400, "Request_BadRequest", text)
    assert graph.all(graph.assignments)[0] == before


def test_a_role_that_the_api_does_not_offer_is_refused(bare: Graph) -> None:
    """Reported by clients: 400 Request_BadRequest, and the text names the application."""
    text = f"Permission being assigned was not found on application '{FEED_APP_ID}'."

    assert error_of(bare.assign(appRoleId=NOBODY)) == (400, "Request_BadRequest", text)
    assert bare.all(bare.assignments)[0] == []


def test_a_grant_wants_three_ids_of_what_is_there(bare: Graph) -> None:
    """Page "Grant an appRoleAssignment …": three ids, and whose they are."""
    assert error_of(bare.assign(at=NOBODY)) == not_there(NOBODY)
    assert error_of(bare.assign(resourceId=NOBODY)) == not_there(NOBODY)
    assert error_of(bare.assign(principalId=NOBODY))[:2] == (400, "Request_BadRequest")
    assert error_of(bare.assign(appRoleId="ActivityFeed.Read"))[:2] == (400, "Request_BadRequest")
    assert bare.all(bare.assignments)[0] == []


def test_a_write_without_a_content_type_or_without_json_is_refused(bare: Graph) -> None:
    """Page "Grant an appRoleAssignment …": "Content-type: application/json. Required."."""
    url = f"{bare.lab.url}/v1.0/{bare.assignments}"
    headers = {"Authorization": f"Bearer {bare.token}"}

    def posted(body: bytes, **more: str) -> str:
        sent = headers | more
        answer = requests.post(url, body, headers=sent, verify=str(bare.lab.ca), timeout=30)
        return error_of(answer)[2]

    assert "Content-Type header declaration" in posted(b"{}")
    assert "valid JSON format" in posted(b"principalId=1", **{"Content-Type": "application/json"})
    assert "valid JSON format" in posted(b"[]", **{"Content-Type": "application/json"})


def test_a_role_is_taken_once_and_missing_in_the_next_token(graph: Graph) -> None:
    """Page "Delete appRoleAssignment": 204 without a body; then it is not there."""
    found, _pages = graph.all(graph.assignments)
    one = next(one["id"] for one in found if one["appRoleId"] == READ_ROLE_ID)

    taken = graph.ask("DELETE", f"{graph.assignments}/{one}")
    again = graph.ask("DELETE", f"{graph.assignments}/{one}")

    assert (taken.status_code, taken.content) == (requests.codes.no_content, b"")
    assert error_of(again) == not_there(one)
    assert claims_of(graph.lab, FEED_SCOPE)["roles"] == ["ActivityFeed.ReadDlp"]


def test_who_lacks_the_role_is_denied_but_sees_its_own_service_principal(bare: Graph) -> None:
    """Page "Get servicePrincipal": an application reads its own details without any permission."""
    collector = Graph(bare.lab, collector_token(bare.lab))
    feed_api = bare.feed_api["id"]
    asked = [("GET", f"servicePrincipals(appId='{FEED_APP_ID}')"), ("GET", bare.assignments)]
    asked += [("POST", bare.assignments), ("DELETE", f"{bare.assignments}/x")]
    asked += [("GET", "servicePrincipals"), ("GET", f"servicePrincipals/{feed_api}")]

    answers = [error_of(collector.ask(*one)) for one in asked]

    text = "Insufficient privileges to complete the operation."
    assert answers == [(403, "Authorization_RequestDenied", text)] * len(asked)
    own = collector.get(f"servicePrincipals/{bare.tenant.object_id}").json()
    assert own["appId"] == bare.tenant.client_id


def test_reading_alone_does_not_grant_and_granting_needs_reading_too() -> None:
    """Page "Grant an appRoleAssignment …", permissions: one to assign *and* one to read."""
    for roles, status in (
        (("Application.Read.All",), 403),
        (("AppRoleAssignment.ReadWrite.All",), 403),
        (("AppRoleAssignment.ReadWrite.All", "Directory.Read.All"), 201),
    ):
        tenant = replace(BARE, graph_roles=roles)
        with Lab(LabOptions(tenants=(tenant,))) as lab:
            admin, collector = Graph(lab), Graph(lab, collector_token(lab))
            sent = {
                "principalId": lab.tenants[0].object_id,
                "resourceId": admin.feed_api["id"],
                "appRoleId": READ_ROLE_ID,
            }

            assert collector.ask("POST", admin.assignments, sent).status_code == status


def _missing(_lab: Lab) -> str:
    return ""


def _for_another_audience(lab: Lab) -> str:
    return collector_token(lab, FEED_SCOPE)


def _revoked(lab: Lab) -> str:
    token = collector_token(lab)
    lab._mint.revoke(token)  # noqa: SLF001 - as an administrator does
    return token


def _expired(lab: Lab) -> str:
    token = collector_token(lab)
    lab.clock.move(timedelta(hours=1))
    return token


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (_missing, "Access token is empty."),
        (_for_another_audience, "Access token validation failure. Invalid audience."),
        (_revoked, "Access token validation failure."),
        (_expired, "Lifetime validation failed, the token is expired."),
    ],
)
def test_a_token_that_does_not_hold_is_unauthorized(
    lab: Lab, made: Callable[[Lab], str], text: str
) -> None:
    """Page "Error responses": 401 for authentication that is "missing or not valid"."""
    token = made(lab)
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    answer = requests.get(
        f"{lab.url}/v1.0/servicePrincipals", headers=headers, verify=str(lab.ca), timeout=30
    )

    assert error_of(answer) == (401, "InvalidAuthenticationToken", text)
    assert answer.json()["error"]["innerError"]["request-id"] == answer.headers["request-id"]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("throttle", 429, "TooManyRequests"),
        ("status", 503, "serviceNotAvailable"),
        ("status", 500, "generalException"),
        ("unauthorized", 401, "InvalidAuthenticationToken"),
    ],
)
def test_a_scripted_fault_answers_in_the_graphs_form(
    graph: Graph, kind: FaultKind, status: int, code: str
) -> None:
    """Page "Throttling guidance": 429 with Retry-After; "Error responses": 5xx and their codes."""
    fault = Fault(kind=kind, status=status, retry_after=7)
    graph.lab.faults.script((Scripted(fault=fault, kind="graph", nth=(1,)),))

    answer, after = graph.get(graph.assignments), graph.get(graph.assignments)

    assert error_of(answer)[:2] == (status, code)
    assert answer.headers["Retry-After"] == "7"
    assert after.status_code == requests.codes.ok


def test_a_script_leads_from_page_to_page(graph: Graph) -> None:
    """No page of Microsoft's rules out a link that leads back, or on for ever."""
    links = {}
    kinds: tuple[FaultKind, ...] = ("same_page", "endless_pages", "empty_page")
    for kind in kinds:
        graph.lab.faults.script((Scripted(fault=Fault(kind=kind), kind="graph", nth=(1, 2)),))
        first = graph.get(graph.assignments).json()
        second = graph.get(first["@odata.nextLink"]).json()
        third = graph.get(second["@odata.nextLink"]).json()
        assert [len(page["value"]) for page in (first, second, third)] == (
            [0, 0, 1] if kind == "empty_page" else [1, 1, 1]
        )
        links[kind] = first["@odata.nextLink"], second["@odata.nextLink"]

    here = f"{graph.lab.url}/v1.0/{graph.assignments}"
    assert links["same_page"] == links["empty_page"] == (here, here)
    assert len({*links["endless_pages"], here}) == 3


def test_a_lost_reply_has_granted_the_role(bare: Graph) -> None:
    """A connection may end after the work: who asks again hears that it exists already."""
    lost = Scripted(fault=Fault(kind="lost_reply"), method="POST", kind="graph")
    bare.lab.faults.script((lost,))

    with pytest.raises(requests.ConnectionError):
        bare.assign()

    bare.lab.faults.script(())
    assert error_of(bare.assign())[2].startswith("Permission being assigned already exists")


def test_a_tenant_without_the_api_has_neither_its_principal_nor_a_token_for_it() -> None:
    """Page "Get servicePrincipal": 404; "AADSTS error codes": AADSTS500011."""
    absent = replace(TenantOptions(), feed_api=False)
    with Lab(LabOptions(tenants=(absent,))) as lab:
        graph = Graph(lab)

        found = graph.get(f"servicePrincipals(appId='{FEED_APP_ID}')")

        assert error_of(found) == not_there(FEED_APP_ID)
        listed = graph.get(f"servicePrincipals?$filter=appId eq '{FEED_APP_ID}'")
        assert listed.json()["value"] == []
        with pytest.raises(ClientAuthenticationError, match="AADSTS500011"):
            collector_token(lab, FEED_SCOPE)


def test_a_certificate_opens_the_graph_and_the_administration_has_no_role_of_the_feed(
    lab: Lab,
) -> None:
    """Page "Application permissions" are in ``roles`` of a token, each API's own in its own."""
    tenant: LabTenant = lab.tenants[0]
    certificate = str(lab.certificate())
    with CertificateCredential(tenant.id, tenant.client_id, certificate, **options_of(lab)) as who:
        token = who.get_token(GRAPH_SCOPE).token
    admin = token_of(lab, tenant.admin_id, tenant.admin_secret, FEED_SCOPE)

    own = Graph(lab, token).get(f"servicePrincipals/{tenant.object_id}")
    assert own.status_code == requests.codes.ok
    assert "roles" not in dict(lab._mint.read(admin))  # noqa: SLF001 - the lab reads its own


def test_a_token_sees_its_own_tenant_alone() -> None:
    """Page "Get servicePrincipal": no address names a tenant, so the token's is meant."""
    with Lab(LabOptions(tenants=tenants_of(2))) as lab:
        first, second = lab.tenants
        graph = Graph(lab)

        found, _pages = graph.all("servicePrincipals")

        assert first.client_id in {one["appId"] for one in found}
        assert second.client_id not in {one["appId"] for one in found}
        there = graph.get(f"servicePrincipals/{second.object_id}")
        assert error_of(there) == not_there(second.object_id)
