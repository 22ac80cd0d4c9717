"""Microsoft Graph, as far as permissions need it: what is asked, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from audit_feed.feed.tokens import claims_of
from mailvigil.tenant.service import Judge, Service
from mailvigil.tenant.steps import AGAIN, BadAnswer, ServiceRefusedError, SetupError

GraphItem = Mapping[str, object]

VERSION = "/v1.0"
MOST_PAGES = 1_500
"""As many as a service principal can have assignments. Source: Entra ID, "Service limits"."""

_NEXT = "@odata.nextLink"
_ROLE = "Cloud Application Administrator of Entra ID is enough"
_PERSON_LACKS = (
    "who is signed in lacks the role",
    f"{_ROLE}: have it assigned, or activate it where it is eligible; then sign in again",
)
_APP_PERMISSIONS = "Application.Read.All and AppRoleAssignment.ReadWrite.All of Microsoft Graph"
_APP_LACKS = (
    "the application that is signed in lacks the permission",
    f"{_ROLE}, or {_APP_PERMISSIONS}",
)


def graph_judge(again: str) -> Judge:
    """Return what judges bad answers of Graph; *again* says how to sign in again."""

    def judge(where: str, bad: BadAnswer, token: str) -> Exception:
        code = bad.code or f"HTTP {bad.status}"
        match bad.status:
            case HTTPStatus.UNAUTHORIZED:
                what, todo = "the token is refused", again
            case HTTPStatus.FORBIDDEN:
                what, todo = _APP_LACKS if _is_of_app(token) else _PERSON_LACKS
            case HTTPStatus.NOT_FOUND:
                what, todo = "it is not there", f"was it removed meanwhile? {AGAIN}"
            case _:
                what, todo, code = "refused", "check --cloud and --identity", str(bad)
        return ServiceRefusedError(where, bad, f"{what} ({code})", todo)

    return judge


def _is_of_app(token: str) -> bool:
    """Tell whether a token stands for an application; that of a person has scopes."""
    claims = claims_of(token)
    return claims.get("idtyp") == "app" or bool(claims and "scp" not in claims)


@dataclass(frozen=True, slots=True)
class GraphClient:
    """Microsoft Graph v1.0. Paths begin with a slash, below the version.

    Every method raises what ``Service.ask`` raises, for ``graph_judge`` a ``ServiceRefusedError``.
    """

    service: Service

    def read(self, where: str, path: str) -> GraphItem:
        """Return one object."""
        return _object(where, self.service.ask(where, "GET", f"{VERSION}{path}"))

    def read_all(self, where: str, path: str) -> list[GraphItem]:
        """Return the items of all pages of a collection.

        Raises:
            SetupError: A page is not one, or names itself or another host as the next.

        """
        items: list[GraphItem] = []
        address, asked = f"{VERSION}{path}", set[str]()
        while address and address not in asked and len(asked) < MOST_PAGES:
            asked.add(address)
            page = _object(where, self.service.ask(where, "GET", address))
            value = page.get("value")
            if not isinstance(value, list):
                raise _odd(where, "its answer is not a list")
            items.extend(item for item in value if isinstance(item, dict))
            address = str(page.get(_NEXT) or "")
        if address:
            raise _odd(where, "its pages have no end")
        return items

    def create(self, where: str, path: str, body: Mapping[str, str]) -> None:
        """Create an object; one that is there already is good."""
        try:
            self.service.ask(where, "POST", f"{VERSION}{path}", body)
        except ServiceRefusedError as refused:
            if not refused.answer.exists:
                raise

    def delete(self, where: str, path: str) -> None:
        """Delete an object; one that is gone already is good."""
        try:
            self.service.ask(where, "DELETE", f"{VERSION}{path}")
        except ServiceRefusedError as refused:
            if refused.answer.status != HTTPStatus.NOT_FOUND:
                raise


def _object(where: str, answer: object) -> GraphItem:
    if not isinstance(answer, dict):
        raise _odd(where, "its answer is not an object")
    return answer


def _odd(where: str, what: str) -> SetupError:
    return SetupError(where, f"Microsoft Graph is not understood: {what}", "check --cloud")
