"""The ingestion client, made anew after its token was refused."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import IO, Protocol

from azure.core.exceptions import HttpResponseError

from audit_feed.feed.tokens import REPLACE_SECONDS

REFUSED = frozenset({401, 403})
"""Statuses that another token can overcome: a role may have been assigned meanwhile."""


class IngestionClient(Protocol):
    """What is needed of ``azure.monitor.ingestion.LogsIngestionClient``."""

    def upload(self, rule_id: str, stream_name: str, logs: IO[bytes]) -> None:
        """Send *logs*, compressed, to a stream of a data collection rule."""


class RenewedClient:
    """An ingestion client that is replaced with its credential when a token is refused.

    The library would go on with the token that it has cached, for up to an hour. Safe for threads.
    """

    def __init__(
        self, make: Callable[[], IngestionClient], seconds: Callable[[], float] = monotonic
    ) -> None:
        """Use what *make* returns, and what it returns anew after a refusal."""
        self._make = make
        self._seconds = seconds
        self._client = make()
        self._lock = Lock()
        self._replaced: float | None = None

    def upload(self, rule_id: str, stream_name: str, logs: IO[bytes]) -> None:
        """Send *logs*; once more with a new client where the token was refused."""
        client = self._client
        try:
            client.upload(rule_id, stream_name, logs)
        except HttpResponseError as error:
            if error.status_code not in REFUSED or not self._replace(client):
                raise
            logs.seek(0)
            self._client.upload(rule_id, stream_name, logs)

    def _replace(self, refused: IngestionClient) -> bool:
        """Return whether there is another client than *refused*, at most one a minute."""
        with self._lock:
            now = self._seconds()
            if self._client is not refused:
                return True
            if self._replaced is not None and now < self._replaced + REPLACE_SECONDS:
                return False
            self._replaced = now
            self._client = self._make()
            return True
