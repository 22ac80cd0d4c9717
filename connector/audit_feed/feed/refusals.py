"""What a bad answer of the feed means: its statuses and codes become ours here, once. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from audit_feed.errors import (
    AccessError,
    AuditFeedError,
    BlobExpiredError,
    BlobRejectedError,
    NoSubscriptionError,
    RetryError,
    ThrottledError,
    WindowError,
)

_UNAUTHORIZED = 401
_FORBIDDEN = 403
_TOO_MANY = 429
_UNAVAILABLE = 503

STOP = {
    "AF20001": ("a parameter is missing", "check tenant and content types"),
    "AF20002": ("a parameter is of the wrong type", "check tenant and content types"),
    "AF20003": ("the webhook's expiration is in the past", "set a later one"),
    "AF20021": ("the webhook could not be validated", "check its address"),
    "AF10001": (
        "the token lacks ActivityFeed.Read",
        "grant that application permission; a managed identity can take a day to have it",
    ),
    "AF20010": ("the tenant is not the token's", "check the tenant's id"),
    "AF20011": ("the tenant is unknown", "check its id, and that auditing is on"),
    "AF20012": ("the tenant is not set up", "turn unified auditing on"),
    "AF20013": ("the tenant's id is not a GUID", "check it"),
    "AF20020": (
        "the content type is not valid",
        "check its spelling, or take it out of content_types",
    ),
    "StartSubscription": ("the service cannot start it", "turn unified auditing on"),
}
"""Error code to what is wrong and how to fix it. Source: the API's reference, "Errors"; the last
is the first word of the sentence that a tenant without auditing is answered with."""

NO_SUBSCRIPTION = {
    "AF20022": ("there is no subscription", "start one; mailvigil doctor says how"),
    "AF20023": ("the subscription was disabled by an administrator", "start it again if you may"),
}

STATUSES = {
    400: "the service does not understand the request; check tenant id and cloud",
    401: "the token is refused; check the credential, and the audience of the cloud",
    403: "access is refused; grant ActivityFeed.Read with admin consent",
    404: "there is nothing at this address; check tenant id and cloud",
    413: "the request is too large; look for a proxy in between",
}
"""Status to what to do, for an answer without a code that is known."""

NOT_STARTED = "check that the tenant has it, or take it out of content_types"
"""What to do about a subscription that the feed will not start, for a reason of its own."""

TOKEN_REFUSED = frozenset({"AF10001", "AF20010"})
"""Refusals that another token can overcome: a permission may have been granted meanwhile."""

EXPIRED = frozenset({"AF20051"})
REJECTED = frozenset({"AF20050", "AF20052"})
REBUILD_WINDOW = frozenset({"AF20030", "AF20031", "AF20055"})
THROTTLED = frozenset({"AF429"})
ALREADY_STARTED = "AF20024"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A bad answer: its status, the first word of its code, and how long it asks to wait."""

    status: int
    code: str
    wait: timedelta | None

    @property
    def is_of_token(self) -> bool:
        """Whether another token may be answered better."""
        bare = self.status == _FORBIDDEN and not self.code
        return self.status == _UNAUTHORIZED or bare or self.code in TOKEN_REFUSED

    def error(self, where: str) -> AuditFeedError:
        """Return what it means; see :func:`error_of`."""
        return error_of(self.status, self.code, self.wait, where)

    def start_error(self, where: str) -> AuditFeedError:
        """Return what it means as the answer to a start; see :func:`start_error`."""
        return start_error(self.status, self.code, self.wait, where)


def error_of(status: int, code: str, wait: timedelta | None, where: str) -> AuditFeedError:
    """Return what a bad answer means. A code that is not known goes by its status."""
    if refused := _access_error(code, where):
        return refused
    busy = status == _UNAVAILABLE and wait
    if code in THROTTLED or status == _TOO_MANY or busy:
        return ThrottledError(where, wait)
    if code in EXPIRED:
        return BlobExpiredError(f"{where}: expired ({code})")
    if code in REJECTED:
        return BlobRejectedError(f"{where}: the content does not exist ({code})")
    if code in REBUILD_WINDOW:
        return WindowError(f"{where}: the window or page is refused ({code})")
    what = f"HTTP {status}{f' {code}' if code else ''}"
    return RetryError(where, what, STATUSES.get(status, ""))


def start_error(status: int, code: str, wait: timedelta | None, where: str) -> AuditFeedError:
    """Return what a bad answer to the start of a subscription means.

    A code that is otherwise about a window or a blob refuses it: neither was asked for.
    """
    if code in EXPIRED | REJECTED | REBUILD_WINDOW:
        return AccessError(where, f"the feed refuses to start it ({code})", NOT_STARTED)
    return error_of(status, code, wait, where)


def _access_error(code: str, where: str) -> AccessError | None:
    if code in NO_SUBSCRIPTION:
        what, todo = NO_SUBSCRIPTION[code]
        return NoSubscriptionError(where, f"{what} ({code})", todo)
    if code in STOP:
        what, todo = STOP[code]
        return AccessError(where, f"{what} ({code})", todo)
    return None
