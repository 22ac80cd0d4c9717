"""Clients of a lab: the released Azure packages and requests, pointed at loopback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Self

import requests
from azure.identity import ClientSecretCredential
from azure.monitor.ingestion import LogsIngestionClient

from mailvigil.lab.server.lab import Lab

FEED_SCOPE = "https://manage.office.com/.default"
EXCHANGE = "Audit.Exchange"

Json = Any
"""What an answer holds: the tests read it key by key."""


def record(number: int, **fields: object) -> dict[str, object]:
    """Return a short audit record."""
    usual = {
        "Id": f"00000000-0000-4000-8000-{number:012d}",
        "CreationTime": "2026-06-01T10:00:00",
        "Operation": "MailItemsAccessed",
        "Workload": "Exchange",
        "UserId": "adele@contoso.example",
    }
    return {**usual, **fields}


def options_of(lab: Lab) -> dict[str, Any]:
    """Return what points a credential of azure-identity at *lab*."""
    return {
        "authority": lab.url,
        "disable_instance_discovery": True,
        "connection_verify": str(lab.ca),
    }


def credential(lab: Lab, number: int = 0) -> ClientSecretCredential:
    """Return the credential of a tenant's app."""
    tenant = lab.tenants[number]
    return ClientSecretCredential(tenant.id, tenant.client_id, tenant.secret, **options_of(lab))


@contextmanager
def uploader(lab: Lab, **options: Any) -> Iterator[LogsIngestionClient]:  # noqa: ANN401 - the SDK's own
    """Give the ingestion client; without ``retry_total`` it does not retry."""
    with (
        credential(lab) as who,
        LogsIngestionClient(
            lab.url, who, connection_verify=str(lab.ca), **{"retry_total": 0, **options}
        ) as client,
    ):
        yield client


class Feed:
    """A client of the Management Activity API as a plain program writes it."""

    def __init__(self, lab: Lab, number: int = 0) -> None:
        self.lab = lab
        self.tenant = lab.tenants[number].id
        self.root = f"{lab.url}/api/v1.0/{self.tenant}/activity/feed"
        self._credential = credential(lab, number)
        self._session = requests.Session()
        self.publisher: str | None = self.tenant
        self.sign_in()

    def sign_in(self) -> None:
        """Get a new token."""
        token = self._credential.get_token(FEED_SCOPE).token
        self._session.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._credential.close()

    def get(self, url: str, **params: str) -> requests.Response:
        """Ask for *url*, or for an operation of the API."""
        return self._ask("GET", url, params)

    def post(self, url: str, payload: Json = None, **params: str) -> requests.Response:
        """Post to *url*, or to an operation of the API."""
        return self._ask("POST", url, params, payload)

    def _ask(
        self, method: str, url: str, params: Mapping[str, str], payload: Json = None
    ) -> requests.Response:
        address = url if "://" in url else f"{self.root}/{url}"
        named = {**params, **({"PublisherIdentifier": self.publisher} if self.publisher else {})}
        return self._session.request(
            method, address, params=named, json=payload, verify=str(self.lab.ca), timeout=30
        )

    def page(
        self, start: datetime, end: datetime, content_type: str = EXCHANGE
    ) -> requests.Response:
        """List the first page of a window."""
        return self.get(
            "subscriptions/content",
            contentType=content_type,
            startTime=f"{start:%Y-%m-%dT%H:%M:%S}",
            endTime=f"{end:%Y-%m-%dT%H:%M:%S}",
        )

    def last_day(self, content_type: str = EXCHANGE) -> list[Json]:
        """List all pages of the last day; a page that fails raises."""
        now = self.lab.clock.now() + timedelta(seconds=1)
        answer = self.page(now - timedelta(days=1), now, content_type)
        answer.raise_for_status()
        listed = list(answer.json())
        while more := answer.headers.get("NextPageUri"):
            answer = self.get(more)
            answer.raise_for_status()
            listed += answer.json()
        return listed

    def code_of(self, answer: requests.Response) -> str:
        """Return the error code of *answer*."""
        return str(answer.json()["error"]["code"])


def persistent(feed: Feed, url: str, **params: str) -> requests.Response:
    """Ask until an honest answer comes: JSON, complete, 200; at most ten times."""
    for _ in range(10):
        try:
            answer = feed.get(url, **params)
            if answer.status_code == requests.codes.ok:
                answer.json()
                return answer
        except (requests.RequestException, ValueError):
            continue
    raise AssertionError("the faults did not end")


def everything(feed: Feed, start: datetime, end: datetime) -> dict[str, Sequence[Json]]:
    """Fetch every blob of a window in spite of faults; return records by contentId."""
    times = {"startTime": f"{start:%Y-%m-%dT%H:%M:%S}", "endTime": f"{end:%Y-%m-%dT%H:%M:%S}"}
    answer = persistent(feed, "subscriptions/content", contentType=EXCHANGE, **times)
    listed = list(answer.json())
    while more := answer.headers.get("NextPageUri"):
        answer = persistent(feed, more)
        listed += answer.json()
    return {one["contentId"]: persistent(feed, one["contentUri"]).json() for one in listed}
