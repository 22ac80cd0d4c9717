"""What a step of the set-up came to, and what is said of one that failed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from audit_feed.errors import AuditFeedError, RetryError, ThrottledError
from mailvigil.errors import MailvigilError

FEED_APP = "c5393580-f805-4401-95e8-94b7a6ef2fc2"
"""Application id of "Office 365 Management APIs", the same in every tenant. Source: Management
Activity API, "Get started"."""

MAKE_FEED_APP = f"an administrator makes them there: az ad sp create --id {FEED_APP}"

AGAIN = "run it again"

_NO_ANSWER: Mapping[str, tuple[str, str]] = {
    "NameResolutionError": ("its name is not known", "check the network, the DNS and --cloud"),
    "SSLError": ("its certificate is not trusted", "is there a proxy in between? --ca FILE.pem"),
    "ProxyError": ("the proxy does not let it through", "check HTTPS_PROXY"),
}
"""Error of urllib3 to what is wrong and what to do about a host that gives no answer."""

REACH_IT = "check the network, a proxy and --cloud, then run it again"


class SetupError(MailvigilError):
    """A step cannot be done, or not now. ``where`` is the step; the message says what to do."""

    def __init__(self, where: str, what: str, todo: str) -> None:
        self.where = where
        super().__init__(f"{where}: {what} ({todo})")


@dataclass(frozen=True, slots=True)
class BadAnswer:
    """An answer that is not a good one, without its text: that can hold the tenant's data.

    ``code`` is the error's own, ``""`` where there is none that can be shown; ``exists`` tells
    that its text says that what was to be made is there.
    """

    status: int
    code: str = ""
    wait: timedelta | None = None
    exists: bool = False

    def __str__(self) -> str:
        """Return status and code."""
        return f"HTTP {self.status}{f' {self.code}' if self.code else ''}"


class ServiceRefusedError(SetupError):
    """The service refuses the request: ``answer`` is how."""

    def __init__(self, where: str, answer: BadAnswer, what: str, todo: str) -> None:
        self.answer = answer
        super().__init__(where, what, todo)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step came to, for people: one line."""

    line: str
    failed: bool = False


StepErrors = (AuditFeedError, SetupError)
"""What a step raises. The steps after it that do not need it go on."""


def failed(error: AuditFeedError | SetupError) -> StepResult:
    """Return the result of a step that raised *error*: a sentence with what to do."""
    if isinstance(error, ThrottledError):
        until = f"wait {_seconds(error.wait)}" if error.wait else "wait"
        return StepResult(f"{error.where}: the service asks to {until} ({AGAIN} then)", failed=True)
    if isinstance(error, RetryError) and str(error) == f"{error.where}: {error.what}":
        return StepResult(f"{error} (a passing fault: {AGAIN})", failed=True)
    return StepResult(str(error), failed=True)


def no_answer(where: str, kind: str) -> SetupError:
    """Return the error of a host that gave no answer, for an error of urllib3's *kind*."""
    what, todo = _NO_ANSWER.get(kind, (kind, REACH_IT))
    return SetupError(where, f"no answer from the host: {what}", todo)


def change(what: str, do: Callable[[], None], *, what_if: bool) -> StepResult:
    """Make a change, or with *what_if* say only that it would be made.

    Raises:
        AuditFeedError, SetupError: As *do* raises it.

    """
    if what_if:
        return StepResult(f"would {what}")
    do()
    return StepResult(f"done: {what}")


def _seconds(wait: timedelta) -> str:
    return f"{wait.total_seconds():.0f} s"
