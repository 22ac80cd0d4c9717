"""A request to Microsoft Graph, read as the service reads it, and its answers by page. Pure."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

import orjson

from mailvigil.lab.server.counts import CountedResource
from mailvigil.lab.server.errors_by_code import as_json, graph_error
from mailvigil.lab.server.faults import FaultKind
from mailvigil.lab.server.feed_request import AnsweredError
from mailvigil.lab.server.messages import HttpRequest, Response

VERSION: Final = "/v1.0/"
MAX_TOP: Final = 999
"""Most objects that $top may ask for in the directory."""

_ROUTE = re.compile(
    r"servicePrincipals"
    r"(?:/(?P<id>[^/()]+)|\(appId='(?P<app>[^']*)'\))?"
    r"(?:/(?P<relation>appRoleAssignments|appRoleAssignedTo)(?:/(?P<assignment>[^/]+))?)?"
)
_FILTER = re.compile(r"(\w+) eq (?:'([^']*)'|([0-9a-fA-F-]{36}))")
_BEGINNING = "beginning"
_NUMBER = "$labpage"
OK: Final = 200


@dataclass(frozen=True, slots=True)
class GraphRoute:
    """What a path names; "" is what it does not. ``relation`` is one of assignments."""

    object_id: str
    app_id: str
    relation: str
    assignment: str

    @property
    def names_one(self) -> bool:
        """Whether one service principal is named, not all of them."""
        return bool(self.object_id or self.app_id)


@dataclass(frozen=True, slots=True)
class GraphPage:
    """A page of a collection: its objects, and the address of the next page, "" for the last."""

    objects: Sequence[Mapping[str, object]]
    next_link: str


def read_route(request: HttpRequest) -> GraphRoute:
    """Return what *request* is about.

    Raises:
        AnsweredError: There is no such resource.

    """
    path = unquote(request.path).removeprefix(VERSION)
    route = _ROUTE.fullmatch(path)
    named = route and (route["id"] or route["app"] is not None)
    if not route or (route["relation"] and not named):
        raise AnsweredError(graph_error("NoSegment", path.rpartition("/")[2]))
    parts = (route["id"], route["app"], route["relation"], route["assignment"])
    return GraphRoute(*(part or "" for part in parts))


def read_filter(request: HttpRequest, fields: frozenset[str]) -> tuple[str, str] | None:
    """Return field and value of ``$filter=field eq 'value'``, None where it is not asked for.

    Raises:
        AnsweredError: It is another one, or not on *fields*.

    """
    asked = request.params.get("$filter")
    if not asked:
        return None
    clause = _FILTER.fullmatch(asked.strip())
    if not clause:
        raise AnsweredError(graph_error("InvalidFilter"))
    if clause[1] not in fields:
        raise AnsweredError(graph_error("UnsupportedFilter", clause[1]))
    return clause[1], clause[2] or clause[3] or ""


def read_body(request: HttpRequest) -> Mapping[str, object]:
    """Return the JSON object that *request* sends.

    Raises:
        AnsweredError: There is no Content-Type, or no such object.

    """
    if "content-type" not in request.headers:
        raise AnsweredError(graph_error("NoContentType"))
    try:
        sent = orjson.loads(request.body)
    except ValueError:
        raise AnsweredError(graph_error("NotJson")) from None
    if not isinstance(sent, dict):
        raise AnsweredError(graph_error("NotJson"))
    return sent


def page_of(
    objects: Sequence[Mapping[str, object]],
    request: HttpRequest,
    base: str,
    size: int,
    *,
    empty_first: bool,
) -> GraphPage:
    """Return the page of *objects* (in the order of their ids) that *request* asks for.

    Args:
        objects: The whole collection.
        request: ``$top`` is followed up to *size*; all its parameters stay in the next link.
        base: Scheme and host that the client used.
        size: Most objects a page.
        empty_first: The first page has none, and a next link, as the documents allow.

    Raises:
        AnsweredError: ``$top`` or ``$skiptoken`` is not one that the service takes.

    """
    after = _after(request)
    if empty_first and objects and after is None:
        return GraphPage([], _next_link(request, base, _BEGINNING))
    left = [item for item in objects if after in {None, _BEGINNING} or str(item["id"]) > str(after)]
    shown = left[: min(_top(request, size), size)]
    more = len(left) > len(shown)
    return GraphPage(shown, _next_link(request, base, str(shown[-1]["id"])) if more else "")


def led_on(kind: FaultKind, request: HttpRequest, answer: Response) -> Response:
    """Return *answer* with a next link: to the page itself, or for ``endless_pages`` to a new one.

    An ``empty_page`` has no objects before the page itself. What is not a page stays as it is.
    """
    shown = orjson.loads(answer.body) if isinstance(answer.body, bytes) and answer.body else {}
    if answer.status != OK or "value" not in shown:
        return answer
    number = int(request.params.get(_NUMBER, "0")) + (kind == "endless_pages")
    params = {**request.params, **({_NUMBER: str(number)} if number else {})}
    base = f"https://{request.headers.get('host', '')}"
    value = [] if kind == "empty_page" else shown["value"]
    return as_json({**shown, "@odata.nextLink": _address(request, base, params), "value": value})


def selected(shown: Mapping[str, object], request: HttpRequest) -> Mapping[str, object]:
    """Return *shown* with the fields that ``$select`` names, with all of them without it."""
    asked = request.params.get("$select", "")
    names = {name.strip() for name in asked.split(",") if name.strip()}
    return {name: value for name, value in shown.items() if not names or name in names}


def graph_resource(request: HttpRequest) -> CountedResource:
    """Return what a request to the Graph is for."""
    query = f"?{unquote(request.query)}" if request.query else ""
    return CountedResource("graph", f"{request.method} {unquote(request.path)}{query}")


def _top(request: HttpRequest, size: int) -> int:
    asked = request.params.get("$top", str(size))
    if not asked.isdecimal() or not 1 <= int(asked) <= MAX_TOP:
        raise AnsweredError(graph_error("InvalidTop", asked))
    return int(asked)


def _after(request: HttpRequest) -> str | None:
    """Return the id after which the page begins, None for a first request."""
    given = request.params.get("$skiptoken")
    if given is None:
        return None
    try:
        return urlsafe_b64decode(given + "=" * (-len(given) % 4)).decode()
    except ValueError:
        raise AnsweredError(graph_error("ExpiredPage")) from None


def _next_link(request: HttpRequest, base: str, after: str) -> str:
    token = urlsafe_b64encode(after.encode()).rstrip(b"=").decode()
    return _address(request, base, {**request.params, "$skiptoken": token})


def _address(request: HttpRequest, base: str, params: Mapping[str, str]) -> str:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in params.items())
    path = quote(unquote(request.path), safe="/()'=")
    return f"{base}{path}?{query}" if query else f"{base}{path}"
