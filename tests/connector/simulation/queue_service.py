"""Azure Queue Storage in memory, by the rules of its documentation, and what a consumer does.

Written from "Put Message", "Get Messages", "Update Message", "Delete Message" and "Get Queue
Metadata". The clock is the service's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)

from connector.simulation.table_service import DirectEdge, Edge, RefusedError

MOST_MESSAGE_BYTES = 64 * 2**10
MOST_TAKEN = 32
LONGEST_INVISIBLE = timedelta(days=7)
TIME_TO_LIVE = timedelta(days=7)
"""Of a message, unless the sender says another."""


@dataclass(slots=True)
class Message:
    """A message in a queue. ``receipt`` changes each time that it is taken or updated."""

    id: str
    text: str
    expires: datetime
    visible: datetime
    dequeued: int = 0
    receipt: int = 0


@dataclass(frozen=True, slots=True)
class TakenMessage:
    """A message as a consumer has it."""

    id: str
    text: str
    receipt: int
    dequeued: int


@dataclass(slots=True)
class QueueAccount:
    """The queues of a storage account: what outlives every client."""

    clock: Callable[[], datetime]
    dice: Random
    queues: dict[str, list[Message]] = field(default_factory=dict)
    number: int = 0


class QueueService:
    """A ``QueueServiceClient`` of *account*, seen from the connector."""

    def __init__(self, account: QueueAccount, edge: Edge | None = None) -> None:
        self._account = account
        self._edge = edge or DirectEdge()

    def get_queue_client(self, queue: str, **_policies: object) -> Queue:
        """Return the client of a queue, which need not exist."""
        return Queue(self._account, queue, self._edge)

    def close(self) -> None:
        """Do nothing: there is no connection."""


@dataclass(frozen=True, slots=True)
class QueueProperties:
    """What is known of a queue."""

    approximate_message_count: int


class Queue:
    """A ``QueueClient``, and a consumer's side of it without faults between."""

    def __init__(self, account: QueueAccount, name: str, edge: Edge) -> None:
        self._account = account
        self._name = name
        self._edge = edge

    def create_queue(self) -> None:
        """Make the queue, or raise ``ResourceExistsError``."""

        def create() -> None:
            if self._name in self._account.queues:
                raise ResourceExistsError(message="QueueAlreadyExists")
            self._account.queues[self._name] = []

        self._edge.call(f"queue {self._name}: create", create)

    def send_message(
        self, content: str, *, visibility_timeout: int = 0, time_to_live: int | None = None
    ) -> None:
        """Add a message that is seen after *visibility_timeout* seconds."""
        if len(content.encode()) * 4 / 3 > MOST_MESSAGE_BYTES:
            raise RefusedError("RequestBodyTooLarge", 413)
        invisible = timedelta(seconds=visibility_timeout)
        lives = timedelta(seconds=time_to_live) if time_to_live else TIME_TO_LIVE
        if not timedelta() <= invisible <= LONGEST_INVISIBLE or invisible >= lives:
            raise RefusedError("OutOfRangeQueryParameterValue")
        self._edge.call(f"queue {self._name}: send", lambda: self._add(content, invisible, lives))

    def get_queue_properties(self) -> QueueProperties:
        """Return about how many messages there are, those that nobody sees now among them."""
        what = f"queue {self._name}: look"
        return self._edge.call(what, lambda: QueueProperties(len(self._alive())))

    def take(self, most: int, invisible: timedelta) -> list[TakenMessage]:
        """Return messages that are visible, in no certain order, and hide them for a while."""
        now = self._account.clock()
        seen = [message for message in self._alive() if message.visible <= now]
        taken = self._account.dice.sample(seen, min(most, MOST_TAKEN, len(seen)))
        for message in taken:
            message.dequeued += 1
            message.receipt += 1
            message.visible = now + invisible
        return [TakenMessage(m.id, m.text, m.receipt, m.dequeued) for m in taken]

    def delete(self, taken: TakenMessage) -> None:
        """Delete a message; raise where it was taken again meanwhile, or is gone."""
        self._messages().remove(self._found(taken))

    def update(self, taken: TakenMessage, invisible: timedelta) -> TakenMessage:
        """Show a message again after *invisible*."""
        message = self._found(taken)
        message.receipt += 1
        message.visible = self._account.clock() + invisible
        return TakenMessage(message.id, message.text, message.receipt, message.dequeued)

    def next_visible(self) -> datetime | None:
        """Return when the next message can be taken, None where there is none."""
        return min((message.visible for message in self._alive()), default=None)

    def _found(self, taken: TakenMessage) -> Message:
        for message in self._alive():
            if message.id == taken.id:
                if message.receipt != taken.receipt:
                    raise RefusedError("PopReceiptMismatch")
                return message
        raise _not_found("MessageNotFound")

    def _add(self, text: str, invisible: timedelta, lives: timedelta) -> None:
        account, now = self._account, self._account.clock()
        account.number += 1
        message = Message(f"m{account.number}", text, now + lives, now + invisible)
        self._messages().append(message)

    def _messages(self) -> list[Message]:
        messages = self._account.queues.get(self._name)
        if messages is None:
            raise _not_found("QueueNotFound")
        return messages

    def _alive(self) -> Sequence[Message]:
        messages, now = self._messages(), self._account.clock()
        messages[:] = [message for message in messages if message.expires > now]
        return messages


def _not_found(code: str) -> HttpResponseError:
    error = ResourceNotFoundError(message=code)
    error.status_code = 404
    return error
