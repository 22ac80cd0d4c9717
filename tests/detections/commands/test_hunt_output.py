"""What a hunt prints, where, and with which exit code."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest

from detections.commands.command import (
    NEWCOMER,
    ONE_RULE,
    hunt,
    hunt_by_one_rule,
    intruded,
    leave_only_rules,
    rules_of,
    run,
    version_in,
)
from detections.exports.written import lines, purview
from mailvigil.exit_codes import EXIT_FOUND, EXIT_INPUT, EXIT_NOT_RUN, EXIT_OK
from mailvigil.rules.content import content_root
from mailvigil.rules.load_rules import load_rules

FEW = ("caller_new_to_tenant", "mailbox_throttled", "mailbox_stopped_logging")
"""Rules of both forms, and of those that find something and those that do not."""

RULES = [rule.name for rule in load_rules(content_root())]


def test_the_json_holds_all_that_belongs_to_the_finding(export: Path) -> None:
    ran = hunt_by_one_rule(export)

    assert (ran.code, ran.err) == (EXIT_OK, "")
    [found] = ran.findings
    expected = {
        "rule": "caller_new_to_tenant",
        "version": version_in(content_root() / "sigma/rules/mail_access/caller_new_to_tenant.yml"),
        "severity": "High",
        "first": "2026-01-15T13:48:00Z",
        "last": "2026-01-16T16:12:00Z",
        "first_alert": "2026-01-16T00:00:00Z",
        "alerts": 1,
        "callers": [{"id": NEWCOMER, "name": ""}],
        "protocols": ["OWA"],
        "mailboxes": ["adele@contoso.example", "marten@contoso.example"],
        "users": ["adele@contoso.example"],
        "addresses": ["203.0.113.9"],
        "sessions": ["session-101", "session-102", "session-103"],
        "operation_count": 6,
        "records": 3,
        "why": f"{NEWCOMER} read mail by OWA in 2 mailboxes; in 10 days of history this "
        "tenant had not seen it.",
    }
    assert {name: found[name] for name in expected} == expected
    assert found["next"]


def test_the_summary_counts_what_the_files_hold(folder: Path) -> None:
    records = intruded()
    (folder / "a.csv").write_bytes(purview(records))
    (folder / "b.jsonl").write_bytes(lines([*records[:3], {**records[0], "Operation": "Send"}]))
    (folder / "readme.txt").write_text("hello\n", encoding="utf-8")

    summary = hunt(".").summary

    assert (summary["records"], summary["unreadable"]) == (19, 0)
    assert (summary["distinct"], summary["distinct_records"]) == (15, 15)
    assert summary["span"] == {"first": "2026-01-05T09:00:00Z", "last": "2026-01-16T16:12:00Z"}
    assert summary["skipped_files"] == [{"file": "readme.txt", "why": "neither JSON nor CSV"}]
    ran = summary["rules"]
    assert isinstance(ran, list)
    assert [rule["rule"] for rule in ran] == RULES
    absent = [rule for rule in ran if rule["why_not_run"].startswith("no table ")]
    assert [r["verdict"] for r in ran if r not in absent] == ["run"] * (len(RULES) - len(absent))
    new = "caller_new_to_tenant"
    assert {r["rule"]: r["findings"] for r in ran if r["findings"]} == {new: 1}
    assert {r["rule"]: n for r in ran if (n := r["insufficient_baseline"])} == {new: 1}


def test_the_csv_has_one_line_for_each_finding(export: Path) -> None:
    ran = run("hunt", *ONE_RULE, export, "--format", "csv")

    assert (ran.code, ran.err) == (EXIT_OK, "")
    [row] = csv.DictReader(io.StringIO(ran.out, newline=""))
    assert ran.out.count("\r\n") == 2
    assert row["rule"] == "caller_new_to_tenant"
    assert row["caller"] == NEWCOMER
    assert row["mailboxes"] == "adele@contoso.example marten@contoso.example"
    assert (row["first"], row["last"]) == ("2026-01-15T13:48:00Z", "2026-01-16T16:12:00Z")
    assert (row["operation_count"], row["records"]) == ("6", "3")


def test_the_table_shows_the_finding_and_the_rules(export: Path, content: Path) -> None:
    leave_only_rules(content, *FEW)

    ran = run("hunt", export)

    assert (ran.code, ran.err) == (EXIT_OK, "")
    assert "15 records read from 1 file, 0 unreadable" in ran.out
    assert "Mail was read from 2026-01-05 09:00:00Z to 2026-01-16 16:12:00Z." in ran.out
    assert "1 with an insufficient baseline, not judged" in ran.out
    assert "1 finding." in ran.out
    assert "High: Mail read by a caller new to the tenant" in ran.out
    assert all(rule in ran.out for rule in FEW)
    for cell in (NEWCOMER, "marten@contoso.example", "203.0.113.9", "6 operations in 3 records"):
        assert cell in ran.out


@pytest.mark.parametrize("style", ["table", "json", "csv"])
def test_standard_input_is_read_like_a_file(style: str, export: Path) -> None:
    packed = gzip.compress(export.read_bytes())

    piped = run("hunt", *ONE_RULE, "-", "--format", style, stdin=packed)
    named = run("hunt", *ONE_RULE, export, "--format", style)

    assert (piped.code, piped.err) == (EXIT_OK, "")
    assert piped.out == named.out.replace(str(export), "-")


@pytest.mark.parametrize(
    ("least", "code"),
    [("informational", 5), ("low", 5), ("medium", 5), ("high", 5)],
)
def test_a_finding_as_severe_as_asked_fails(least: str, code: int, export: Path) -> None:
    ran = hunt_by_one_rule(export, "--fail-on", least)

    assert ran.code == code == EXIT_FOUND
    assert rules_of(ran.findings) == ["caller_new_to_tenant"]


def test_a_finding_less_severe_than_asked_does_not_fail(folder: Path) -> None:
    throttled = [{"Name": "IsThrottled", "Value": "True"}]
    (folder / "export.csv").write_bytes(
        purview([{**r, "OperationProperties": throttled} for r in intruded()[:2]])
    )

    by_medium = ("export.csv", "--rules", "mailbox_throttled,caller_new_to_tenant")
    assert hunt(*by_medium, "--fail-on", "medium").code == EXIT_FOUND
    assert hunt(*by_medium, "--fail-on", "high").code == EXIT_OK


def test_a_hunt_without_findings_does_not_fail(quiet: Path) -> None:
    ran = hunt_by_one_rule(quiet, "--fail-on", "informational")

    assert (ran.code, ran.findings, ran.err) == (EXIT_OK, [], "")


def test_data_without_the_operation_is_reported_as_not_judged(folder: Path) -> None:
    (folder / "export.csv").write_bytes(purview([{**intruded()[0], "Operation": "Send"}]))

    ran = hunt_by_one_rule("export.csv")

    assert (ran.code, ran.findings, ran.summary["span"]) == (EXIT_OK, [], None)
    assert ran.err.startswith(
        "mailvigil: the data holds no MailItemsAccessed record: nothing was judged"
    )


def test_a_rule_that_cannot_be_run_is_reported_as_not_run(export: Path, content: Path) -> None:
    leave_only_rules(content, "caller_new_to_tenant", "mailbox_throttled")
    path = content / "sigma" / "rules" / "mail_access" / "mailbox_throttled.yml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("MailboxId]", "NoSuchColumn]"), encoding="utf-8")
    throttled = [{"Name": "IsThrottled", "Value": "True"}]
    export.write_bytes(purview([{**r, "OperationProperties": throttled} for r in intruded()]))

    ran = hunt(export, "--fail-on", "low")
    shown = run("hunt", export)

    assert (ran.code, shown.code) == (EXIT_NOT_RUN, EXIT_NOT_RUN)
    assert rules_of(ran.findings) == ["caller_new_to_tenant"]
    assert ran.err.startswith("mailvigil: mailbox_throttled was not run: ")
    assert "NoSuchColumn" in ran.err
    judged = ran.summary["rules"]
    assert isinstance(judged, list)
    refused = {
        str(rule["rule"]): str(rule["why_not_run"])
        for rule in judged
        if rule["verdict"] == "not run" and not rule["why_not_run"].startswith("no table ")
    }
    assert list(refused) == ["mailbox_throttled"]
    assert "NoSuchColumn" in refused["mailbox_throttled"]
    assert "mailbox_throttled: not run: " in shown.out


def test_a_broken_content_is_not_taken_for_a_broken_export(export: Path, content: Path) -> None:
    (content / "sigma" / "rules" / "mail_access" / "mailbox_throttled.yml").write_text(
        "title: x\n", encoding="utf-8"
    )

    ran = run("hunt", *ONE_RULE, export)

    assert ran.code not in {EXIT_OK, EXIT_INPUT}
    assert "mailbox_throttled.yml: not a Sigma rule" in ran.err


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_a_finding_fits_the_terminal(
    export: Path, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))

    shown = run("hunt", *ONE_RULE, export).out

    tables = [line for line in shown.splitlines() if line.startswith(("│", "┌", "└"))]
    assert max(map(len, tables)) <= columns
    rows = [line.strip("│").split("│", 1)[1].strip() for line in tables if line.startswith("│")]
    assert NEWCOMER in "".join(rows)
