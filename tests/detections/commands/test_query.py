"""``mailvigil query`` answers from what is there, changes none of it, and says what it cannot."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from detections.commands.command import (
    KNOWN,
    NEWCOMER,
    Ran,
    intruded,
    read_at,
    run,
)
from detections.exports.written import Record, lines, purview
from mailvigil.commands import query as query_commands
from mailvigil.compiler.parser import Validator
from mailvigil.exit_codes import EXIT_INPUT, EXIT_NOT_RUN, EXIT_OK
from mailvigil.rules.content import content_root, load_functions

BY_CALLER = "MailItemsAccessed() | summarize Records = count() by Caller | sort by Records desc"
CONTROL = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def parser() -> Iterator[Validator]:
    """Return Microsoft's parser with the functions of the pack."""
    with Validator(load_functions(content_root())) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _one_parser(parser: Validator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all queries have the same parser: to start one takes longer than any query here."""
    monkeypatch.setattr(query_commands, "Validator", lambda _functions: nullcontext(parser))


def rows(kql: str, *argv: object, stdin: bytes = b"") -> list[dict[str, object]]:
    """Return what a query that must succeed in silence prints as JSON."""
    ran = run("query", kql, *argv, "--format", "json", stdin=stdin)
    assert (ran.code, ran.err) == (EXIT_OK, "")
    found = json.loads(ran.out)
    assert isinstance(found, list)
    return found


def cells(ran: Ran) -> list[list[str]]:
    return list(csv.reader(io.StringIO(ran.out, newline="")))


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def write(records: Sequence[Record]) -> str:
    Path("export.csv").write_bytes(purview(records))
    return "export.csv"


def test_an_export_and_its_workspace_answer_the_same(export: Path, saved: Path) -> None:
    expected = [{"Caller": KNOWN, "Records": 12}, {"Caller": NEWCOMER, "Records": 3}]

    assert rows(BY_CALLER, export) == expected
    assert rows(BY_CALLER, "--workspace", saved) == expected


def test_standard_input_is_read() -> None:
    assert rows("M365Activity_CL | count", "-", stdin=lines(intruded())) == [{"Count": 15}]


@pytest.mark.parametrize("kql", [BY_CALLER, "M365Activity_CL | take 1", "ApprovedMailCallers()"])
def test_a_query_does_not_change_the_workspace(kql: str, folder: Path, saved: Path) -> None:
    before = digests(folder)

    ran = run("query", kql, "--workspace", saved)

    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert digests(folder) == before


def test_what_was_written_last_is_seen_and_left_where_it_is(folder: Path, saved: Path) -> None:
    con = duckdb.connect(str(saved))
    con.execute("PRAGMA disable_checkpoint_on_shutdown")
    con.execute("INSERT INTO M365Activity_CL (RecordId) VALUES ('late')")
    con.close()
    before = digests(folder)
    assert "saved.db.wal" in before

    found = rows("M365Activity_CL | where RecordId == 'late' | count", "--workspace", saved)

    assert found == [{"Count": 1}]
    assert digests(folder) == before


@pytest.mark.parametrize(
    "kql",
    [".drop table M365Activity_CL", ".set-or-append M365Activity_CL <| M365Activity_CL | take 1"],
)
def test_a_command_that_writes_is_refused(kql: str, folder: Path, saved: Path) -> None:
    before = digests(folder)

    ran = run("query", kql, "--workspace", saved)

    assert (ran.code, ran.out) == (EXIT_NOT_RUN, "")
    assert digests(folder) == before


@pytest.mark.parametrize("name", ["it's saved.db", "visible.db", 'a"b.db', "memory"])
@pytest.mark.usefixtures("folder")
def test_a_workspace_may_have_any_name(name: str, saved: Path) -> None:
    saved.rename(name)

    assert rows("M365Activity_CL | count", "--workspace", name) == [{"Count": 15}]


@pytest.mark.parametrize("content", [b"", b"AuditData\r\n{}\r\n"])
def test_a_file_that_is_not_a_workspace_is_refused_unchanged(content: bytes, folder: Path) -> None:
    (folder / "other.db").write_bytes(content)

    ran = run("query", "print 1", "--workspace", "other.db")

    assert (ran.code, ran.out) == (EXIT_INPUT, "")
    assert ran.err.startswith("mailvigil: other.db: cannot be opened as a workspace: ")
    assert (folder / "other.db").read_bytes() == content


@pytest.mark.parametrize("version", ["CREATE TABLE x (a INT)", "CREATE TABLE _format AS SELECT 99"])
@pytest.mark.usefixtures("folder")
def test_a_database_of_another_kind_is_refused(version: str) -> None:
    with duckdb.connect("other.db") as con:
        con.execute(version)

    ran = run("query", "M365Activity_CL | count", "--workspace", "other.db")

    assert (ran.code, ran.out) == (EXIT_INPUT, "")
    assert ran.err == (
        "mailvigil: other.db: no workspace of this version (load the exports again)\n"
    )


@pytest.mark.usefixtures("folder")
def test_a_table_that_the_file_lacks_is_an_empty_table(saved: Path) -> None:
    with duckdb.connect(str(saved)) as con:
        con.execute("DROP TABLE OfficeActivity")

    assert rows("OfficeActivity | count", "--workspace", saved) == [{"Count": 0}]
    assert rows("MailItemsAccessed() | count", "--workspace", saved) == [{"Count": 15}]


def test_as_of_sets_the_clock_and_does_not_look_ahead(export: Path, saved: Path) -> None:
    kql = "MailItemsAccessed() | summarize Records = count(), Now = max(now())"
    for source in ([export], ["--workspace", saved]):
        assert rows(kql, *source, "--as-of", "2026-01-08T12:00+02:00") == [
            {"Records": 4, "Now": "2026-01-08T10:00:00Z"}
        ]


@pytest.mark.usefixtures("folder")
def test_a_record_from_tomorrow_is_counted() -> None:
    ahead = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT%H:%M:%S}"
    name = write([{**read_at(0, 1), "CreationTime": ahead}, read_at(0, 2)])

    assert rows("MailItemsAccessed() | count", name) == [{"Count": 2}]


def test_an_error_of_the_parser_is_shown_with_its_place(export: Path) -> None:
    ran = run("query", "MailItemsAccessed()\n| where Nope == 1", export)

    assert (ran.code, ran.out) == (EXIT_INPUT, "")
    assert ran.err == (
        "mailvigil: query:2:9: The name 'Nope' does not refer to any known column, table, "
        "variable or function. (at 'Nope') [KS142]\n"
    )


def test_every_error_of_the_parser_is_shown(export: Path) -> None:
    ran = run("query", "OfficeActivity | where A == 1 | where B == 2", export)

    places = [line.split(": ")[1] for line in ran.err.splitlines()]
    assert ran.code == EXIT_INPUT
    assert places == ["query:1:24", "query:1:39"]


@pytest.mark.parametrize(
    ("kql", "why"),
    [
        ("OfficeActivity | evaluate autocluster()", "unsupported KQL construct 'EvaluateOperator'"),
        ("print 1; print 2", "unsupported KQL construct 'multi-statement'"),
        (f"print {'(' * 90}1{')' * 90}", "the query nests too deeply"),
        ("declare query_parameters(a:long = 1); print a", "declare query_parameters"),
        ("// nothing", "could not parse KQL"),
        ("print 9223372036854775807 + 1", "Out of Range Error: Overflow"),
    ],
)
def test_what_the_local_engine_cannot_run_is_reported_as_not_run(
    kql: str, why: str, export: Path
) -> None:
    ran = run("query", kql, export)

    assert (ran.code, ran.out) == (EXIT_NOT_RUN, "")
    assert ran.err.startswith(f"mailvigil: the local engine cannot run it: {why}")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("kql", "code"),
    [("print 1", EXIT_OK), ("nonsense |", EXIT_INPUT), ("search 'x'", EXIT_NOT_RUN)],
)
def test_the_process_ends_after_the_parser_has_run(kql: str, code: int, export: Path) -> None:
    argv = [sys.executable, "-P", "-m", "mailvigil", "query", kql, str(export)]

    ended = subprocess.run(argv, capture_output=True, check=False, timeout=300)

    assert ended.returncode == code


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["print 1"], "nothing to query"),
        ([" \n", "export.csv"], "the query is empty"),
        (["print 1", "export.csv", "--workspace", "saved.db"], "exports and a workspace at once"),
    ],
)
def test_a_question_without_a_source_or_with_two_is_refused(
    argv: list[str], why: str, saved: Path
) -> None:
    before = saved.read_bytes()

    ran = run("query", *argv)

    assert (ran.code, ran.out) == (EXIT_INPUT, "")
    assert ran.err.startswith(f"mailvigil: query: {why} (")
    assert saved.read_bytes() == before


@pytest.mark.usefixtures("folder")
def test_a_missing_workspace_is_refused_and_not_made() -> None:
    ran = run("query", "print 1", "--workspace", "absent.db")

    assert ran.code == EXIT_INPUT
    assert ran.err.startswith("mailvigil: absent.db: no such workspace (")
    assert not Path("absent.db").exists()


@pytest.mark.parametrize(("option", "value"), [("--limit", "0"), ("--as-of", "yesterday")])
def test_an_option_without_sense_is_refused(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("query", "print 1", option, value)

    assert ended.value.code == 2
    assert f"argument {option}: '{value}' is not a" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_an_unreadable_row_is_reported() -> None:
    broken: Record = {**read_at(0, 1), "CreationTime": "\x1b[2Jsoon"}
    name = write([read_at(0, 2), broken])

    ran = run("query", "M365Activity_CL | count", name, "--format", "csv")

    assert (ran.code, ran.out) == (EXIT_OK, "Count\r\n1\r\n")
    first, second = ran.err.splitlines()
    assert first == "mailvigil: 1 row could not be read:"
    assert second == "  export.csv:3: CreationTime is not a time: \\x1b[2Jsoon"


@pytest.mark.parametrize("style", ["table", "json", "csv"])
def test_rows_are_cut_in_their_order_with_a_message(style: str, export: Path) -> None:
    kql = "range x from 1 to 5000 step 1 | sort by x desc"

    ran = run("query", kql, export, "--limit", "3", "--format", style)

    assert (ran.code, ran.err) == (
        EXIT_OK,
        "mailvigil: there are more than these 3 rows (--limit N prints more)\n",
    )
    assert re.findall(r"\b[1-9]\d{3}\b", ran.out) == ["5000", "4999", "4998"]


def test_a_table_has_a_limit_and_says_so_only_when_rows_are_cut(export: Path) -> None:
    cut = run("query", "range x from 1 to 1001 step 1", export)
    whole = run("query", "range x from 1 to 1000 step 1", export)
    asked = run("query", "range x from 1 to 1001 step 1", export, "--limit", "2000")

    assert cut.err == "mailvigil: there are more than these 1,000 rows (--limit N prints more)\n"
    assert cut.out.splitlines()[-1] == "1,000 rows."
    assert (whole.err, whole.out.splitlines()[-1]) == ("", "1,000 rows.")
    assert (asked.err, asked.out.splitlines()[-1]) == ("", "1,001 rows.")


def test_json_and_csv_are_not_cut_unasked(export: Path) -> None:
    kql = "range x from 1 to 1001 step 1"

    assert len(rows(kql, export)) == 1001
    assert len(cells(run("query", kql, export, "--format", "csv"))) == 1002


def test_the_columns_of_no_rows_are_shown(export: Path) -> None:
    kql = "MailItemsAccessed() | where Caller == 'nobody' | project Caller, EventTime"

    table, lines_ = run("query", kql, export), run("query", kql, export, "--format", "csv")

    assert rows(kql, export) == []
    assert lines_.out == "Caller,EventTime\r\n"
    assert "Caller" in table.out
    assert table.out.splitlines()[-1] == "0 rows."


def test_a_table_fits_the_terminal(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")

    few = run("query", "MailItemsAccessed() | project Caller, Mailbox, EventTime", export)
    many = run("query", "MailItemsAccessed() | sort by EventTime asc", export)

    assert max(map(len, (few.out + many.out).splitlines())) <= 60
    assert "Too wide" not in few.out
    assert many.out.startswith("Too wide for a table: one block a row")
    assert many.out.count("MailItemsAccessed") == 15
    assert re.search(r"Mailbox +│ adele@contoso\.example ", many.out)


VALUES = (
    "print at = datetime(2026-01-05 09:00:00.5), span = 1d + 2h, back = 0s - 90s, "
    "none = int(null), empty = '', yes = true, part = 1.5, odd = real(nan), much = real(-inf), "
    "count = -5, id = guid(74be27de-1e4e-49d9-b579-fe0b331d3642), "
    "bag = dynamic({'a': [1, null, 'x']})"
)


def test_json_has_only_values_that_json_has(export: Path) -> None:
    [row] = rows(VALUES, export)

    assert row == {
        "at": "2026-01-05T09:00:00.500000Z",
        "span": "1.02:00:00",
        "back": "-00:01:30",
        "none": None,
        "empty": "",
        "yes": True,
        "part": 1.5,
        "odd": "NaN",
        "much": "-Infinity",
        "count": -5,
        "id": "74be27de-1e4e-49d9-b579-fe0b331d3642",
        "bag": {"a": [1, None, "x"]},
    }


def test_a_cell_of_the_csv_is_the_value_of_the_row(export: Path) -> None:
    names, values = cells(run("query", VALUES, export, "--format", "csv"))

    assert dict(zip(names, values, strict=True)) == {
        "at": "2026-01-05T09:00:00.500000Z",
        "span": "1.02:00:00",
        "back": "'-00:01:30",
        "none": "",
        "empty": "",
        "yes": "true",
        "part": "1.5",
        "odd": "NaN",
        "much": "'-Infinity",
        "count": "-5",
        "id": "74be27de-1e4e-49d9-b579-fe0b331d3642",
        "bag": '{"a": [1, null, "x"]}',
    }


@pytest.mark.parametrize("style", ["table", "json", "csv"])
@pytest.mark.parametrize(
    "kql",
    [
        "MailItemsAccessed() | project UserId, Mailbox",
        "MailItemsAccessed()",
        "M365Activity_CL | project B = bag_pack(UserId, MailboxOwnerUPN), C = pack_array(UserId)",
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_log_does_not_steer_the_terminal(kql: str, style: str) -> None:
    hostile = "[red]adele[/red]\x1b[31m\x9b2J\u202e:smile:\nrow@contoso.example"
    name = write([read_at(0, 1, UserId=hostile, MailboxOwnerUPN=hostile)])

    ran = run("query", kql, name, "--format", style)

    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert not CONTROL.findall(ran.out)
    assert "[red]adele" in ran.out
    assert "1b[31m" in ran.out


def test_the_query_does_not_steer_the_terminal(export: Path) -> None:
    shown = run("query", "print ['\x1b[2J\u202e'] = '\x9b'", export)
    refused = run("query", "print ['\x1b[2J\u202e'] + Nope", export)

    assert (shown.code, refused.code) == (EXIT_OK, EXIT_INPUT)
    assert "\\x1b[2J\\u202e" in shown.out
    assert "\\x9b" in shown.out
    assert "\\x1b[2J\\u202e" in refused.err
    assert not CONTROL.findall(shown.out + shown.err + refused.out + refused.err)


@pytest.mark.parametrize("formula", ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1"])
@pytest.mark.usefixtures("folder")
def test_a_spreadsheet_runs_no_cell_and_no_heading(formula: str) -> None:
    name = write([read_at(0, 1, UserId=formula)])

    ran = run("query", "M365Activity_CL | project ['=1+1'] = UserId", name, "--format", "csv")

    [heading], [cell] = cells(ran)
    assert heading == "'=1+1"
    assert cell == f"'{formula}".replace("\t", "\\t")


def test_every_example_of_the_help_works(
    folder: Path, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "exports").mkdir()
    (folder / "exports" / "audit.csv").write_bytes(purview(intruded()))
    with pytest.raises(SystemExit):
        run("query", "--help")
    help_ = capsys.readouterr().out
    examples = re.findall(r"^  (mailvigil query .*)", help_, re.MULTILINE)

    ran = [run(*shlex.split(re.sub(r" > \S+$", "", line))[1:]) for line in examples]

    assert saved.is_file()
    assert [(result.code, result.err) for result in ran] == [(EXIT_OK, "")] * 4
    assert all("row" in r.out.splitlines()[-1] or "adele" in r.out for r in ran)
    codes = re.findall(r"(?:: |; )(\d) ", " ".join(help_.partition("exit codes")[2].split()))
    assert codes == ["0", "1", "2", "4", "6"]
