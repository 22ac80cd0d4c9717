"""A real tenant's log, where there is one: what is known to be in it is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from detections.commands.command import Ran, hunt, run
from mailvigil.exit_codes import EXIT_OK

GRAPH_EXPLORER = "de8bc8b5-d9f9-48b1-a8ad-b748da725064"
EWS_CALLER = "fe93bfe1-7947-460a-a5e0-7a5906b51360"


@pytest.fixture(scope="module")
def whole(real_data: Path) -> Ran:
    return hunt(real_data / "lab_tenant_2021_unified_audit_log.csv.gz")


def newcomers(ran: Ran) -> list[dict[str, object]]:
    return [found for found in ran.findings if found["rule"] == "caller_new_to_tenant"]


def test_the_counts_of_the_whole_log_are_the_known_ones(whole: Ran) -> None:
    summary = whole.summary

    assert whole.code == EXIT_OK
    assert (summary["records"], summary["unreadable"], summary["distinct"]) == (9_608, 3, 318)
    rows = cast("list[dict[str, object]]", summary["unreadable_rows"])
    assert [row["line"] for row in rows] == [16_904, 18_158, 18_828]
    assert all(f":{row['line']}: {row['why']}" in whole.err for row in rows)


def test_every_rule_with_its_tables_runs_on_a_real_log(whole: Ran) -> None:
    rules = cast("list[dict[str, object]]", whole.summary["rules"])

    refused = [str(rule["why_not_run"]) for rule in rules if rule["verdict"] != "run"]
    assert all(why.startswith("no table ") for why in refused)
    assert len(rules) - len(refused) > 8


def test_exactly_the_seven_newcomers_are_found(whole: Ran) -> None:
    found = newcomers(whole)
    seen = {
        (caller["id"], str(one["first"])[:10], *cast("list[str]", one["protocols"]))
        for one in found
        for caller in cast("list[dict[str, str]]", one["callers"])
    }

    assert len(found) == len(seen) == 7
    assert (EWS_CALLER, "2021-05-16", "WebServices") in seen
    assert (GRAPH_EXPLORER, "2021-07-19", "REST") in seen


def test_the_same_reads_as_json_lines_give_the_same_newcomers(whole: Ran, real_data: Path) -> None:
    ran = hunt(
        real_data / "lab_tenant_2021_mailitemsaccessed.jsonl", "--rules", "caller_new_to_tenant"
    )

    assert ran.err == ""
    assert ran.findings == newcomers(whole)


def test_the_folders_of_real_sync_records_are_kept_apart(real_data: Path) -> None:
    ran = run(
        "query", "--format", "json",
        "MailItemsAccessed() | where MailAccessType == 'Sync'"
        " | summarize Paths = dcount(ParentFolderPath), Folders = dcount(Folder)",
        real_data / "lab_tenant_2021_mailitemsaccessed.jsonl",
    )  # fmt: skip

    assert json.loads(ran.out) == [{"Paths": 1, "Folders": 24}]
