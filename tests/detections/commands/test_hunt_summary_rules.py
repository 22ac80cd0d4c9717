"""``mailvigil hunt --summary-rules``: what it says of bins and of who is forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from detections.commands.command import NEWCOMER, ONE_RULE, hunt_by_one_rule, read_at, run
from detections.exports.written import lines, office_activity, purview
from detections.reports.test_findings_schema import faults
from mailvigil.exit_codes import EXIT_INPUT, EXIT_OK

DAYS = 28
READS = (9, 26)
"""Days on which a caller reads that is not seen for more than 14 days in between."""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [read_at(day, day) for day in range(0, DAYS, 3)]
    records += [read_at(day + 0.1, 100 + day, AppId=NEWCOMER) for day in READS]
    path = tmp_path_factory.mktemp("office") / "OfficeActivity.jsonl"
    path.write_bytes(lines([office_activity(record) for record in records]))
    return path


def summary_rules(summary: dict[str, object]) -> dict[str, list[dict[str, object]]]:
    return cast("dict[str, list[dict[str, object]]]", summary["summary_rules"])


def test_a_caller_that_was_remembered_is_found_once(log: Path) -> None:
    ran = hunt_by_one_rule(log, "--summary-rules")

    assert (ran.code, faults(ran.json)) == (EXIT_OK, [])
    assert [found["alerts"] for found in ran.findings] == [1]
    played = summary_rules(ran.summary)
    assert played["forgotten"] == []
    assert {item["rule"] for item in played["bins"]} == {
        "callers_of_office_activity",
        "callers_restated",
    }
    assert len(played["bins"]) == 2 * DAYS


def test_a_lost_bin_is_said_with_whom_it_forgets(log: Path) -> None:
    ran = hunt_by_one_rule(log, "--summary-rules", "--lost-bin", "2026-01-14")

    assert (ran.code, faults(ran.json)) == (EXIT_OK, [])
    played = summary_rules(ran.summary)
    lost = [item for item in played["bins"] if item["rows"] is None]
    assert {item["day"] for item in lost} == {"2026-01-14"}
    [forgotten] = played["forgotten"]
    assert forgotten["caller"] == NEWCOMER
    assert forgotten["since"] == "2026-01-28T11:24:00Z"
    assert forgotten["again"] == "2026-01-31T11:24:00Z"
    assert [found["alerts"] for found in ran.findings] == [2]


def test_a_table_says_what_is_forgotten(log: Path) -> None:
    lost = ("--lost-bin", "2026-01-14", "--late-bin", "2026-01-20")
    ran = run("hunt", log, *ONE_RULE, "--summary-rules", *lost)

    assert ran.code == EXIT_OK
    assert "Summary rules: 56 bins, 2 lost, 2 late; " in ran.out
    assert (
        f"  forgotten since 2026-01-28 11:24:00Z: {NEWCOMER} by OWA, "
        "last known 2026-01-14 11:24:00Z, read again 2026-01-31 11:24:00Z\n"
    ) in ran.out


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--lost-bin", "2026-01-14"), "there are no bins (add --summary-rules)"),
        (
            ("--summary-rules", "--lost-bin", "2026-03-14"),
            "--lost-bin: no bin begins on 2026-03-14",
        ),
        (
            ("--summary-rules", "--lost-bin", "2026-01-14", "--late-bin", "2026-01-14"),
            "--late-bin: 2026-01-14 is lost (name a day once)",
        ),
        (("--summary-rules", "--save", "x.duckdb"), "would stay in the saved workspace"),
    ],
)
def test_what_cannot_be_played_is_refused(
    log: Path, options: tuple[str, ...], problem: str
) -> None:
    ran = hunt_by_one_rule(log, *options)

    assert (ran.code, ran.out) == (EXIT_INPUT, "")
    assert problem in ran.err


def test_a_log_without_their_tables_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "AuditLog.csv"
    path.write_bytes(purview([read_at(1, 1)]))

    ran = hunt_by_one_rule(path, "--summary-rules")

    assert ran.code == EXIT_INPUT
    assert ran.err == (
        "mailvigil: --summary-rules: the data has no row of a table that they read "
        "(load OfficeActivity or CloudAppEvents, as Log Analytics exports them)\n"
    )
