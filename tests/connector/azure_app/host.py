"""What the Functions host does around the worker: it keeps the queues and calls by turns."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO
from uuid import uuid4

from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient, QueueMessage, QueueServiceClient

from connector.azurite import Azurite

TESTS = Path(__file__).resolve().parents[2]
CONNECTOR = TESTS.parent / "connector"
MOST_DEQUEUES = 5
"""As in host.json."""

TIMER = {
    "Schedule": {"AdjustForDST": True},
    "ScheduleStatus": {
        "Last": "2026-01-01T00:00:00+00:00",
        "LastUpdated": "2026-01-01T00:00:00+00:00",
        "Next": "2026-01-01T00:01:00+00:00",
    },
    "IsPastDue": False,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call."""

    ok: bool
    error: str = ""
    status: int = 0
    body: str = ""


class WorkerEndedError(Exception):
    """The worker's process is gone."""


@dataclass(slots=True)
class Worker:
    """A worker's process with the app loaded. ``bindings`` are what it told the host.

    ``package`` is where it has ``audit_feed`` from.
    """

    process: subprocess.Popen[str]
    log: Path
    bindings: Mapping[str, list[dict[str, object]]] = field(default_factory=dict)
    package: Path = Path()
    _numbers: Iterator[int] = field(default_factory=count)

    def loaded(self, told: Mapping[str, object]) -> None:
        """Take in what the worker says of the app."""
        found = told["bindings"]
        assert isinstance(found, dict)
        self.bindings = {name: [json.loads(one) for one in raw] for name, raw in found.items()}
        self.package = Path(str(told["package"])).parent

    def begin(self, function: str, inputs: Mapping[str, object], **more: object) -> str:
        """Ask for a call and return its id; the answer is :meth:`ended`'s."""
        call = {"id": uuid4().hex, "function": function, "inputs": inputs, **more}
        try:
            self._stdin().write(json.dumps(call) + "\n")
            self._stdin().flush()
        except BrokenPipeError:
            raise WorkerEndedError(self.printed()) from None
        return str(call["id"])

    def ended(self) -> Answer:
        """Return the next answer there is."""
        told = self.line()
        return Answer(
            bool(told["ok"]),
            str(told.get("error", "")),
            int(str(told.get("status", 0))),
            str(told.get("body", "")),
        )

    def line(self) -> Mapping[str, object]:
        """Return the next line that the worker prints."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise WorkerEndedError(self.printed())
        found: Mapping[str, object] = json.loads(line)
        return found

    def call(self, function: str, inputs: Mapping[str, object], **more: object) -> Answer:
        self.begin(function, inputs, **more)
        return self.ended()

    def timer(self, function: str) -> Answer:
        return self.call(function, {"timer": {"json": json.dumps(TIMER)}})

    def http(
        self, function: str, method: str, body: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        asked = {"method": method, "path": function, "body": body, "headers": headers or {}}
        return self.call(function, {"request": {"http": asked}})

    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def events(self) -> list[dict[str, object]]:
        """Return the app's own log lines."""
        lines = [line.removeprefix("mailvigil ") for line in self.printed().splitlines()
                 if line.startswith("mailvigil {")]  # fmt: skip
        return [json.loads(line) for line in lines]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _stdin(self) -> IO[str]:
        assert self.process.stdin
        return self.process.stdin


@contextmanager
def worker(folder: Path, environ: Mapping[str, str], app: Path = CONNECTOR) -> Iterator[Worker]:
    """Run a worker with the app in *app* for the length of the ``with`` block."""
    log = folder / f"worker-{uuid4().hex[:8]}.log"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    with log.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-P", str(TESTS / "connector" / "azure_app" / "worker.py"), str(app)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True,
            env={**kept, **environ}, cwd=folder,
        )  # fmt: skip
        running = Worker(process, log)
        try:
            running.loaded(running.line())
            yield running
        finally:
            running.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    with suppress(BrokenPipeError):  # what a killed worker never read
                        pipe.close()


class Queues:
    """The account's queues, kept as the host keeps them."""

    def __init__(self, storage: Azurite, names: Sequence[str]) -> None:
        """Empty all queues; make those that are the host's own to make."""
        self._service = QueueServiceClient.from_connection_string(storage.connection_string)
        for name in names:
            with suppress(ResourceExistsError):
                self._service.create_queue(name)
        for queue in self._service.list_queues():
            self.of(queue.name).clear_messages()

    def close(self) -> None:
        self._service.close()

    def of(self, name: str) -> QueueClient:
        return self._service.get_queue_client(name)

    def put(self, name: str, text: str) -> None:
        self.of(name).send_message(base64.b64encode(text.encode()).decode())

    def texts(self, name: str) -> list[str]:
        found = self.of(name).peek_messages(max_messages=32)
        return [base64.b64decode(message.content).decode() for message in found]

    def take(self, name: str, seconds: int = 300) -> QueueMessage | None:
        """Return a message that nobody else sees for so long."""
        return self.of(name).receive_message(visibility_timeout=seconds)

    def hand_out(
        self, running: Worker, function: str, parameter: str, name: str, seconds: int = 300
    ) -> Answer | None:
        """Hand one message to a function; None where there is none."""
        message = self.take(name, seconds)
        return self.hand(running, function, parameter, name, message) if message else None

    def hand(
        self, running: Worker, function: str, parameter: str, name: str, message: QueueMessage
    ) -> Answer:
        """Hand *message* over; it goes when it was done, or becomes poison after so many times."""
        answer = running.call(function, **asked(parameter, message))
        if answer.ok:
            self.of(name).delete_message(message)
        elif (message.dequeue_count or 0) >= MOST_DEQUEUES:
            self.of(f"{name}-poison").send_message(message.content)
            self.of(name).delete_message(message)
        else:
            self.of(name).update_message(message, visibility_timeout=0)
        return answer


def asked(parameter: str, message: QueueMessage) -> dict[str, Mapping[str, object]]:
    """Return a call's inputs for *message*, as the host makes them."""
    times = {
        "InsertionTime": message.inserted_on,
        "ExpirationTime": message.expires_on,
        "NextVisibleTime": message.next_visible_on,
    }
    stamps = {n: {"json": json.dumps(t.isoformat() if t else "")} for n, t in times.items()}
    return {
        "inputs": {parameter: {"string": base64.b64decode(message.content).decode()}},
        "metadata": {
            "Id": {"string": message.id},
            "PopReceipt": {"string": str(message.pop_receipt)},
            "DequeueCount": {"json": str(message.dequeue_count)},
            **stamps,
        },
    }
