"""The Function app on a storage account: timers, queues, poison and the host that serves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Any

from azure.core.exceptions import AzureError

from audit_feed.azure_app import context as app_module
from audit_feed.azure_app.context import AppContext, app_context
from audit_feed.azure_app.invocation_log import InvocationLog
from audit_feed.azure_app.queues import BACKLOG, BACKLOG_POISON, BLOBS, HINTS, POISON
from audit_feed.azure_app.triggers import deliver, discover, health, sweep
from audit_feed.errors import AuditFeedError
from audit_feed.ledger.table import TableLedger
from audit_feed.settings import Settings
from connector.simulation.collector_program import BODY_LIMIT
from connector.simulation.edges import StorageEdge
from connector.simulation.history import Plan
from connector.simulation.installed import function_settings, replaced
from connector.simulation.queue_service import (
    Queue,
    QueueAccount,
    QueueService,
    TakenMessage,
)
from connector.simulation.scheduler import Task
from connector.simulation.table_service import Entity, TableAccount, TableService
from connector.simulation.world import Process, World, demand

MOST_DEQUEUES = 5
HIDDEN = timedelta(minutes=10)
"""For so long a message is hidden while a worker has it; the host renews that as long as it lives.
"""

FAILED_HIDDEN = timedelta(minutes=1)
"""After an error, as ``visibilityTimeout`` of host.json says."""

Trigger = Callable[[AppContext, str, InvocationLog], None]

QUEUES: Mapping[str, Trigger] = {
    BLOBS: lambda c, text, log: deliver.deliver(c, text, BLOBS, log),
    BACKLOG: lambda c, text, log: deliver.deliver(c, text, BACKLOG, log),
    POISON: lambda c, text, log: deliver.poison(c, text, BLOBS, log),
    BACKLOG_POISON: lambda c, text, log: deliver.poison(c, text, BACKLOG, log),
    HINTS: discover.hint,
}
"""Which function each queue's messages go to, as in ``function_app.py``."""

TIMERS: Mapping[str, Callable[[AppContext, InvocationLog], None]] = {
    "discover": discover.discover,
    "sweep": sweep.sweep,
}


class _HintLog(InvocationLog):
    """The log of a hint, whose fault the host does not see."""

    dropped = False

    def warning(self, event: str, **values: object) -> None:
        _HintLog.dropped = _HintLog.dropped or event == "hint dropped"
        super().warning(event, **values)


LOG = _HintLog("run", "function")


def check_version(table: str, before: Entity | None, after: Entity) -> None:
    """Demand that a blob's row is written over the version that was read."""
    if table == "mailvigilblobs" and before:
        was, now = int(str(before["version"])), int(str(after["version"]))
        demand(now == was + 1, f"version {now} of {after['RowKey']} is written over {was}")


@dataclass(slots=True)
class Instance:
    """One worker process of the app."""

    process: Process
    context: AppContext | None = None

    def keep(self, made: AppContext) -> AppContext:
        """Keep and return the first that was made: the app makes one, however many ask."""
        self.context = self.context or made
        return self.context


@dataclass(slots=True)
class Call:
    """A call of a function, and the message that it is for."""

    name: str
    instance: Instance
    task: Task
    queue: str = ""
    message: TakenMessage | None = None


@dataclass(slots=True)
class FunctionProgram:
    """The app, scaled out to two workers, and its storage account."""

    world: World
    plan: Plan
    settings: Settings
    tables: TableAccount = field(default_factory=TableAccount)
    queues: QueueAccount = field(init=False)
    instances: list[Instance] = field(init=False)

    def __post_init__(self) -> None:
        self.tables.watch = check_version
        self.queues = QueueAccount(lambda: self.world.now, self.world.dice)
        self.queues.queues = {POISON: [], BACKLOG_POISON: []}
        self.instances = [Instance(Process("worker 1")), Instance(Process("worker 2"))]

    def check_rows(self) -> None:
        """Demand that every hour on record says whether it may still change.

        One that does not is not seen any more once it is seven days old.
        """
        hours = self.tables.tables.get("mailvigilhours")
        for rows in hours.partitions.values() if hours else ():
            for key, row in rows.items():
                demand("listed_at" not in row or "closed" in row, f"hour {key} is lost from sight")

    def timer(self, name: str) -> bool:
        """Let a timer fire; return whether the function got to its end."""
        call = self.call(name)
        self.world.tasks.run([call.task])
        return self.ended(call)

    def call(self, name: str) -> Call:
        """Begin what a timer does."""
        return self._begin(name, lambda context: TIMERS[name](context, LOG))

    def hand_out(self, most: int) -> int:
        """Hand out messages that can be seen, of all queues, and wait; return how many."""
        calls = self.calls_for(most)
        self.world.tasks.run([call.task for call in calls])
        for call in calls:
            self.ended(call)
        return len(calls)

    def calls_for(self, most: int) -> list[Call]:
        """Begin what messages ask for, up to *most* of each queue."""
        calls = []
        for name in QUEUES:
            if name in self.queues.queues:
                calls += [self._hand(name, m) for m in self._queue(name).take(most, HIDDEN)]
        return calls

    def together(self, calls: Sequence[Call]) -> None:
        """Run calls at once."""
        self.world.tasks.run([call.task for call in calls])
        for call in calls:
            self.ended(call)

    def hint(self) -> None:
        """Put a hint into the queue, as the webhook does."""
        stream = self.world.dice.choice(self.plan.streams)
        if HINTS in self.queues.queues:
            text = f'{{"tenant":"{stream.tenant}","content_type":"{stream.content_type}"}}'
            self._queue(HINTS).send_message(text)

    def restart(self) -> None:
        """Let a worker end between two invocations, as the platform does."""
        self._replace(self.world.dice.choice(self.instances))

    def restart_all(self) -> None:
        """Let every worker end, as a change of settings does."""
        for instance in self.instances:
            self._replace(instance)

    def is_healthy(self) -> bool:
        """Return whether ``/health`` answers with 200 at any worker that runs."""
        tasks = []
        for instance in self.instances:
            if instance.context:
                ask = partial(health.health, instance.context)
                tasks.append(self.world.tasks.spawn(instance.process, ask))
        self.world.tasks.run(tasks)
        return any(task.result and task.result[0] == HTTPStatus.OK for task in tasks)

    def _replace(self, instance: Instance) -> None:
        self.world.tasks.bury(instance.process)
        instance.process = Process(instance.process.name, instance.process.offset)
        instance.context = None

    def has_ledger(self) -> bool:
        """Return whether anything is in the ledger."""
        hours = self.tables.tables.get("mailvigilhours")
        return bool(hours and hours.partitions)

    def read(self) -> TableLedger:
        """Open the ledger as ``mailvigil ledger`` does."""
        return TableLedger(self.service(), make=False)  # type: ignore[arg-type]  # seen from the connector

    def service(self) -> TableService:
        """Return the account's tables without a line between."""
        return TableService(self.tables)

    def _hand(self, name: str, message: TakenMessage) -> Call:
        """Begin what a message asks for."""
        trigger = QUEUES[name]
        call = self._begin(name, lambda context: trigger(context, message.text, LOG))
        call.queue, call.message = name, message
        return call

    def _begin(self, name: str, work: Callable[[AppContext], None]) -> Call:
        """Begin a call of a function on one of the workers."""
        world = self.world
        instance = world.dice.choice(self.instances)

        def invoke() -> None:
            work(instance.context or instance.keep(self._context()))

        world.steps.append((world.now, f"{instance.process.name} <- {name}"))
        return Call(name, instance, world.tasks.spawn(instance.process, invoke))

    def ended(self, call: Call) -> bool:
        """Do what the host does after a call; return whether it got to its end."""
        world, task = self.world, call.task
        if task.error and not isinstance(task.error, AuditFeedError):
            raise task.error
        if task.error:
            world.steps.append((world.now, f"{call.name} fails: {task.error}"))
        if task.killed or task.error or _HintLog.dropped:
            self.on_death()
        _HintLog.dropped = False
        if task.killed:
            if task.process is call.instance.process:
                self._replace(call.instance)
        elif call.message:
            self._acknowledge(call, call.message)
        return not (task.killed or task.error)

    def _acknowledge(self, call: Call, message: TakenMessage) -> None:
        """Do what the host does with a message: delete it, show it again, or call it poison."""
        queue, world = self._queue(call.queue), self.world
        try:
            if call.task.error and message.dequeued >= MOST_DEQUEUES:
                self._queue(f"{call.queue}-poison").send_message(message.text)
                queue.delete(message)
                world.counts["poison"] += 1
            elif call.task.error:
                queue.update(message, FAILED_HIDDEN)
            elif not world.happens(world.weather.after / 8, "a message is handed out twice"):
                queue.delete(message)
        except AzureError as error:  # the host goes on, whatever the queue says
            world.steps.append((world.now, f"host: {error}"))

    on_death: Callable[[], None] = field(default=lambda: None)

    def _context(self) -> AppContext:
        """Make what the triggers work with, as a worker does after its start."""
        edge = StorageEdge(self.world)
        clients = TableService(self.tables, edge), QueueService(self.queues, edge)
        loaded = function_settings(self.settings, start=self.plan.starts)
        settings: Any = type("Loaded", (), {"load": staticmethod(lambda _environ: loaded)})
        edges: list[tuple[object, str, Any]] = [
            (app_module, "_clients", lambda _storage: clients),
            (app_module, "FunctionSettings", settings),
        ]
        with replaced(edges):
            made = app_context.make()
        tenants = {
            name: replace(t, pipeline=replace(t.pipeline, body_limit=BODY_LIMIT))
            for name, t in made.tenants.items()
        }
        return replace(made, tenants=tenants)

    def _queue(self, name: str) -> Queue:
        return QueueService(self.queues).get_queue_client(name)
