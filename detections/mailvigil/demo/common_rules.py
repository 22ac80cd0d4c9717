"""What two common rules would report on the same records, for comparison.

Both learn for a while and then report each caller they meet for the first time. They
differ from ours in what they call a caller, and in whom they always leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailvigil.times import parse_utc

LEARNING = timedelta(days=7)
"""How long after the first reading of mail a caller is taken for known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A caller that a rule reports: its id, when it was first seen (UTC), its records."""

    caller: str
    first_seen: datetime
    records: int


def keyed_on_client_app(
    records: Iterable[Mapping[str, object]], *, approved: Collection[str] = ()
) -> tuple[Reported, ...]:
    """Return what a rule reports that takes ClientAppId alone for the caller.

    A record without ClientAppId has the empty caller, one among others. *approved* are
    ids, in lower case, that the tenant accepts. Repeats of one Id count once.
    """
    return _first_seen(records, lambda record: _text(record, "ClientAppId"), approved)


def with_allow_list(
    records: Iterable[Mapping[str, object]],
    allowed: Collection[str],
    *,
    approved: Collection[str] = (),
) -> tuple[Reported, ...]:
    """Return what a rule reports that leaves out the ids of *allowed*, in lower case.

    The caller is ClientAppId, or AppId where that is empty, so that an OAuth app which
    comes through Graph is judged by its own id. Otherwise as ``keyed_on_client_app``.
    """

    def caller(record: Mapping[str, object]) -> str:
        return _text(record, "ClientAppId") or _text(record, "AppId")

    return _first_seen(records, caller, {*allowed, *approved})


def _first_seen(
    records: Iterable[Mapping[str, object]],
    caller_of: Callable[[Mapping[str, object]], str],
    ignored: Collection[str],
) -> tuple[Reported, ...]:
    seen: dict[str, tuple[str, int]] = {}
    ids: set[str] = set()
    for record in records:
        record_id = _text(record, "Id")
        if record.get("Operation") != "MailItemsAccessed" or record_id in ids:
            continue
        ids.add(record_id)
        caller, time = caller_of(record), str(record["CreationTime"])
        first, count = seen.get(caller, (time, 0))
        seen[caller] = (min(first, time), count + 1)
    return _after_learning(seen, ignored)


def _after_learning(
    seen: Mapping[str, tuple[str, int]], ignored: Collection[str]
) -> tuple[Reported, ...]:
    if not seen:
        return ()
    known_until = parse_utc(min(first for first, _ in seen.values())) + LEARNING
    late = [
        Reported(caller=caller, first_seen=parse_utc(first), records=count)
        for caller, (first, count) in seen.items()
        if caller not in ignored and parse_utc(first) >= known_until
    ]
    return tuple(sorted(late, key=lambda report: (report.first_seen, report.caller)))


def _text(record: Mapping[str, object], name: str) -> str:
    value = record.get(name)
    return value.lower() if isinstance(value, str) else ""
