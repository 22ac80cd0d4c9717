"""Tasks that run in turn, in an order that the dice decide, on the simulation's clock.

A task is what would be a thread, or a call of the Function app: it runs until it waits for
something, or until a step in which the dice let another one go on. Nothing else interrupts it, so
the same dice give the same history.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any

import greenlet

from connector.simulation.outcomes import Broken, Killed

_BURIALS = 100
"""So often a task of a dead process may try to go on in its cleanup."""


@dataclass(slots=True)
class Process:
    """A process of a program. ``offset`` is how far its machine's clock is off."""

    name: str
    offset: timedelta = timedelta()
    alive: bool = True


@dataclass(slots=True, eq=False)
class Task:
    """Work of a process. ``error`` is what it raised; ``killed`` says that its process died."""

    process: Process
    work: Callable[[], object]
    result: Any = None
    error: Exception | None = None
    killed: bool = False
    done: bool = False
    on_done: list[Callable[[], None]] = field(default_factory=list)
    blocked: bool = False
    woken: bool = False
    turn: int = 0
    greenlet: Any = None


@dataclass(slots=True)
class Scheduler:
    """Runs tasks. ``advance`` lets the time go on to when the next one wakes."""

    dice: Random
    now: Callable[[], datetime]
    advance: Callable[[datetime], None]
    current: Task | None = None
    ready: list[Task] = field(default_factory=list)
    asleep: list[tuple[datetime, int, Task, int]] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    broken: Broken | None = None
    _hub: Any = field(default_factory=greenlet.getcurrent)
    _numbers: Any = field(default_factory=count)

    def spawn(self, process: Process, work: Callable[[], object]) -> Task:
        """Begin a task, which runs when its turn comes."""
        task = Task(process, work)
        task.greenlet = greenlet.greenlet(lambda: self._body(task), parent=self._hub)
        self.tasks.append(task)
        self.ready.append(task)
        return task

    def run(self, wanted: Sequence[Task]) -> None:
        """Run all tasks until *wanted* are done.

        Raises:
            Broken: Something that must hold does not, or nothing can go on.

        """
        while not all(task.done for task in wanted):
            self._wake_sleepers()
            if not self.ready:
                self._pass_time()
                continue
            place = self.dice.randrange(len(self.ready)) if len(self.ready) > 1 else 0
            self._switch(self.ready.pop(place))
            if self.broken:
                broken, self.broken = self.broken, None
                raise broken

    def pause(self) -> None:
        """Let another task go on, if one can."""
        task = self.current
        if task and self.ready:
            self.ready.append(task)
            self._leave(task)

    def block(self, until: datetime | None = None) -> bool:
        """Wait to be woken, or until a time; return whether it was woken."""
        task = self.current
        if task is None:
            raise Broken("waits outside of a task")
        if not task.process.alive:
            raise Killed
        task.blocked, task.woken = True, False
        task.turn += 1
        if until is not None:
            heapq.heappush(self.asleep, (until, next(self._numbers), task, task.turn))
        self._leave(task)
        return task.woken

    def wake(self, task: Task) -> None:
        """Let a task go on that waits."""
        if task.blocked and not task.done:
            task.blocked, task.woken = False, True
            self.ready.append(task)

    def bury(self, process: Process) -> None:
        """End every task of a process that is dead, in the middle of whatever it does."""
        process.alive = False
        for task in [task for task in self.tasks if task.process is process and not task.done]:
            if not task.greenlet:
                self._finish(task)
            for _ in range(_BURIALS):
                if task.done:
                    break
                before, self.current = self.current, task
                task.greenlet.throw(Killed())
                self.current = before
            task.killed = True
        self.ready = [task for task in self.ready if not task.done]

    def end(self) -> None:
        """End all tasks that are left."""
        for task in list(self.tasks):
            if not task.done:
                self.bury(task.process)

    def _leave(self, task: Task) -> None:
        """Give the turn back; return when it comes again."""
        self._hub.switch()
        self.current = task
        if not task.process.alive:
            raise Killed

    def _switch(self, task: Task) -> None:
        if task.done:
            return
        self.current = task
        task.greenlet.switch()
        self.current = None
        if task.killed:
            self.bury(task.process)

    def _body(self, task: Task) -> None:
        try:
            if task.process.alive:
                task.result = task.work()
            else:
                task.killed = True
        except Killed:
            task.killed = True
        except Broken as broken:
            self.broken = self.broken or broken
        except Exception as error:  # noqa: BLE001 - it is the caller's
            task.error = error
        finally:
            self._finish(task)

    def _finish(self, task: Task) -> None:
        task.done = True
        if task in self.tasks:
            self.tasks.remove(task)
        for call in task.on_done:
            call()

    def _wake_sleepers(self) -> None:
        now = self.now()
        while self.asleep and self.asleep[0][0] <= now:
            _, _, task, turn = heapq.heappop(self.asleep)
            if task.blocked and task.turn == turn and not task.done:
                task.blocked = False
                self.ready.append(task)

    def _pass_time(self) -> None:
        while self.asleep:
            until, _, task, turn = self.asleep[0]
            if task.blocked and task.turn == turn and not task.done:
                self.advance(until)
                return
            heapq.heappop(self.asleep)
        raise Broken("nothing can go on: every task waits for another one")
