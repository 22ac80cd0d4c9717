"""Count how often each resource was requested, and how often it was answered whole. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

Kind = Literal["blob", "page", "upload", "token", "identity", "subscription", "graph", "other"]


@dataclass(frozen=True, slots=True)
class CountedResource:
    """What a request is for. ``name`` is unique within its kind."""

    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class ResourceTally:
    """The resources of one kind by how often they were requested, and answered whole.

    ``once`` and ``more`` count resources, ``requests`` and ``answered`` count requests.
    """

    known: int
    never: int
    once: int
    more: int
    requests: int
    answered: int
    not_answered: int


@dataclass(slots=True)
class Counts:
    """Counts of one lab. A resource is known when it was promised or asked for."""

    _lock: Lock = field(default_factory=Lock)
    _asked: dict[CountedResource, int] = field(default_factory=dict)
    _answered: Counter[CountedResource] = field(default_factory=Counter)
    statuses: Counter[tuple[Kind, int]] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    publishers: Counter[str] = field(default_factory=Counter)
    ingested: Counter[str] = field(default_factory=Counter)

    def promise(self, resource: CountedResource) -> None:
        """Record that the lab announced *resource* to a client."""
        with self._lock:
            self._asked.setdefault(resource, 0)

    def ask(self, resource: CountedResource) -> int:
        """Count a request; return which one it is for this resource, from 1."""
        with self._lock:
            number = self._asked.get(resource, 0) + 1
            self._asked[resource] = number
            return number

    def answer(self, resource: CountedResource, status: int, *, whole: bool, fault: str) -> None:
        """Count the outcome of a request; *fault* is the one applied to it, or ``""``."""
        with self._lock:
            self.statuses[resource.kind, status if whole else 0] += 1
            if whole and status < 300:  # noqa: PLR2004 - below are the successes
                self._answered[resource] += 1
            if fault:
                self.faults[fault] += 1

    def add(self, counter: Literal["publishers", "ingested"], name: str, count: int = 1) -> None:
        """Add to one of the plain counters."""
        with self._lock:
            (self.publishers if counter == "publishers" else self.ingested)[name] += count

    def asked(self, kind: Kind) -> dict[str, int]:
        """Return for each resource of *kind*, by name, how often it was asked for."""
        with self._lock:
            return {r.name: n for r, n in self._asked.items() if r.kind == kind}

    def answered(self, kind: Kind) -> dict[str, int]:
        """Return for each resource of *kind* how often it was answered whole."""
        with self._lock:
            return {r.name: self._answered[r] for r in self._asked if r.kind == kind}

    def tally(self, kind: Kind) -> ResourceTally:
        """Sum up the resources of *kind*."""
        asked, answered = self.asked(kind), self.answered(kind)
        return ResourceTally(
            known=len(asked),
            never=sum(n == 0 for n in asked.values()),
            once=sum(n == 1 for n in asked.values()),
            more=sum(n > 1 for n in asked.values()),
            requests=sum(asked.values()),
            answered=sum(answered.values()),
            not_answered=sum(n == 0 for n in answered.values()),
        )

    def plain(self) -> Mapping[str, Mapping[str, int]]:
        """Return the plain counters as JSON can hold them."""
        with self._lock:
            return {
                "statuses": {f"{k} {s}": n for (k, s), n in sorted(self.statuses.items())},
                "faults": dict(self.faults),
                "publishers": dict(self.publishers),
                "ingested": dict(self.ingested),
            }
