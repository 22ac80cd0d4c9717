"""Send bodies to the Logs Ingestion API with Microsoft's client, until each is acknowledged."""

from __future__ import annotations

import gzip as stdlib_gzip
import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from importlib import import_module

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from audit_feed.delivery.ingestion_client import IngestionClient
from audit_feed.delivery.patience import LONGEST_SILENT_WAIT
from audit_feed.errors import (
    AccessError,
    BodyRefusedError,
    RetryError,
    SinkThrottledError,
    ThrottledError,
    fault_of,
)
from audit_feed.feed.credentials import sign_in_error
from audit_feed.feed.rate_limit import LONGEST_WAIT, retry_after
from audit_feed.records.batches import Body
from audit_feed.times import http_date

log = logging.getLogger(__name__)

DEADLINE = timedelta(minutes=2)
"""How long one body is tried before its blob goes back into the queue."""

FIRST_WAIT = timedelta(seconds=1)
LAST_WAIT = timedelta(seconds=30)
"""Wait before a repetition that the service gives no time for; doubled up to the last."""

REPEAT = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same body may be taken, so it is sent again."""

OF_BODY = frozenset({400, 413})
"""Statuses that can be due to one row: without it, the others may be taken."""

_FORBIDDEN = 403

WHAT_TO_DO: Mapping[int, str] = {
    400: "the rows do not fit the stream; compare its columns with the table's",
    401: "the token is refused; check the credential, and the ingestion audience of the cloud",
    404: "there is no such rule or stream; check endpoint, dcr and stream of the sink",
    413: "the body is too large; look for a proxy in between",
}
"""Status to what to do, for an answer that a repetition alone does not overcome."""


class LogAnalytics:
    """A ``Sink`` in a Log Analytics workspace: one stream of one data collection rule.

    Safe for threads.
    """

    def __init__(
        self,
        client: IngestionClient,
        rule: str,
        stream: str,
        clock: Callable[[], datetime],
        sleep: Callable[[timedelta], None],
    ) -> None:
        self._client = client
        self._rule = rule
        self._stream = stream
        self._clock = clock
        self._sleep = sleep
        self._held: tuple[datetime, str] | None = None

    def send(self, body: Body, patience: timedelta = DEADLINE) -> None:
        """Send *body*; repeat what may pass for as long as *patience* lasts.

        Raises:
            AccessError: Sign-in is refused.
            StoppedError: The program was asked to stop while this waited.
            BodyRefusedError: The service will not take this body, however often it is sent.
            SinkThrottledError: The service asks for a longer wait. Nothing is sent before it is
                over, of other bodies neither.
            RetryError: The service did not take it in time. A new role takes up to 30 minutes
                to work, so 403 is such a fault too.

        """
        data = gzip(body.data)
        deadline = self._clock() + patience
        own = FIRST_WAIT
        if held := self._hold():
            self._wait(held, own, deadline)
        while refusal := self._try(data):
            if refusal.wait:
                self._held = (self._clock() + refusal.wait, refusal.what)
            self._wait(refusal, own, deadline)
            own = min(own * 2, LAST_WAIT)

    def _hold(self) -> _Refusal | None:
        """Return what is left of the wait that the service asked for, if anything is."""
        if self._held is None:
            return None
        until, what = self._held
        left = until - self._clock()
        # A clock that was set back must not make us wait for longer than was asked for.
        return _Refusal(left, what) if timedelta() < left <= LONGEST_WAIT else None

    def _wait(self, refusal: _Refusal, own: timedelta, deadline: datetime) -> None:
        """Wait as long as the service asks, else for *own*; raise where *deadline* is before."""
        pause = refusal.wait or own
        if self._clock() + pause > deadline:
            raise _late(refusal)
        if refusal.wait and pause > LONGEST_SILENT_WAIT:
            seconds = pause.total_seconds()
            log.warning("ingestion: %s: waits %.0f s, as the service asks", refusal.what, seconds)
        try:
            self._sleep(pause)
        except ThrottledError:  # the run ends before: what it would have waited for is the reason
            raise _late(refusal) from None

    def _try(self, data: bytes) -> _Refusal | None:
        """Send once; return None when it was acknowledged."""
        try:
            # A raw bytes argument would make every byte a row, and succeed.
            self._client.upload(self._rule, self._stream, io.BytesIO(data))
        except ClientAuthenticationError as error:
            refused = sign_in_error(error)
            if isinstance(refused, AccessError):
                raise refused from None
            return _Refusal(None, str(refused))
        except HttpResponseError as error:
            return _refusal(error, self._clock())
        except AzureError as error:
            return _Refusal(None, f"no answer: {type(error).__name__}")
        except Exception as error:  # noqa: BLE001 - a statement that breaks the client ends no run
            return _Refusal(None, fault_of(error))
        return None


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a body was not taken, and how long the service asks to wait."""

    wait: timedelta | None
    what: str


def _late(refusal: _Refusal) -> RetryError:
    """Return the error of a body that was not taken in time, and why it was not."""
    what = f"not accepted in time: {refusal.what}"
    if refusal.wait:
        return SinkThrottledError("ingestion", what, refusal.wait)
    return RetryError("ingestion", what)


def _refusal(error: HttpResponseError, now: datetime) -> _Refusal:
    """Return a refusal that a repetition may overcome, or raise where none can now."""
    status = error.status_code or 0
    if status == _FORBIDDEN:
        raise RetryError(
            "ingestion",
            "HTTP 403 (Monitoring Metrics Publisher missing on the rule? assign it to the "
            "identity; a new role takes up to 30 minutes)",
        ) from None
    if status not in REPEAT:
        refused = RetryError("ingestion", f"HTTP {status}", WHAT_TO_DO.get(status, ""))
        raise (BodyRefusedError(refused) if status in OF_BODY else refused) from None
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    answered = http_date(headers.get("Date", "")) or now
    return _Refusal(retry_after(headers.get("Retry-After", ""), answered), f"HTTP {status}")


@cache
def compressor() -> Callable[[bytes], bytes]:
    """Return the fastest gzip here: ISA-L's first level, else zlib's."""
    try:
        igzip = import_module("isal.igzip")
    except ImportError:  # a platform that isal has no wheel for
        return partial(stdlib_gzip.compress, compresslevel=1, mtime=0)
    return partial(igzip.compress, compresslevel=1, mtime=0)


def gzip(data: bytes) -> bytes:
    """Return *data* as gzip, as fast as this machine can."""
    return bytes(compressor()(data))
