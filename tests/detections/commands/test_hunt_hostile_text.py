"""Text of a log or a file's name runs neither in a terminal nor in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detections.commands.command import NEWCOMER, ONE_RULE, intruded, run
from detections.exports.written import Record, purview
from mailvigil.exit_codes import EXIT_INPUT, EXIT_OK
from mailvigil.printable import visible

CONTROL = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What may steer a terminal: all control characters but the line ends that we print."""
MAILBOX = "[red]adele[/red]\x1b[31m\x9b2J\u202e:smile:\nrow@contoso.example"
CALLER = f"{NEWCOMER}\x1b]0;title\x07"


def hostile(**fields: object) -> list[Record]:
    """Return the days of an intrusion, the intruder's records with *fields*."""
    return [{**r, **fields} if r["AppId"] == NEWCOMER else r for r in intruded()]


def write(name: str, records: Sequence[Record]) -> str:
    Path(name).write_bytes(purview(records))
    return name


@pytest.mark.parametrize("style", ["table", "json", "csv"])
@pytest.mark.usefixtures("folder")
def test_a_log_does_not_steer_the_terminal(style: str) -> None:
    name = write(
        "export\x1b[32m.csv", hostile(MailboxOwnerUPN=MAILBOX, AppId=CALLER, SessionId="a\r\tb")
    )

    ran = run("hunt", *ONE_RULE, name, "--format", style)

    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert not CONTROL.findall(ran.out)
    assert "[red]adele[/red]" in ran.out
    assert ":smile:" in ran.out


@pytest.mark.usefixtures("folder")
def test_a_line_end_does_not_forge_a_row_of_the_table() -> None:
    name = write("export.csv", hostile(UserId="adele\n1 finding.\nother"))

    ran = run("hunt", *ONE_RULE, name)

    assert ran.out.splitlines().count("1 finding.") == 1
    assert "adele\\n1 finding.\\nother" in ran.out


@pytest.mark.usefixtures("folder")
def test_json_keeps_a_text_of_the_log() -> None:
    name = write("export.csv", hostile(UserId=MAILBOX))

    [found] = json.loads(run("hunt", *ONE_RULE, name, "--format", "json").out)["findings"]

    assert found["users"] == [MAILBOX]


@pytest.mark.parametrize("style", ["table", "json", "csv"])
@pytest.mark.usefixtures("folder")
def test_an_unreadable_row_does_not_steer_the_terminal(style: str) -> None:
    broken: Record = {**intruded()[0], "CreationTime": "\x1b[2Jsoon\x9b"}
    name = write("export.csv", [intruded()[0], broken])

    ran = run("hunt", *ONE_RULE, name, "--format", style)
    strict = run("hunt", *ONE_RULE, name, "--format", style, "--strict")

    assert (ran.code, strict.code) == (EXIT_OK, EXIT_INPUT)
    assert not CONTROL.findall(ran.out + ran.err + strict.err)
    assert "CreationTime is not a time: \\x1b[2Jsoon" in ran.out + ran.err or style == "json"
    assert "CreationTime is not a time: \\x1b[2Jsoon\\x9b" in strict.err


@pytest.mark.usefixtures("folder")
def test_the_name_of_a_missing_file_does_not_steer_the_terminal() -> None:
    ran = run("hunt", *ONE_RULE, "no\x1b[31msuch\nfile")

    assert ran.err == "mailvigil: no\\x1b[31msuch\\nfile: no file matches this pattern\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only there may a name be any bytes")
@pytest.mark.usefixtures("folder")
def test_a_name_that_is_not_utf_8_is_printed_escaped() -> None:
    name = write(os.fsdecode(b"bad\xff.csv"), intruded())

    outs = [
        run("hunt", *ONE_RULE, name, "--format", style).out for style in ("table", "json", "csv")
    ]
    failed = run("hunt", *ONE_RULE, os.fsdecode(b"none\xff.csv"))

    assert all(out.encode("utf-8") for out in outs)
    assert failed.err.encode("utf-8").startswith(b"mailvigil: none\\udcff.csv: ")


FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1+1")  # noqa: RUF001


@pytest.mark.usefixtures("folder")
def test_a_spreadsheet_runs_no_cell() -> None:
    records = [
        {**record, "Id": f"{record['Id']}-{n}", "AppId": f"{NEWCOMER}-{n}"}
        for n, formula in enumerate(FORMULAS)
        for record in hostile(UserId=formula, SessionId=formula)
        if record["AppId"] == NEWCOMER
    ]
    name = write("export.csv", [*intruded(), *records])

    ran = run("hunt", *ONE_RULE, name, "--format", "csv")

    cells = {row["caller"]: row for row in csv.DictReader(io.StringIO(ran.out, newline=""))}
    for n, formula in enumerate(FORMULAS):
        row = cells[f"{NEWCOMER}-{n}"]
        shown = f"'{visible(formula)}"
        assert (row["users"], row["sessions"]) == (shown, shown)


@given(st.text())
def test_visible_text_is_printable_and_can_be_encoded(text: str) -> None:
    shown = visible(text)

    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert shown == text or not text.isprintable()
