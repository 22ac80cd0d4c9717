"""Very many records quickly, for benchmarks: each is a filled-in copy of a real one.

One record of every use is made the slow way, once, and turned into a template. What differs
from copy to copy is the time, the Id and the message ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TextIO

import orjson

from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.event import AuditRecord
from mailvigil.lab.tenant.people import tenant_of
from mailvigil.lab.tenant.portal_files import PURVIEW_COLUMNS, purview_line
from mailvigil.lab.tenant.profile import MILLION, Profile
from mailvigil.lab.tenant.records import attacks_of, events
from mailvigil.lab.tenant.uses import FOREVER, WEEKEND, ordinary_life

INTRUDER_SHARE = 0.000_2
"""The intruder's part of the records, from the intrusion's first day on."""

COPIES_A_TURN = 1_000
"""Rows written at once."""

_TIME, _ID, _MESSAGE = "~time~", "~id~", "~message~"
_ID_MIXER = 0x9E3779B97F4A7C15F39CC0605CEDC835
_MESSAGE_MIXER = 0x2545F4914F6CDD1D9E3779B
"""Both odd: multiplying by them modulo a power of two makes no two numbers one."""


@dataclass(frozen=True, slots=True)
class Template:
    """A record's text cut where copies differ.

    ``pieces`` has text at even places and ``""`` at odd ones, which take, in order, what
    ``_gaps`` returns. ``messages`` is how many message ids there are to fill in. Copies are
    made from ``first_day`` to ``last_day``.
    """

    pieces: list[str]
    messages: int
    first_day: int
    last_day: int


def bulk_json(count: int, profile: Profile = MILLION) -> Iterator[str]:
    """Yield *count* records as JSON text, in order of CreationTime, every Id once."""
    return _copies(count, profile, as_csv=False)


def bulk_records(count: int, profile: Profile = MILLION) -> Iterator[AuditRecord]:
    """Yield the records of ``bulk_json``, parsed."""
    return map(orjson.loads, bulk_json(count, profile))


def write_bulk_csv(count: int, out: TextIO, profile: Profile = MILLION) -> int:
    """Write *count* records as the Purview portal exports them; return *count*.

    *out* must be open with ``newline=""``.
    """
    out.write(",".join(PURVIEW_COLUMNS) + "\r\n")
    lines = _copies(count, profile, as_csv=True)
    while turn := "".join(islice(lines, COPIES_A_TURN)):
        out.write(turn)
    return count


def _copies(count: int, profile: Profile, *, as_csv: bool) -> Iterator[str]:
    """Yield the text of *count* copies: lines of CSV, or JSON objects."""
    ordinary = list(_ordinary(profile, as_csv=as_csv))
    attacks = _attacks(profile, as_csv=as_csv)
    draw = Dice(profile.seed, "bulk").fraction
    number = 0
    for day, share in enumerate(_shares(count, profile)):
        usual = [t for t in ordinary if t.first_day <= day <= t.last_day]
        attack = [t for t in attacks if t.first_day <= day]
        risk = INTRUDER_SHARE if attack else 0.0
        for time in _times(profile, day, share):
            number += 1
            choices = attack if draw() < risk else usual
            template = choices[int(draw() * len(choices))]
            pieces = template.pieces.copy()
            pieces[1::2] = _gaps(number, time, template.messages, as_csv=as_csv)
            yield "".join(pieces)


def _ordinary(profile: Profile, *, as_csv: bool) -> Iterator[Template]:
    """Yield the templates of ordinary life, one a use."""
    tenant = tenant_of(profile)
    for use in ordinary_life(profile):
        dice = Dice(*use.key)
        event = next(events(profile, use, use.first_day, dice))
        record = use.write(tenant, event, dice)
        yield _template(record, use.first_day, use.last_day, as_csv=as_csv)


def _attacks(profile: Profile, *, as_csv: bool) -> list[Template]:
    """Return the templates of the intruder's records, used from the first day on."""
    first = min(profile.intrusion_days, default=0)
    return [
        _template(record, first, FOREVER, as_csv=as_csv)
        for attack in attacks_of(profile)
        for record in attack.records
    ]


def _template(record: AuditRecord, first_day: int, last_day: int, *, as_csv: bool) -> Template:
    """Turn *record*, which is spoilt by it, into a template."""
    record["CreationTime"], record["Id"] = _TIME, _ID
    messages = _unname(record.get("Folders"))
    text = purview_line(record) if as_csv else orjson.dumps(record).decode()
    first, *others = _TOKEN.split(text)
    pieces = [first, *(piece for other in others for piece in ("", other))]
    return Template(pieces, messages, first_day, last_day)


_TOKEN = re.compile(f"{_TIME}|{_ID}|{_MESSAGE}")


def _unname(folders: object) -> int:
    """Put a token into every message id under *folders*; return how many there are."""
    count = 0
    for folder in folders if isinstance(folders, list) else ():
        for item in folder["FolderItems"]:
            server = item["InternetMessageId"].partition("@")[2]
            item["InternetMessageId"] = f"<{server.partition('.')[0]}{_MESSAGE}@{server}"
            count += 1
    return count


def _gaps(number: int, time: str, messages: int, *, as_csv: bool) -> list[str]:
    """Return what copy *number* puts between the pieces of its template."""
    raw = (number * _ID_MIXER % (1 << 128)).to_bytes(16, "big").hex()
    record_id = f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"
    stem = f"{number * _MESSAGE_MIXER % (1 << 92):023X}"
    named = [stem + digit for digit in _DIGITS[messages]]
    return [record_id, time, time, record_id, *named] if as_csv else [time, record_id, *named]


_DIGITS = tuple("0123456789ABCDEF"[:count] for count in range(17))


def _shares(count: int, profile: Profile) -> list[int]:
    """Return how many of *count* records fall on each day: few on weekends."""
    weights = [1.0 if profile.works(day) else WEEKEND for day in range(profile.days)]
    edges, total = [0], 0.0
    for weight in weights:
        total += weight
        edges.append(round(count * total / sum(weights)))
    return [end - start for start, end in pairwise(edges)]


def _times(profile: Profile, day: int, count: int) -> Iterator[str]:
    """Yield *count* times of *day*, evenly from 5 to 19 hours UTC."""
    date = f"{profile.midnight(day):%Y-%m-%d}"
    step = 14 * 3_600 / max(count, 1)
    last, text = -1, ""
    for place in range(count):
        second = 5 * 3_600 + int(place * step)
        if second != last:
            last = second
            text = f"{date}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        yield text
