"""The collector on a machine with a SQLite file: passes, kills, restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from audit_feed import app
from audit_feed.blobs import Stream
from audit_feed.delivery.collector import Collector
from audit_feed.delivery.health_report import Reporter
from audit_feed.delivery.pass_report import PassReport
from audit_feed.errors import AuditFeedError, LedgerError
from audit_feed.ledger.sqlite import SqliteLedger
from audit_feed.ledger.statement import HourStatement, statement
from audit_feed.ledger.states import BlobRow, BlobState, LedgerStore, retried
from audit_feed.purpose import check_purpose, purpose_of
from audit_feed.records.lean import Saving
from audit_feed.settings import Settings
from audit_feed.windows import Window
from connector.simulation.edges import SteppedLedger
from connector.simulation.history import Plan
from connector.simulation.virtual import VirtualEvent
from connector.simulation.world import Process, World

BODY_LIMIT = 20_000
EVER = timedelta(days=400)


@dataclass(slots=True)
class CollectorProgram:
    """One machine with the collector; ``ledger`` is its file as an operator would read it."""

    world: World
    plan: Plan
    settings: Settings
    path: Path
    process: Process = field(default_factory=lambda: Process("collector"))
    _open: SqliteLedger | None = None
    _collector: Collector | None = None
    _reporter: Reporter | None = None
    report: PassReport | None = None
    _reader: SqliteLedger | None = None

    def turn(self) -> bool:
        """Run one pass, as ``collect --poll`` does; return whether it got to its end."""
        tasks = self.world.tasks
        task = tasks.spawn(self.process, self._work)
        tasks.run([task])
        if task.error and not isinstance(task.error, LedgerError):
            raise task.error
        if task.error:
            self.world.steps.append((self.world.now, f"collector ends: {task.error}"))
        if task.error or task.killed:
            self._end()
        return not (task.error or task.killed)

    def restart(self) -> None:
        """End the program as an operator does, and start it with the next turn."""
        self._end()

    def _work(self) -> None:
        if self._collector is None:
            self._start()
        self._pass()

    def _start(self) -> None:
        self._open = SqliteLedger(self.path)
        store = cast("LedgerStore", SteppedLedger(self.world, self._open))
        check_purpose(store, purpose_of(self.settings, self.path.parent))
        stop: Any = VirtualEvent()
        sink = app.log_analytics(self.settings, stop)
        clock = app.service_clock()
        parts = app.CollectorParts(
            settings=self.settings,
            store=store,
            sink=sink,
            stop=stop,
            saving=Saving(),
            clock=clock,
        )
        made = app.collector(parts)
        tenants = [
            replace(t, pipeline=replace(t.pipeline, body_limit=BODY_LIMIT)) for t in made.tenants
        ]
        self._collector = replace(made, tenants=tuple(tenants))
        health = app.log_analytics(self.settings, stop, app.HEALTH_STREAM)
        self._reporter = Reporter(store, health, made.owner, self.plan.streams)

    def _pass(self) -> None:
        assert self._collector
        assert self._reporter
        self.report = self._collector.run_pass()
        try:
            self._reporter.state(self._collector.clock())
        except LedgerError:
            raise
        except AuditFeedError as error:
            self.world.steps.append((self.world.now, f"not stated: {error}"))

    def _end(self) -> None:
        """Close the file without a step: so it is closed when a process ends."""
        self.world.tasks.bury(self.process)
        if self._open:
            self._open.close()
        self._open = self._collector = self._reporter = None
        self.process = Process("collector", self.process.offset)

    def has_ledger(self) -> bool:
        """Return whether there is a ledger."""
        return self.path.exists()

    def read(self) -> SqliteLedger:
        """Open the file as ``mailvigil ledger`` does; it stays open."""
        self._reader = self._reader or SqliteLedger(self.path)
        return self._reader

    def close(self) -> None:
        """End the program, and the operator's look at its ledger."""
        self._end()
        if self._reader:
            self._reader.close()
            self._reader = None

    def next_due(self) -> datetime | None:
        """Return when the collector would work again on what it has listed."""
        return self._collector.next_due() if self._collector else None


def statements(
    store: LedgerStore, stream: Stream, window: Window, now: datetime
) -> Sequence[HourStatement]:
    """Return what the ledger states of every hour."""
    return statement(store, stream, window, now)


def rows(store: LedgerStore, stream: Stream, around: datetime) -> list[BlobRow]:
    """Return every blob on record."""
    return list(store.rows(stream, Window(around - EVER, around + EVER)))


def retry_rejected(store: LedgerStore, stream: Stream, now: datetime) -> None:
    """Ask for the rejected blobs again, as ``mailvigil ledger retry`` does."""
    for row in rows(store, stream, now):
        if row.state is BlobState.REJECTED:
            store.put(retried(row, now))
