"""Very many records quickly, for benchmarks: each is a filled-in copy of a real one.

A few records of every person are made the slow way, once, and turned into templates.
What differs from copy to copy is the time, the Id and the message ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TextIO

import orjson

from mailvigil.lab.tenant import background, mail_access, traffic
from mailvigil.lab.tenant.clients import OWA_AFTER, OWA_BEFORE, OWA_PROXY, Client
from mailvigil.lab.tenant.dice import Dice
from mailvigil.lab.tenant.intrusion import FORGED
from mailvigil.lab.tenant.mail_access import Access
from mailvigil.lab.tenant.people import SHARED, Mailbox, Tenant, tenant
from mailvigil.lab.tenant.plan import Scenario
from mailvigil.lab.tenant.scenario import PURVIEW_COLUMNS, purview_line

BENCH = Scenario(mailboxes=2_000)
"""The tenant of the benchmarks. It has an intruder and a new web id, but no throttling."""

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
    ``_gaps`` returns. ``messages`` is how many message ids there are to fill in.
    """

    pieces: list[str]
    messages: int


def bulk_json(count: int, scenario: Scenario = BENCH) -> Iterator[str]:
    """Yield *count* records as JSON text, in order of CreationTime, every Id once."""
    return _copies(count, scenario, as_csv=False)


def bulk_records(count: int, scenario: Scenario = BENCH) -> Iterator[dict[str, object]]:
    """Yield the records of ``bulk_json``, parsed."""
    return map(orjson.loads, bulk_json(count, scenario))


def write_bulk_csv(count: int, out: TextIO, scenario: Scenario = BENCH) -> int:
    """Write *count* records as the Purview portal exports them; return *count*.

    *out* must be open with ``newline=""``.
    """
    out.write(",".join(PURVIEW_COLUMNS) + "\r\n")
    lines = _copies(count, scenario, as_csv=True)
    while turn := "".join(islice(lines, COPIES_A_TURN)):
        out.write(turn)
    return count


def _copies(count: int, scenario: Scenario, *, as_csv: bool) -> Iterator[str]:
    """Yield the text of *count* copies: lines of CSV, or JSON objects."""
    people = tenant(scenario.seed, scenario.mailboxes)
    before, after, dark = _all_templates(scenario, people, as_csv=as_csv)
    draw = Dice(scenario.seed, "bulk").fraction
    number = 0
    for day, share in enumerate(_shares(count, scenario)):
        usual = after if day >= scenario.drift_day else before
        risk = INTRUDER_SHARE if scenario.intrusion and day >= scenario.intrusion_day else 0.0
        for time in _times(scenario, day, share):
            number += 1
            choices = dark if draw() < risk else usual
            template = choices[int(draw() * len(choices))]
            pieces = template.pieces.copy()
            pieces[1::2] = _gaps(number, time, template.messages, as_csv=as_csv)
            yield "".join(pieces)


def _gaps(number: int, time: str, messages: int, *, as_csv: bool) -> list[str]:
    """Return what copy *number* puts between the pieces of its template."""
    raw = (number * _ID_MIXER % (1 << 128)).to_bytes(16, "big").hex()
    record_id = f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"
    stem = f"{number * _MESSAGE_MIXER % (1 << 92):023X}"
    named = [stem + digit for digit in _DIGITS[messages]]
    return [record_id, time, time, record_id, *named] if as_csv else [time, record_id, *named]


_DIGITS = tuple("0123456789ABCDEF"[:count] for count in range(17))


def _shares(count: int, scenario: Scenario) -> list[int]:
    """Return how many of *count* records fall on each day: few on weekends."""
    weights = [
        1.0 if traffic.is_working_day(scenario, day) else traffic.WEEKEND
        for day in range(scenario.days)
    ]
    edges, total = [0], 0.0
    for weight in weights:
        total += weight
        edges.append(round(count * total / sum(weights)))
    return [end - start for start, end in pairwise(edges)]


def _times(scenario: Scenario, day: int, count: int) -> Iterator[str]:
    """Yield *count* times of *day*, evenly from 5 to 19 hours UTC."""
    date = f"{traffic.midnight(scenario, day):%Y-%m-%d}"
    step = 14 * 3_600 / max(count, 1)
    last, text = -1, ""
    for place in range(count):
        second = 5 * 3_600 + int(place * step)
        if second != last:
            last = second
            text = f"{date}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        yield text


def _all_templates(
    scenario: Scenario, people: Tenant, *, as_csv: bool
) -> tuple[list[Template], list[Template], list[Template]]:
    """Return the templates before the web id drifts, those after it, and the intruder's."""
    before: list[Template] = []
    after: list[Template] = []
    for mailbox in people.mailboxes[: -len(SHARED)]:
        for habit in traffic.habits(scenario.seed, mailbox):
            old = _access(scenario, people, mailbox, habit.client, as_csv=as_csv)
            new = old
            if habit.client is OWA_BEFORE:
                new = _access(scenario, people, mailbox, OWA_AFTER, as_csv=as_csv)
                old += _access(scenario, people, mailbox, OWA_PROXY, as_csv=as_csv)
            before += old
            after += new
        besides = _besides(scenario, people, mailbox, as_csv=as_csv)
        before += besides
        after += besides
    dark = [
        template
        for mailbox in people.executives
        for template in _access(scenario, people, mailbox, FORGED, as_csv=as_csv)
    ]
    return before, after, dark


def _access(
    scenario: Scenario, people: Tenant, mailbox: Mailbox, client: Client, *, as_csv: bool
) -> list[Template]:
    dice = Dice(scenario.seed, "template", mailbox.number, client.name)
    access = Access(
        at=scenario.start,
        mailbox=mailbox,
        reader=mailbox,
        client=client,
        address=traffic.address(mailbox, client, dice),
        items=1 + dice.below(3),
        newest_day=0,
        session=dice.guid() if client.session else "",
        token_tenant=people.organization_id if client.app_id and dice.chance(0.3) else "",
    )
    return [_template(mail_access.record(people, access, dice), as_csv=as_csv)]


def _besides(
    scenario: Scenario, people: Tenant, mailbox: Mailbox, *, as_csv: bool
) -> list[Template]:
    dice = Dice(scenario.seed, "template", mailbox.number)
    made = list(background.of_person(people, mailbox, [scenario.start] * 2, dice.guid(), dice))
    return [_template(made[-1][1], as_csv=as_csv)]


def _template(record: dict[str, object], *, as_csv: bool) -> Template:
    """Turn *record*, which is spoilt by it, into a template."""
    record["CreationTime"], record["Id"] = _TIME, _ID
    messages = _unname(record.get("Folders"))
    text = purview_line(record) if as_csv else orjson.dumps(record).decode()
    first, *others = _TOKEN.split(text)
    return Template([first, *(piece for other in others for piece in ("", other))], messages)


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
