"""Time, dice, faults and the ends of processes: what every part of the simulation shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from random import Random

START = datetime(2026, 3, 2, 10, 41, 7, 600_000, tzinfo=UTC)
_TICKS = tuple(timedelta(milliseconds=n) for n in (1, 7, 90, 400))
MOST_STEPS = 60_000
"""Steps of one history: more mean that something goes round in a circle."""

_CHANCES = (0, 0, 0, 0.02, 0.1, 0.25)
_DEPTH = 3
"""Steps of one process within a step of another, within a step of another."""


class Killed(BaseException):
    """The process dies here. Nothing but the simulation may catch it."""


class Broken(BaseException):
    """Something that must always hold does not."""


def demand(condition: object, what: str) -> None:
    """Raise ``Broken`` with *what* unless *condition* holds."""
    if not condition:
        raise Broken(what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How bad it is: the chance of each fault at each step where it can happen.

    ``kill`` ends the process; ``before`` and ``after`` fail a call before or after its effect, at
    the stores; ``feed`` and ``sink`` are faults of the services; ``refused`` is of tokens.
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

    @classmethod
    def drawn(cls, dice: Random) -> Weather:
        """Return a weather in which each fault is absent, rare or frequent."""
        return cls(**{each.name: dice.choice(_CHANCES) for each in fields(cls)})


CALM = Weather()


@dataclass(slots=True)
class Process:
    """A process of a program. ``offset`` is how far its machine's clock is off."""

    name: str
    offset: timedelta = timedelta()
    alive: bool = True
    locks: int = 0
    timers: list[tuple[datetime, Callable[[], None]]] = field(default_factory=list)


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
    running: list[Process] = field(default_factory=list)
    asides: list[Callable[[], None]] = field(default_factory=list)
    quiet: bool = False
    before_first: Process = field(default_factory=lambda: Process("nobody"))

    @property
    def process(self) -> Process:
        """The process whose code runs now."""
        return self.running[-1] if self.running else self.before_first

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
        """Let time go by for a process that waits."""
        demand(length >= timedelta(), "a sleep of negative length")
        self._alive()
        self._advance(length)

    def happens(self, chance: float, what: str = "") -> bool:
        """Roll the dice; *what* happened is counted."""
        if chance <= 0 or self.quiet or self.dice.random() >= chance:
            return False
        if what:
            self.counts[f"fault: {what}"] += 1
            self.steps.append((self.now, f"! {what}"))
        return True

    def step(self, what: str) -> None:
        """Let time pass. The process may die here, or another one go on."""
        self._alive()
        self.steps.append((self.now, f"{self.process.name}: {what}"))
        demand(len(self.steps) < MOST_STEPS, "too many steps: something goes round in a circle")
        self._advance(_TICKS[int(self.dice.random() * len(_TICKS))])
        self.may_die()
        free = self.asides and len(self.running) <= _DEPTH and not self.process.locks
        if free and self.dice.random() < 0.08:
            self.dice.choice(self.asides)()

    def may_die(self) -> None:
        """End the process here, if the dice say so."""
        if self.happens(self.weather.kill / 8):
            self.counts["kills"] += 1
            self.steps.append((self.now, f"{self.process.name}: killed"))
            self.process.alive = False
            raise Killed

    @contextmanager
    def run(self, process: Process) -> Iterator[None]:
        """Let the code of *process* run for the length of the ``with`` block."""
        self.running.append(process)
        try:
            yield
        finally:
            self.running.pop()

    def _alive(self) -> None:
        """Let nothing be done any more by a process that is dead, such as in its cleanup."""
        if not self.process.alive:
            raise Killed

    def _advance(self, length: timedelta) -> None:
        self.now += length
        if self.happens(self.weather.jump / 200, "the local clock jumps"):
            self.process.offset += timedelta(
                seconds=self.dice.choice((-86_400 * 2, -4_000, -700, -3, 3, 700, 4_000, 86_400 * 2))
            )
        timers = self.process.timers
        for timer in [timer for timer in timers if timer[0] <= self.now]:
            timers.remove(timer)
            timer[1]()
