"""OrderQueue on an Azure Storage Queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.queue import QueueClient, QueueServiceClient, TextBase64EncodePolicy

from audit_feed.azure_app.orders import AT_ONCE, Order
from audit_feed.errors import RetryError

BLOBS = "mailvigil-blobs"
POISON = f"{BLOBS}-poison"
"""Where the Functions host puts an order that failed ``maxDequeueCount`` times (host.json)."""

BACKLOG = "mailvigil-backlog"
BACKLOG_POISON = f"{BACKLOG}-poison"
"""The same for orders of a tenant that has very many."""

HINTS = "mailvigil-hints"
HINTS_POISON = f"{HINTS}-poison"


class StorageQueue:
    """A queue that is made when it is not there. Safe for threads."""

    def __init__(self, service: QueueServiceClient, name: str) -> None:
        """Open the queue *name*; raises ``RetryError``."""
        self._client: QueueClient = service.get_queue_client(
            name, message_encode_policy=TextBase64EncodePolicy()
        )
        with _translated_errors("open"), suppress(ResourceExistsError):
            self._client.create_queue()

    def send(self, order: Order, after: timedelta = AT_ONCE) -> None:
        """Send *order*, to be seen after that time; see ``OrderQueue.send``."""
        self.send_text(order.text(), after)

    def send_text(self, text: str, after: timedelta = AT_ONCE) -> None:
        """Send a message, to be seen after that time; raises ``RetryError``."""
        with _translated_errors("send"):
            self._client.send_message(text, visibility_timeout=int(after.total_seconds()))

    def approximate_count(self) -> int:
        """Return about how many messages there are; see ``OrderQueue.approximate_count``."""
        with _translated_errors("look"):
            return self._client.get_queue_properties().approximate_message_count or 0


@contextmanager
def _translated_errors(what: str) -> Iterator[None]:
    try:
        yield
    except AzureError as error:
        raise RetryError("queue", f"{what}: {type(error).__name__}") from None
