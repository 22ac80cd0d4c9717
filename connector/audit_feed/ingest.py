"""Send bodies to the Logs Ingestion API with Microsoft's client, until each is acknowledged."""

from __future__ import annotations

import gzip as stdlib_gzip
import io
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cache, partial
from importlib import import_module

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.monitor.ingestion import LogsIngestionClient

from audit_feed.chunk import Body
from audit_feed.errors import AccessError, RetryError

DEADLINE = timedelta(minutes=2)
"""How long one body is tried before its blob goes back into the queue."""

FIRST_WAIT = timedelta(seconds=1)
LAST_WAIT = timedelta(seconds=30)
"""Wait before a repetition that the service gives no time for; doubled up to the last."""

REPEAT = frozenset({408, 429, 500, 502, 503, 504})
_FORBIDDEN = 403


class LogAnalytics:
    """A ``Sink`` in a Log Analytics workspace: one stream of one data collection rule."""

    def __init__(
        self,
        client: LogsIngestionClient,
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

    def send(self, body: Body) -> None:
        """Send *body*; repeat what may pass until the deadline.

        Raises:
            AccessError: No token, or the service refuses the token.
            RetryError: The service did not take it in time. A new role takes up to 30 minutes
                to work, so 403 is such a fault too.

        """
        data = gzip(body.data)
        deadline = self._clock() + DEADLINE
        wait = FIRST_WAIT
        while True:
            given = self._try(data)
            if given is None:
                return
            pause = given or wait
            if self._clock() + pause > deadline:
                raise RetryError("ingestion", "not accepted in time")
            self._sleep(pause)
            wait = min(wait * 2, LAST_WAIT)

    def _try(self, data: bytes) -> timedelta | None:
        """Send once: None when it was acknowledged, else how long to wait (0: unknown)."""
        try:
            # A raw bytes argument would make every byte a row, and succeed.
            self._client.upload(self._rule, self._stream, io.BytesIO(data))
        except ClientAuthenticationError as error:
            raise AccessError(
                "ingestion", f"no token: HTTP {error.status_code}", "check the credential"
            ) from None
        except HttpResponseError as error:
            return _wait_of(error)
        except AzureError as error:
            raise RetryError("ingestion", f"no answer: {type(error).__name__}") from None
        return None


def _wait_of(error: HttpResponseError) -> timedelta:
    """Return how long to wait before a repetition, or raise where one cannot help now."""
    status = error.status_code or 0
    if status == _FORBIDDEN:
        raise RetryError(
            "ingestion", "HTTP 403 (Monitoring Metrics Publisher missing on the rule?)"
        ) from None
    if status not in REPEAT:
        raise RetryError("ingestion", f"HTTP {status}") from None
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    value = headers.get("Retry-After", "")
    return timedelta(seconds=int(value)) if value.isdecimal() else timedelta()


@cache
def _compressor() -> Callable[[bytes], bytes]:
    """Return the fastest gzip here: ISA-L's first level, else zlib's."""
    try:
        igzip = import_module("isal.igzip")
    except ImportError:  # a platform that isal has no wheel for
        return partial(stdlib_gzip.compress, compresslevel=1, mtime=0)
    return partial(igzip.compress, compresslevel=1, mtime=0)


def gzip(data: bytes) -> bytes:
    """Return *data* as gzip, as fast as this machine can."""
    return bytes(_compressor()(data))
