"""The token that the requests of one tenant are sent with. Pure."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import Protocol

import orjson

TOKEN_SECONDS = 10.0
"""How long a token is used before its giver is asked again, which renews it minutes before its
end; asking costs as much as parsing a blob."""

REPLACE_SECONDS = 60.0
"""Shortest time between two replacements of a credential whose token was refused."""


class Tokens(Protocol):
    """Gives access tokens: ``azure.identity`` credentials, seen from here."""

    def __call__(self) -> str:
        """Return a valid bearer token, or raise ``SignInError`` or ``RetryError``."""

    def replace(self) -> None:
        """Drop the credential with all tokens that it has cached: the next one is a new one."""


class CachedToken:
    """Caches a token for ``TOKEN_SECONDS``. Two threads may ask for one at once; both are good."""

    def __init__(self, tokens: Tokens, seconds: Callable[[], float]) -> None:
        self._tokens = tokens
        self._seconds = seconds
        self._cached = ("", 0.0)
        self._lock = Lock()
        self._replaced: float | None = None

    def __call__(self) -> str:
        """Return a token; see :class:`Tokens`."""
        token, until = self._cached
        now = self._seconds()
        if not token or now >= until:
            token = self._tokens()
            self._cached = (token, now + TOKEN_SECONDS)
        return token

    def replace(self, refused: str) -> bool:
        """Drop the token *refused*; return whether the next one is another.

        A credential is replaced at most every ``REPLACE_SECONDS``: a permission that is missing
        must not become a sign-in for each request. The first of several threads replaces it for
        all of them.
        """
        with self._lock:
            now = self._seconds()
            if self._cached[0] != refused:
                return True
            if self._replaced is not None and now < self._replaced + REPLACE_SECONDS:
                return False
            self._replaced = now
            self._tokens.replace()
            self._cached = ("", 0.0)
            return True


def claims_of(token: str) -> Mapping[str, object]:
    """Return the claims of a JWT, unverified; an unreadable one gives none."""
    try:
        body = token.split(".")[1]
        claims = orjson.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def validity_of(token: str) -> tuple[datetime, datetime] | None:
    """Return from when until when a JWT is good, by its issuer's clock; None if it does not say."""
    claims = claims_of(token)
    times = [claims.get(name) for name in ("nbf", "exp")]
    try:
        begin, end = (datetime.fromtimestamp(float(str(time)), UTC) for time in times)
    except (ValueError, OverflowError, OSError):
        return None
    return begin, end


def roles_of(token: str) -> frozenset[str] | None:
    """Return the roles in a JWT; None where its claims cannot be read."""
    claims = claims_of(token)
    roles = claims.get("roles", [])
    return frozenset(map(str, roles)) if claims and isinstance(roles, list) else None
