"""The command line, run in this process, and small audit logs to run it on."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from detections.exports.written import Record, record
from mailvigil.cli import main

FIRST = datetime(2026, 1, 5, 9)  # noqa: DTZ001 - records say UTC without a zone
KNOWN = "00000002-0000-0ff1-ce00-000000000000"
ONE_RULE = ("--rules", "caller_new_to_tenant")
"""Of a hunt: where what is tested is not the pack, which takes ten times as long as one rule."""
SOME_RULES = ("--rules", "caller_new_to_tenant,caller_new_to_mailbox,mailbox_throttled")
"""Of a hunt: where a page shall have several findings, and not those of a certain rule."""

NEWCOMER = "c0ffee00-0000-4000-8000-000000000001"


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Mapping[str, object]:
        """Return the whole of standard output as one JSON object."""
        whole = json.loads(self.out)
        assert isinstance(whole, dict)
        return whole

    @property
    def findings(self) -> list[dict[str, object]]:
        """Return the findings of a hunt that printed JSON."""
        found = self.json["findings"]
        assert isinstance(found, list)
        return found

    @property
    def summary(self) -> dict[str, object]:
        """Return the summary of a hunt that printed JSON."""
        found = self.json["summary"]
        assert isinstance(found, dict)
        return found


def run(*argv: object, stdin: bytes = b"") -> Ran:
    """Run ``mailvigil`` with *argv*, neither stream a terminal."""
    out, err = io.StringIO(), io.StringIO()
    code = main([str(word) for word in argv], io.BytesIO(stdin), out, err)
    return Ran(code, out.getvalue(), err.getvalue())


def version_in(path: Path) -> str:
    """Return the version that a rule, hunting query or function says it has."""
    [found] = re.findall(r"^ *[vV]ersion: '?([\d.]+)'?$", path.read_text("utf-8"), re.MULTILINE)
    return str(found)


def hunt(*argv: object, stdin: bytes = b"") -> Ran:
    """Run a hunt with the whole pack that prints JSON."""
    return run("hunt", *argv, "--format", "json", stdin=stdin)


def hunt_by_one_rule(*argv: object, stdin: bytes = b"") -> Ran:
    """Run a hunt with ``ONE_RULE`` that prints JSON."""
    return hunt(*ONE_RULE, *argv, stdin=stdin)


def leave_only(content: Path, *names: str) -> None:
    """Take the other KQL rules and all hunting queries out of *content*: what reads it is quick."""
    for folder in ("analytics", "hunting"):
        for path in (content / "kql" / folder).iterdir():
            if path.name.partition(".")[0] not in names:
                path.unlink()


def leave_only_rules(content: Path, *names: str) -> None:
    """Take all rules but those of these *names* and all hunting queries out of *content*."""
    leave_only(content, *names)
    for path in (content / "sigma" / "rules").rglob("*.yml"):
        if path.stem not in names:
            path.unlink()


def read_at(days: float, number: int, **fields: object) -> Record:
    """Return a record of mail read *days* after the first."""
    moment = FIRST + timedelta(days=days)
    usual = {"MailboxOwnerUPN": "adele@contoso.example", "SessionId": f"session-{number}"}
    return record(number, CreationTime=f"{moment:%Y-%m-%dT%H:%M:%S}", **{**usual, **fields})


def quiet_days(days: int = 12) -> list[Record]:
    """Return one read a day by a known caller, and nothing that any rule reports."""
    return [read_at(day, day, AppId=KNOWN) for day in range(days)]


def intruded() -> list[Record]:
    """Return quiet days on which, from the tenth on, a newcomer reads two mailboxes."""
    dark = {"AppId": NEWCOMER, "ClientIPAddress": "203.0.113.9"}
    return [
        *quiet_days(),
        read_at(10.2, 101, **dark),
        read_at(10.3, 102, **dark, MailboxOwnerUPN="marten@contoso.example"),
        read_at(11.3, 103, **dark),
    ]


def rules_of(findings: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the rule of each finding, in order."""
    return [str(found["rule"]) for found in findings]
