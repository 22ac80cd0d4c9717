"""A service of Microsoft's, asked over HTTPS with a token: JSON in, JSON out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from http import HTTPStatus

import orjson
import requests
from requests.utils import get_environ_proxies

from audit_feed.errors import RetryError, ThrottledError
from audit_feed.feed.addresses import origin
from audit_feed.feed.bounded_transport import bounded_session
from audit_feed.feed.client import ANSWER_SECONDS, TIMEOUT_SECONDS
from audit_feed.feed.rate_limit import retry_after
from audit_feed.feed.retry import retry
from audit_feed.times import http_date
from mailvigil.tenant.steps import BadAnswer, SetupError, no_answer

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,59}(?![^\s:,.])")
"""What is shown of an error's code: one word."""

_EXISTS = "already exists"


Judge = Callable[[str, BadAnswer, str], Exception]
"""Returns what to raise for a step's bad answer that no repetition makes better, by the token that
the request was sent with."""


@dataclass(frozen=True, slots=True)
class Service:
    """One host, and what is needed to ask it. No other host is ever sent a token.

    ``tokens`` gives a token; ``sleep`` waits before a request is repeated.
    """

    host: str
    tokens: Callable[[], str]
    session: requests.Session
    sleep: Callable[[timedelta], None]
    judge: Judge

    def ask(self, where: str, method: str, address: str, body: object = None) -> object:
        """Return what the service answers; a throttle or a fault of its own is asked again.

        Args:
            where: The step, for messages.
            method: ``GET``, ``POST`` or ``DELETE``.
            address: A path with its query, or a whole address, which must be on the host.
            body: What is sent as JSON, None for nothing.

        Returns:
            The parsed JSON, None for an empty answer.

        Raises:
            SetupError: There is no answer, it is not JSON, or the address is on another host.
            RetryError, ThrottledError: A passing fault that did not pass.
            Exception: As ``judge`` returns it; also what ``tokens`` raises.

        """
        url = self._checked(where, address)
        return retry(partial(self._once, where, method, url, body), self.sleep)

    def _checked(self, where: str, address: str) -> str:
        url = f"{self.host}{address}" if address.startswith("/") else address
        if origin(url) is None or origin(url) != origin(self.host):
            what = "the service names an address on another host, and nothing was sent there"
            raise SetupError(where, what, "check --cloud, and whether there is a proxy in between")
        return url

    def _once(self, where: str, method: str, url: str, body: object) -> object:
        token = self.tokens()
        try:
            answer = self.session.request(
                method,
                url,
                json=body,
                headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise no_answer(where, _kind(error)) from None
        if answer.ok and not answer.is_redirect:
            return _json(where, answer)
        raise self._error(where, _bad(answer), token)

    def _error(self, where: str, bad: BadAnswer, token: str) -> Exception:
        if bad.status == HTTPStatus.TOO_MANY_REQUESTS or (
            bad.status == HTTPStatus.SERVICE_UNAVAILABLE and bad.wait
        ):
            return ThrottledError(where, bad.wait)
        if bad.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return RetryError(where, str(bad))
        return self.judge(where, bad, token)


def session_for(host: str, ca: str) -> requests.Session:
    """Return a session whose answers are bounded in time.

    *ca* is a file of authorities to trust on *host*, ``""`` for the usual ones.
    """
    made = bounded_session(ANSWER_SECONDS)
    if ca:
        made.trust_env = False  # REQUESTS_CA_BUNDLE would win over the given authorities
        made.verify = ca
        made.proxies = get_environ_proxies(host)
    return made


def _json(where: str, answer: requests.Response) -> object:
    if not answer.content:
        return None
    try:
        parsed: object = orjson.loads(answer.content)
    except ValueError:
        what = f"HTTP {answer.status_code}, but the answer is not JSON"
        raise SetupError(where, what, "is there a proxy in between?") from None
    return parsed


def _bad(answer: requests.Response) -> BadAnswer:
    code, exists = "", False
    try:
        error = orjson.loads(answer.content)["error"]
        word = _CODE.match(str(error["code"]))
        code = word[0] if word else ""
        exists = _EXISTS in str(error.get("message", "")).lower()
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    answered = http_date(answer.headers.get("Date", ""))
    wait = retry_after(answer.headers.get("Retry-After", ""), answered)
    return BadAnswer(answer.status_code, code, wait, exists)


def _kind(error: requests.RequestException) -> str:
    """Return the type of what urllib3 raised, which requests wraps."""
    inner = error.args[0] if error.args else error
    cause = getattr(inner, "reason", None) or inner
    return type(cause if isinstance(cause, Exception) else error).__name__
