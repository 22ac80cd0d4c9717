"""``mailvigil tenant mailboxes`` over exports: what is printed, planned and refused."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest

from detections.commands.command import run
from detections.tenant.exchange import ACTION, TYPES, USUAL, Mailbox, export, written
from mailvigil.commands import mailboxes as command
from mailvigil.exit_codes import EXIT_FAILED, EXIT_INPUT, EXIT_OK
from mailvigil.tenant.mailbox_export import MAX_LINE_BYTES
from mailvigil.verbosity import Verbosity

NEVER = "AuditEnabled is not set, though it shows True: without Audit (Premium) nothing reaches"
UNSET = "AuditEnabled is not set: without Audit (Premium) nothing reaches"


def box(number: int, name: str, **changes: object) -> Mailbox:
    return Mailbox(name=f"{name}@contoso.example", id=f"{number:08}-0000-0000-0000-0000", **changes)  # type: ignore[arg-type]  # the fields that a test names


def nine() -> list[Mailbox]:
    """Return a mailbox of each kind that is known to behave in a way of its own."""
    cut = box(8, "cut", managed={"Delegate", "Admin"})
    cut.lists["Owner"] = [*USUAL]
    unlicensed = box(7, "unlicensed", licensed=False)
    unlicensed.lists = {kind: [*USUAL] for kind in TYPES}
    return [
        box(1, "premium"),
        box(2, "standard", stored=None),
        box(3, "shared", type="SharedMailbox", stored=None),
        box(4, "room", type="RoomMailbox", stored=None),
        box(5, "projector", type="EquipmentMailbox", stored=None),
        box(6, "scanner", bypassed=True),
        unlicensed,
        cut,
        box(9, "own", managed=set()),
    ]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "mailboxes.jsonl"
    made.write_bytes(export(nine()))
    return made


def rows(printed: str) -> dict[str, str]:
    """Return the verdict of each mailbox that a line is about."""
    lines = [line.split() for line in printed.splitlines() if "@" in line and "WRONG" not in line]
    return {
        next(word for word in words if "@" in word).split("@")[0]: " ".join(words[:2])
        for words in lines
    }


def test_each_kind_of_mailbox_is_named_with_its_reason(file: Path) -> None:
    ran = run("tenant", "mailboxes", file)

    assert ran.code == EXIT_FAILED
    assert rows(ran.out) == {
        "standard": "to mend",
        "shared": "to mend",
        "room": "to mend",
        "projector": "to mend",
        "scanner": "left UserMailbox",
        "unlicensed": "left UserMailbox",
        "cut": "to mend",
    }
    said = dict(line.split("@contoso.example", 1) for line in ran.out.splitlines() if "@" in line)
    said = {name.split()[-1]: reason.strip() for name, reason in said.items()}
    assert said["standard"].startswith(NEVER)
    assert said["shared"].startswith(NEVER)
    assert said["room"].startswith(UNSET)
    assert said["projector"].startswith(UNSET)
    assert said["cut"] == f"{ACTION} is not in AuditOwner, which Microsoft does not manage"
    assert said["unlicensed"] == (
        "Microsoft manages AuditOwner, AuditDelegate, AuditAdmin and has not put "
        f"{ACTION} there: licence or roll-out, left as it is"
    )
    assert said["scanner"].startswith("its account bypasses auditing, left as it is")
    assert ran.out.splitlines()[-1] == (
        "9 mailboxes looked at, 5 to mend, 2 left as they are, 0 not judged, "
        "2 set as they should be"
    )


def test_the_plan_changes_what_is_to_mend_and_nothing_else(file: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.jsonl"

    ran = run("tenant", "mailboxes", file, "--plan", plan)

    head, *changes, end = [json.loads(line) for line in plan.read_text().splitlines()]
    assert head == {"Line": "plan", "Version": 1, "Organisation": "contoso.onmicrosoft.com"}
    assert end == {"Line": "end", "Mailboxes": 5}
    assert [(c["Name"].split("@")[0], c["Add"], c["SetAuditEnabled"]) for c in changes] == [
        ("standard", [], True),
        ("shared", [], True),
        ("room", [], True),
        ("projector", [], True),
        ("cut", ["AuditOwner"], False),
    ]
    assert changes[-1] == {
        "Line": "mailbox",
        "Id": "00000008-0000-0000-0000-0000",
        "Name": "cut@contoso.example",
        "Before": {
            "AuditEnabled": True,
            "AuditEnabledSet": True,
            "AuditOwner": ["HardDelete", "SoftDelete", "Update"],
            "AuditDelegate": ["HardDelete", ACTION, "SoftDelete", "Update"],
            "AuditAdmin": ["HardDelete", ACTION, "SoftDelete", "Update"],
            "DefaultAuditSet": ["Admin", "Delegate"],
        },
        "Add": ["AuditOwner"],
        "SetAuditEnabled": False,
    }
    assert ran.out.splitlines()[-1].startswith(f"plan for 5 mailboxes in {plan}")
    assert plan.stat().st_mode & 0o077 == 0


def test_the_state_goes_into_the_plan_in_the_order_that_the_script_compares(
    file: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.jsonl"
    run("tenant", "mailboxes", file, "--plan", plan)

    befores = [json.loads(line)["Before"] for line in plan.read_text().splitlines()[1:-1]]

    states = [json.dumps(mailbox.state()) for mailbox in nine()]
    assert [json.dumps(before) for before in befores] == [*states[1:5], states[7]]


def test_a_tenant_whose_mailboxes_are_all_set_ends_with_0(tmp_path: Path) -> None:
    file = tmp_path / "export"
    file.write_bytes(b"\xef\xbb\xbf" + export([box(1, "a"), box(2, "b", managed=set())]))

    ran = run("tenant", "mailboxes", file, "--plan", tmp_path / "plan")

    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert ran.out.splitlines() == [
        "organisation contoso.onmicrosoft.com",
        (
            "2 mailboxes looked at, 0 to mend, 0 left as they are, 0 not judged, "
            "2 set as they should be"
        ),
        "no plan was written: it would change nothing",
    ]
    assert [*tmp_path.iterdir()] == [file]


@pytest.mark.parametrize("kind", [{"bypassed": True}, {"licensed": False}])
def test_what_is_left_as_it_is_does_not_end_with_0(kind: dict[str, bool], tmp_path: Path) -> None:
    mailbox = box(1, "a", **kind)
    mailbox.lists = {name: mailbox.default() for name in TYPES}
    file = tmp_path / "export"
    file.write_bytes(export([mailbox]))

    assert run("tenant", "mailboxes", file).code == EXIT_FAILED


def test_a_bypassed_account_without_a_mailbox_is_named_and_does_not_end_with_0(
    tmp_path: Path,
) -> None:
    head, mailbox, end = export([box(1, "a")]).splitlines(keepends=True)
    bypass = written([{"Line": "bypass", "Id": "9", "Name": "svc-backup"}])
    file = tmp_path / "export"
    file.write_bytes(head + bypass + mailbox + end)

    ran = run("tenant", "mailboxes", file)

    assert ran.code == EXIT_FAILED
    assert "svc-backup bypasses auditing: what it does is in no log" in ran.out


@pytest.mark.parametrize(
    ("content", "first"),
    [
        (partial(export, audit_disabled=True), "mailbox auditing is off for the whole"),
        (partial(export, unified_log=False), "the unified audit log is off: nothing reaches"),
    ],
)
def test_an_organisation_that_logs_nothing_is_named_first_and_none_is_called_set(
    content: Callable[[Sequence[Mailbox]], bytes], first: str, tmp_path: Path
) -> None:
    file = tmp_path / "export"
    file.write_bytes(content([box(1, "a"), box(2, "b", stored=None)]))

    ran = run("tenant", "mailboxes", file)

    assert ran.code == EXIT_FAILED
    assert ran.out.splitlines()[1].startswith(f"WRONG       {first}")
    assert "0 set as they should be\n1 more are set as they should be, and log nothing" in ran.out


def test_no_plan_is_made_while_the_organisation_ignores_settings(tmp_path: Path) -> None:
    file, plan = tmp_path / "export", tmp_path / "plan"
    file.write_bytes(export([box(2, "b", stored=None)], audit_disabled=True))

    run("tenant", "mailboxes", file, "--plan", plan)

    assert [*tmp_path.iterdir()] == [file]


@pytest.mark.parametrize(
    "name", ["AuditEnabled", "AuditEnabledSet", "AuditOwner", "AuditAdmin", "DefaultAuditSet"]
)
@pytest.mark.parametrize("value", [None, "gone", "True", [1]])
def test_a_mailbox_of_which_a_property_is_missing_is_not_judged(
    name: str, value: object, tmp_path: Path
) -> None:
    head, line, end = export([box(1, "a")]).splitlines()
    row = json.loads(line)
    row["State"][name] = value
    if value == "gone":
        del row["State"][name]
    file = tmp_path / "export"
    file.write_bytes(b"\n".join([head, json.dumps(row).encode(), end]))

    ran = run("tenant", "mailboxes", file)

    assert ran.code == EXIT_FAILED
    assert rows(ran.out) == {"a": "not judged"}
    assert "the export lacks AuditE" in ran.out or f"the export lacks {name}" in ran.out
    assert "1 not judged, 0 set as they should be" in ran.out


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"Id": ""}, "lacks ExternalDirectoryObjectId"),
        ({"Bypass": None}, "lacks the audit bypass"),
        ({"Type": ""}, "lacks RecipientTypeDetails"),
        ({"Type": "GroupMailbox"}, "mailboxes of its type are not known here"),
        ({"State": None}, "lacks AuditEnabled, AuditEnabled by the server's filter, AuditOwner, "),
    ],
)
def test_a_mailbox_that_is_not_known_well_enough_is_not_judged(
    change: dict[str, object], why: str, tmp_path: Path
) -> None:
    head, line, end = export([box(1, "a", stored=None)]).splitlines()
    file = tmp_path / "export"
    changed = json.dumps(json.loads(line) | change).encode()
    file.write_bytes(b"\n".join([head, changed, end]))

    ran = run("tenant", "mailboxes", file, "--plan", tmp_path / "plan")

    assert rows(ran.out) == {"a": "not judged"}
    assert why in ran.out
    assert [*tmp_path.iterdir()] == [file]


def test_two_answers_that_contradict_each_other_are_not_judged(tmp_path: Path) -> None:
    head, line, end = export([box(1, "a")]).splitlines()
    row = json.loads(line)
    row["State"]["AuditEnabled"] = False
    file = tmp_path / "export"
    file.write_bytes(b"\n".join([head, json.dumps(row).encode(), end]))

    assert rows(run("tenant", "mailboxes", file).out) == {"a": "not judged"}


def broken() -> Iterator[tuple[str, bytes, str]]:
    whole = export(nine())
    head, *between, end = whole.splitlines(keepends=True)
    versioned = json.loads(head)
    yield "empty", b"", "is not an export of mailboxes"
    yield "a table", b"Name,AuditEnabled\nada,True\n", "line 1 is not one of an export"
    yield "no beginning", b"".join([*between, end]), "is not an export of mailboxes"
    yield (
        "another version",
        written([versioned | {"Version": 2}]),
        "is an export of another version",
    )
    yield "no version", written([versioned | {"Version": True}]), "is an export of another version"
    yield "no name", written([versioned | {"Organisation": ""}]), "does not say of which"
    yield "no switch", written([versioned | {"AuditDisabled": None}]), "does not say of which"
    yield "cut off", head + b"".join(between), "is cut off after 9 mailboxes"
    yield "cut in a line", whole[:-20], "line 12 is not one of an export"
    yield "one missing", head + b"".join(between[:-1]) + end, "has 8 mailboxes, and says it has oth"
    yield "no mailbox", export([]), "holds no mailbox"
    yield "two exports", whole + whole, "goes on after its end, at line 13"
    other = json.loads(end) | {"Organisation": "fabrikam.onmicrosoft.com"}
    yield "two tenants", head + b"".join(between) + written([other]), "ends with another"
    yield "not UTF-8", head + b'{"Line": "\xff"}\n', "line 2 is not one of an export"
    yield "another line", head + written([{"Line": "odd"}]) + end, "line 2 is not one of an export"
    yield "no object", head + b"[]\n" + end, "line 2 is not one of an export"
    yield "a long line", head + b" " * (MAX_LINE_BYTES + 1), "has a line of over 1,048,576 bytes"


@pytest.mark.parametrize(("content", "why"), [pytest.param(c, w, id=n) for n, c, w in broken()])
def test_a_damaged_export_is_refused_and_leaves_no_plan(
    content: bytes, why: str, tmp_path: Path
) -> None:
    file = tmp_path / "export"
    file.write_bytes(content)

    ran = run("tenant", "mailboxes", file, "--plan", tmp_path / "plan")

    assert ran.code == EXIT_INPUT
    assert why in ran.err
    assert "looked at" not in ran.out
    assert [*tmp_path.iterdir()] == [file]


def test_an_earlier_plan_is_not_written_over(file: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    plan.write_text("earlier")

    ran = run("tenant", "mailboxes", file, "--plan", plan)

    assert (ran.code, plan.read_text()) == (EXIT_INPUT, "earlier")
    assert "exists already (name another file)" in ran.err


@pytest.mark.parametrize("option", ["export", "plan"])
def test_a_file_that_cannot_be_used_is_named(option: str, file: Path, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "x"
    words = [missing] if option == "export" else [file, "--plan", missing]

    ran = run("tenant", "mailboxes", *words)

    assert ran.code == EXIT_INPUT
    assert ran.err.startswith(f"mailvigil: {missing}: No such file or directory")


def test_what_stands_in_names_does_not_steer_the_terminal(tmp_path: Path) -> None:
    hostile = box(
        1, "\x1b[2J\u202eeve\n0 to mend", stored=None, type="SharedMailbox", bypassed=True
    )
    file = tmp_path / "export"
    file.write_bytes(export([hostile], name="con\x07toso"))

    ran = run("tenant", "mailboxes", file)

    assert all(line.isprintable() for line in ran.out.splitlines())
    assert r"\x1b[2J\u202eeve\n0 to mend@contoso.example" in ran.out
    assert len(ran.out.splitlines()) == 4


class RowCounter(io.StringIO):
    """Counts lines about mailboxes to mend, and keeps the last line alone."""

    rows = 0
    last = ""

    def write(self, text: str) -> int:
        self.rows += text.startswith("to mend")
        self.last = text if text.strip() else self.last
        return len(text)


def test_a_mailbox_is_printed_before_the_next_one_is_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailboxes = 500
    head, line, _ = export([box(1, "a", stored=None)]).splitlines()
    end = written([{"Line": "end", "Organisation": "contoso.onmicrosoft.com",
        "Mailboxes": mailboxes}])  # fmt: skip
    late = []

    def stream(_file: BinaryIO, _where: str, _on_bytes: object) -> Iterator[bytes]:
        yield head
        for number in range(mailboxes):
            yield line
            late.append(number + 1 - out.rows)
        yield end

    out = RowCounter()
    monkeypatch.setattr(command, "lines_of", stream)
    args = argparse.Namespace(export=file, plan=None, verbosity=Verbosity.USUAL)
    code = command.run(args, io.BytesIO(), out, io.StringIO())

    assert code == EXIT_FAILED
    assert {*late} == {0}
    assert out.last.startswith("500 mailboxes looked at, 500 to mend")
