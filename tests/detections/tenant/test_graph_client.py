"""Microsoft Graph asked: pages, hosts, waits, and what a refusal is said to be."""

from __future__ import annotations

import re

import pytest
import requests
from urllib3 import HTTPSConnectionPool
from urllib3.exceptions import MaxRetryError, NameResolutionError, SSLError

from audit_feed.errors import RetryError, ThrottledError
from detections.tenant.scripted_host import (
    APP,
    HOST,
    PERSON,
    Scripted,
    Written,
    refused,
    scripted,
)
from mailvigil.tenant.graph_client import GraphClient, graph_judge
from mailvigil.tenant.steps import ServiceRefusedError, SetupError, failed

AGAIN = "sign in again: az login"
LIST = "/servicePrincipals/x/appRoleAssignments"


def graph_of(*answers: Written | Exception, token: str = PERSON) -> tuple[GraphClient, Scripted]:
    made = scripted(graph_judge(AGAIN), *answers, token=token)
    return GraphClient(made.service), made


def page(*ids: str, following: str = "") -> Written:
    body: dict[str, object] = {"value": [{"id": id_} for id_ in ids]}
    return Written(body={**body, **({"@odata.nextLink": following} if following else {})})


def test_all_pages_are_read_an_empty_one_among_them() -> None:
    second, third = f"{HOST}/v1.0/x?$skiptoken=b", f"{HOST}/v1.0/x?$skiptoken=c"
    graph, host = graph_of(page("1", following=second), page(following=third), page("2", "3"))

    found = graph.read_all("read", LIST)

    assert [item["id"] for item in found] == ["1", "2", "3"]
    assert host.asked == [("GET", f"{HOST}/v1.0{LIST}"), ("GET", second), ("GET", third)]


@pytest.mark.parametrize(
    "following",
    [
        "https://graph.microsoft.com.attacker.example/v1.0/x",
        "https://attacker.example/v1.0/x",
        "http://graph.microsoft.com/v1.0/x",
        "https://graph.microsoft.com:8443/v1.0/x",
        "https://graph.microsoft.com@attacker.example/v1.0/x",
    ],
)
def test_a_next_page_on_another_host_is_never_asked_for(following: str) -> None:
    graph, host = graph_of(page("1", following=following))

    with pytest.raises(SetupError, match="names an address on another host, and nothing was sent"):
        graph.read_all("read", LIST)

    assert host.asked == [("GET", f"{HOST}/v1.0{LIST}")]


def test_pages_without_an_end_are_refused() -> None:
    graph, host = graph_of(page("1", following=f"{HOST}/v1.0/again"))

    with pytest.raises(SetupError, match="its pages have no end"):
        graph.read_all("read", LIST)

    assert len(host.asked) == 2


@pytest.mark.parametrize("body", [[], "<html>", {"value": {}}, {}])
def test_what_is_not_a_page_is_not_taken_for_an_empty_one(body: object) -> None:
    graph, _ = graph_of(Written(body=body))

    with pytest.raises(SetupError):
        graph.read_all("read", LIST)


def test_a_throttle_and_a_fault_of_the_service_are_waited_out() -> None:
    busy = (
        refused(429, "TooManyRequests", Retry_After="7"),
        refused(503, "ServiceUnavailable"),
        refused(503, "ServiceUnavailable", Retry_After="9"),
    )
    graph, host = graph_of(*busy, page("1"))

    assert [item["id"] for item in graph.read_all("read", LIST)] == ["1"]
    assert host.waits == [7, 1, 9]


def test_a_wait_that_is_too_long_is_told_and_not_waited() -> None:
    graph, host = graph_of(refused(429, "TooManyRequests", Retry_After="3000"))

    with pytest.raises(ThrottledError) as raised:
        graph.read("read it", "/x")

    assert host.waits == []
    assert failed(raised.value).line == (
        "read it: the service asks to wait 3000 s (run it again then)"
    )


def test_a_fault_that_lasts_is_told_after_some_repetitions() -> None:
    graph, host = graph_of(refused(500, "InternalServerError"))

    with pytest.raises(RetryError) as raised:
        graph.read("read it", "/x")

    assert sum(host.waits) == 25
    assert failed(raised.value).line == (
        "read it: HTTP 500 InternalServerError (a passing fault: run it again)"
    )


POOL = HTTPSConnectionPool("graph.microsoft.com")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            requests.ConnectionError(
                MaxRetryError(POOL, "/x", NameResolutionError("h", POOL, OSError()))  # type: ignore[arg-type]  # it is only kept
            ),
            "its name is not known (check the network, the DNS and --cloud)",
        ),
        (
            requests.exceptions.SSLError(MaxRetryError(POOL, "/x", SSLError("bad"))),
            "its certificate is not trusted (is there a proxy in between? --ca FILE.pem)",
        ),
        (requests.ReadTimeout("x"), "ReadTimeout (check the network, a proxy and --cloud, "),
    ],
)
def test_no_answer_is_told_as_such_at_once(error: Exception, told: str) -> None:
    graph, host = graph_of(error)

    with pytest.raises(SetupError) as raised:
        graph.read("read it", "/x")

    assert str(raised.value).startswith(f"read it: no answer from the host: {told}")
    assert "refused" not in str(raised.value)
    assert len(host.asked) == 1


@pytest.mark.parametrize(
    ("answer", "token", "told"),
    [
        (
            refused(401, "InvalidAuthenticationToken"),
            PERSON,
            f"the token is refused (InvalidAuthenticationToken) ({AGAIN})",
        ),
        (
            refused(403, "Authorization_RequestDenied"),
            PERSON,
            (
                "who is signed in lacks the role (Authorization_RequestDenied) "
                "(Cloud Application Administrator of Entra ID is enough: "
            ),
        ),
        (
            refused(403, "Authorization_RequestDenied"),
            APP,
            "the application that is signed in lacks the permission (Authorization_RequestDenied)",
        ),
        (refused(404, "Request_ResourceNotFound"), PERSON, "it is not there "),
        (refused(400, "Request_BadRequest"), PERSON, "refused (HTTP 400 Request_BadRequest) "),
        (Written(403, "<html>"), PERSON, "who is signed in lacks the role (HTTP 403) "),
        (Written(302, "", {"Location": "https://attacker.example"}), PERSON, "refused (HTTP 302) "),
    ],
)
def test_a_refusal_says_what_to_do_and_nothing_of_the_tenant(
    answer: Written, token: str, told: str
) -> None:
    graph, host = graph_of(answer, token=token)

    with pytest.raises(ServiceRefusedError) as raised:
        graph.read("read it", "/x")

    text = str(raised.value)
    assert text.startswith(f"read it: {told}")
    assert re.search(r" \([^()]{12,}\)$", text)
    assert not re.search("of the tenant|signature|html", text)
    assert len(host.asked) == 1


def test_what_exists_already_is_created_and_what_is_gone_is_deleted() -> None:
    exists = refused(
        400, "Request_BadRequest", "Permission being assigned already exists on the object"
    )
    graph, host = graph_of(exists, refused(404, "Request_ResourceNotFound"), Written(204))

    graph.create("give", LIST, {"principalId": "x"})
    graph.delete("take", f"{LIST}/1")
    graph.delete("take", f"{LIST}/2")

    assert [method for method, _ in host.asked] == ["POST", "DELETE", "DELETE"]


def test_another_refusal_to_create_is_raised() -> None:
    graph, _ = graph_of(refused(400, "Request_BadRequest", "Not a valid reference update."))

    with pytest.raises(ServiceRefusedError):
        graph.create("give", LIST, {"principalId": "x"})
