"""Time, dice, faults and the ends of processes: what every part of the simulation shares."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from random import Random

from connector.simulation.outcomes import Broken, Killed, demand
from connector.simulation.scheduler import Process, Scheduler

__all__ = ["CALM", "START", "Broken", "Killed", "Process", "Weather", "World", "demand"]

START = datetime(2026, 3, 2, 10, 41, 7, 600_000, tzinfo=UTC)
_TICKS = tuple(timedelta(milliseconds=n) for n in (1, 7, 90, 400))
MOST_STEPS = 60_000
"""Steps of one history: more mean that something goes round in a circle."""

_CHANCES = (0, 0, 0, 0.05, 0.15, 0.4)
_JUMPS = (-2 * 86_400, -4_000, -700, -3, 3, 700, 4_000, 2 * 86_400)
"""Seconds by which the clock of a machine is set on or back."""

SWITCHES = 0.15
"""The chance that another task goes on after a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How bad it is: the chance of each fault at each step where it can happen.

    ``kill`` ends the process; ``before`` and ``after`` fail a call before or after its effect, at
    the stores; ``feed`` and ``sink`` are faults of the services; ``refused`` is of tokens. ``date``
    is a wrong ``Date`` of the feed, ``cached`` an answer out of a cache on the way.
    """

    kill: float = 0
    before: float = 0
    after: float = 0
    repeated: float = 0
    throttle: float = 0
    fault: float = 0
    broken_off: float = 0
    odd_page: float = 0
    late_page: float = 0
    gone: float = 0
    refused: float = 0
    slow: float = 0
    lost_ack: float = 0
    sink_fault: float = 0
    sink_throttle: float = 0
    sink_refused: float = 0
    dropped: float = 0
    jump: float = 0
    date: float = 0
    cached: float = 0

    @classmethod
    def drawn(cls, dice: Random) -> Weather:
        """Return a weather in which each fault is absent, rare or frequent."""
        return cls(**{each.name: dice.choice(_CHANCES) for each in fields(cls)})


CALM = Weather()


@dataclass(slots=True)
class World:
    """All that outlives a process, and the dice. ``now`` is the true time."""

    seed: int
    dice: Random
    weather: Weather
    now: datetime = START
    service_offset: timedelta = timedelta()
    counts: Counter[str] = field(default_factory=Counter)
    steps: list[tuple[datetime, str]] = field(default_factory=list)
    quiet: bool = False
    tasks: Scheduler = field(init=False)
    nobody: Process = field(default_factory=lambda: Process("nobody"))

    def __post_init__(self) -> None:
        self.tasks = Scheduler(self.dice, lambda: self.now, self._advance_to)

    @property
    def process(self) -> Process:
        """The process whose code runs now."""
        task = self.tasks.current
        return task.process if task else self.nobody

    def local(self) -> datetime:
        """Return the time by the clock of the machine on which the process runs."""
        return self.now + self.process.offset

    def service(self) -> datetime:
        """Return the time by the clock of the feed."""
        return self.now + self.service_offset

    def monotonic(self) -> float:
        """Return seconds of a clock that nobody sets."""
        return (self.now - START).total_seconds()

    def sleep(self, length: timedelta) -> None:
        """Let a task wait."""
        demand(length >= timedelta(), "a sleep of negative length")
        if self.tasks.current:
            self.tasks.block(self.now + length)
        else:
            self.now += length

    def happens(self, chance: float, what: str = "") -> bool:
        """Roll the dice; *what* happened is counted."""
        if chance <= 0 or self.quiet or self.dice.random() >= chance:
            return False
        if what:
            self.counts[f"fault: {what}"] += 1
            self.steps.append((self.now, f"! {what}"))
        return True

    def step(self, what: str) -> None:
        """Let time pass. The process may die here, or another task go on."""
        process = self.process
        if not process.alive:
            raise Killed  # nothing is done any more by a process that is dead
        self.steps.append((self.now, f"{process.name}: {what}"))
        demand(len(self.steps) < MOST_STEPS, "too many steps: something goes round in a circle")
        self.now += _TICKS[int(self.dice.random() * len(_TICKS))]
        if self.weather.jump and self.happens(self.weather.jump / 100, "the local clock jumps"):
            process.offset += timedelta(seconds=self.dice.choice(_JUMPS))
        self.may_die()
        if self.tasks.ready and self.dice.random() < SWITCHES:
            self.tasks.pause()

    def may_die(self) -> None:
        """End the process here, if the dice say so."""
        if self.weather.kill and self.happens(self.weather.kill / 12):
            self.counts["kills"] += 1
            self.steps.append((self.now, f"{self.process.name}: killed"))
            self.process.alive = False
            raise Killed

    def _advance_to(self, time: datetime) -> None:
        self.now = max(self.now, time)
