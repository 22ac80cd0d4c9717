"""A service whose answers are written down beforehand, and which notes what it is asked."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO

import requests
from requests.adapters import HTTPAdapter
from requests.models import PreparedRequest, Response
from urllib3 import HTTPResponse

from mailvigil.tenant.service import Judge, Service

HOST = "https://graph.microsoft.com"


def token_of(**claims: object) -> str:
    """Return what can be read as a JWT with *claims*."""
    body = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"head.{body}.signature"


PERSON = token_of(scp="user_impersonation", tid="11111111-aaaa-4bbb-8ccc-000000000001")
APP = token_of(idtyp="app", roles=[], tid="11111111-aaaa-4bbb-8ccc-000000000001")


@dataclass(frozen=True, slots=True)
class Written:
    """An answer: status, what is in it, headers."""

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


def refused(status: int, code: str, message: str = "of the tenant", **headers: str) -> Written:
    """Return an error in the form of Graph and feed."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Written(status, {"error": {"code": code, "message": message}}, named)


class ScriptedAdapter(HTTPAdapter):
    """Gives the answers in turn, an exception by raising it; the last one goes on for ever."""

    def __init__(self, *answers: Written | Exception) -> None:
        super().__init__()
        self.left = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.sent: list[PreparedRequest] = []

    def send(self, request: PreparedRequest, **_: object) -> Response:  # type: ignore[override]  # the rest is of no matter here
        self.asked.append((str(request.method), str(request.url)))
        self.sent.append(request)
        answer = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if isinstance(answer, Exception):
            raise answer
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        raw = HTTPResponse(
            BytesIO(b"" if answer.body is None else text.encode()),
            status=answer.status,
            headers=dict(answer.headers),
            preload_content=False,
        )
        return self.build_response(request, raw)


@dataclass(slots=True)
class Scripted:
    """A service at the end of an adapter, whose waits take no time."""

    adapter: ScriptedAdapter
    service: Service
    waits: list[float]

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Method and address of each request."""
        return self.adapter.asked


def scripted(judge: Judge, *answers: Written | Exception, token: str = PERSON) -> Scripted:
    """Return a service that answers what is written down."""
    adapter, waits = ScriptedAdapter(*answers), list[float]()
    session = requests.Session()
    session.mount("https://", adapter)

    def sleep(length: timedelta) -> None:
        waits.append(length.total_seconds())

    return Scripted(adapter, Service(HOST, lambda: token, session, sleep, judge), waits)
