"""What each option of a hunt changes, and what it must not change."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from detections.commands.command import (
    KNOWN,
    NEWCOMER,
    Ran,
    hunt,
    hunt_by_one_rule,
    intruded,
    read_at,
    rules_of,
)
from detections.exports.written import purview
from mailvigil.exit_codes import EXIT_INPUT, EXIT_OK

APPROVED = "Caller,Owner,Reason,ValidFrom,ValidTo\r\n"


def judged(ran: Ran, rule: str) -> dict[str, object]:
    rules = cast("list[dict[str, object]]", ran.summary["rules"])
    [one] = [item for item in rules if item["rule"] == rule]
    return one


def test_only_the_named_rules_run(export: Path) -> None:
    by_name = hunt(export, "--rules", "caller_new_to_tenant")
    by_id = hunt(export, "--rules", "e1f4c8b7-9d52-4f57-8c0e-6b2a4d7f1a04")
    two = hunt(export, "--rules", "mailbox_throttled,caller_new_to_tenant")

    assert rules_of(cast("list[dict[str, object]]", by_name.summary["rules"])) == [
        "caller_new_to_tenant"
    ]
    assert rules_of(by_name.findings) == ["caller_new_to_tenant"]
    assert rules_of(cast("list[dict[str, object]]", by_id.summary["rules"])) == [
        "foreign_token_tenant"
    ]
    assert len(cast("list[object]", two.summary["rules"])) == 2


def test_as_of_judges_once_and_does_not_look_ahead(export: Path) -> None:
    before = hunt_by_one_rule(export, "--as-of", "2026-01-15T13:00")
    after = hunt_by_one_rule(export, "--as-of", "2026-01-15T15:00")
    elsewhere = hunt_by_one_rule(export, "--as-of", "2026-01-15T17:00+02:00")
    late = hunt_by_one_rule(export, "--as-of", "2026-01-20")

    assert (before.findings, late.findings) == ([], [])
    assert after.findings == elsewhere.findings
    assert [found["first_alert"] for found in after.findings] == ["2026-01-15T15:00:00Z"]
    assert after.summary["as_of"] == "2026-01-15T15:00:00Z"
    assert after.summary["ticks"] == 1


def test_a_shorter_step_reports_the_same_finding_sooner(export: Path) -> None:
    daily, quarter = hunt_by_one_rule(export), hunt_by_one_rule(export, "--step", "6h")

    assert quarter.summary["step"] == "6h"
    [first], [second] = daily.findings, quarter.findings
    assert second["first_alert"] == "2026-01-15T18:00:00Z"
    assert {**first, "first_alert": "", "alerts": 0} == {**second, "first_alert": "", "alerts": 0}


def test_a_baseline_shorter_than_asked_is_counted_and_gives_no_finding(export: Path) -> None:
    ran = hunt_by_one_rule(export, "--min-history", "30d")

    assert ran.findings == []
    assert judged(ran, "caller_new_to_tenant")["insufficient_baseline"] == 2


def test_a_caller_older_than_the_memory_is_new_again(folder: Path) -> None:
    visits = [read_at(day, 900 + day, AppId=NEWCOMER) for day in (0, 20)]
    every = [read_at(day, day, AppId=KNOWN) for day in range(22)]
    (folder / "export.csv").write_bytes(purview([*every, *visits]))

    assert hunt_by_one_rule("export.csv").findings == []
    forgetful = hunt_by_one_rule("export.csv", "--memory", "14d")

    assert [(found["rule"], found["first"]) for found in forgetful.findings] == [
        ("caller_new_to_tenant", "2026-01-25T09:00:00Z")
    ]


def test_a_hunt_in_a_saved_workspace_gives_the_same_findings(folder: Path, export: Path) -> None:
    saved = hunt_by_one_rule(export, "--save", "kept.db")
    export.unlink()
    again = hunt_by_one_rule("--workspace", "kept.db")

    assert (again.code, again.err) == (EXIT_OK, "")
    assert again.findings == saved.findings != []
    assert again.summary["files"] == []
    assert again.summary["distinct"] == saved.summary["distinct"] == 15
    assert (folder / "kept.db").stat().st_size


def test_records_added_twice_count_once(export: Path) -> None:
    first = hunt_by_one_rule(export, "--save", "kept.db")
    second = hunt_by_one_rule(export, "--workspace", "kept.db")

    assert first.findings == second.findings
    assert second.summary["distinct"] == 15


def test_saving_overwrites_no_workspace(folder: Path, export: Path) -> None:
    hunt_by_one_rule(export, "--save", "kept.db")
    before = (folder / "kept.db").read_bytes()

    again = hunt_by_one_rule(export, "--save", "kept.db")

    assert again.code == EXIT_INPUT
    assert "kept.db: exists already" in again.err
    assert (folder / "kept.db").read_bytes() == before


def test_a_load_that_fails_leaves_no_workspace(folder: Path, export: Path) -> None:
    (folder / "bad.csv").write_text("AuditData\nnonsense\n", encoding="utf-8")

    failed = hunt_by_one_rule(export, "bad.csv", "--strict", "--save", "kept.db")

    assert failed.code == EXIT_INPUT
    assert not list(folder.glob("kept.db*"))


def test_a_baseline_knows_its_callers_and_no_stranger(folder: Path, export: Path) -> None:
    stranger = "c0ffee00-0000-4000-8000-000000000002"
    later = [read_at(day, 500 + day, AppId=NEWCOMER) for day in (20, 21)]
    (folder / "later.csv").write_bytes(
        purview(
            [*later, read_at(22, 600, AppId=stranger, MailboxOwnerUPN="marten@contoso.example")]
        )
    )
    saved = hunt_by_one_rule(export, "--save-baseline", "known.jsonl")

    without = hunt_by_one_rule("later.csv")
    carried = hunt_by_one_rule("later.csv", "--baseline", "known.jsonl")

    assert (saved.code, saved.err) == (EXIT_OK, "")
    assert saved.findings == hunt_by_one_rule(export).findings
    assert without.findings == []
    assert judged(without, "caller_new_to_tenant")["insufficient_baseline"] == 2
    assert [found["callers"] for found in carried.findings] == [[{"id": stranger, "name": ""}]]
    assert judged(carried, "caller_new_to_tenant")["insufficient_baseline"] == 0


def test_a_baseline_carried_on_keeps_the_first_hunt(folder: Path, export: Path) -> None:
    (folder / "later.csv").write_bytes(purview([read_at(20, 500, AppId=KNOWN)]))
    hunt_by_one_rule(export, "--save-baseline", "january.jsonl")

    hunt_by_one_rule(
        "later.csv", "--baseline", "january.jsonl", "--save-baseline", "february.jsonl"
    )

    text = (folder / "february.jsonl").read_text(encoding="utf-8")
    assert NEWCOMER in text
    assert '"FirstSeen": "2026-01-05T09:00:00' in text
    assert '"LastSeen": "2026-01-25T09:00:00' in text


@pytest.mark.parametrize(
    ("row", "silent"),
    [
        (f"{NEWCOMER.upper()},it,pilot,,", True),
        (f"{NEWCOMER},it,pilot,2026-01-01,2026-12-31", True),
        (f"{NEWCOMER},it,pilot,,2026-01-10", False),
        (f"{NEWCOMER},it,pilot,2026-02-01,", False),
        (f"{KNOWN},it,mail,,", False),
    ],
)
def test_an_approval_silences_its_caller_while_it_is_valid(
    row: str,
    silent: bool,  # noqa: FBT001 - a cell of the table above
    folder: Path,
    export: Path,
) -> None:
    (folder / "approved.csv").write_text(f"{APPROVED}{row}\r\n", encoding="utf-8")

    ran = hunt_by_one_rule(export, "--approved", "approved.csv")

    assert ran.code == EXIT_OK
    assert (ran.findings == []) is silent


def test_the_name_of_an_application_does_not_silence_it(folder: Path) -> None:
    outlook = "9199bf20-a13f-4107-85dc-02114787ef48"
    records = [{**r, "AppId": outlook} if r["AppId"] == NEWCOMER else r for r in intruded()]
    (folder / "export.csv").write_bytes(purview(records))

    [found] = hunt_by_one_rule("export.csv").findings

    assert found["callers"] == [{"id": outlook, "name": "Outlook on the web"}]
    assert str(found["why"]).startswith(f"Outlook on the web ({outlook}) read mail")


def filter_file(folder: Path, rule: str, **fields: str) -> Path:
    """Write a tenant's own exception to *rule*: records with these *fields*."""
    own = folder / "own"
    own.mkdir(exist_ok=True)
    listed = "".join(f"        {name}: {value}\n" for name, value in fields.items())
    (own / "exception.yml").write_text(
        "title: Our own exception\n"
        "logsource: {product: m365, service: audit}\n"
        f"filter:\n    rules: [{rule}]\n    ours:\n{listed}    condition: not ours\n",
        encoding="utf-8",
    )
    return own


def test_a_filter_silences_its_exception_and_no_more(folder: Path) -> None:
    other = {"AppId": KNOWN, "TokenTenantId": "11111111-aaaa-4bbb-8ccc-000000000099"}
    path = folder / "both.csv"
    path.write_bytes(purview([*intruded(), read_at(10.4, 104, **other)]))
    new, foreign = "caller_new_to_tenant", "foreign_token_tenant"

    both = (Path(path.name), "--rules", f"{new},{foreign}")

    plain = hunt(*both)
    silenced = hunt(*both, "--filters", str(filter_file(folder, new, AppId=NEWCOMER)))
    of_another = hunt(
        *both, "--filters", str(filter_file(folder, new, UserId="zoe@contoso.example"))
    )
    of_foreign = hunt(*both, "--filters", str(filter_file(folder, foreign, AppId=NEWCOMER)))

    assert {new, foreign} <= set(rules_of(plain.findings))
    left = [one for one in plain.findings if one["rule"] != new]
    assert silenced.findings == left
    assert of_another.findings == plain.findings
    assert of_foreign.findings == plain.findings


def test_a_filter_of_a_rule_that_is_not_there_is_refused(export: Path, folder: Path) -> None:
    ran = hunt_by_one_rule(
        export, "--filters", str(filter_file(folder, "no_such_rule", AppId=NEWCOMER))
    )

    assert ran.code == EXIT_INPUT
    assert "'no_such_rule', which is not a Sigma rule here" in ran.err
