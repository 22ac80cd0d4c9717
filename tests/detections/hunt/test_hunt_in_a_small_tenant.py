"""A hunt through two weeks of a made-up tenant finds its intruder."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from detections.exports.written import lines
from detections.small_tenant import RULES, TWELVE_DAYS, read
from mailvigil.errors import InputError
from mailvigil.exports.load_progress import NoProgress
from mailvigil.hunt.alerts import Plan
from mailvigil.hunt.finding_id import finding_id
from mailvigil.hunt.request import HuntRequest
from mailvigil.hunt.result import HuntResult
from mailvigil.hunt.run import hunt
from mailvigil.lab.tenant.clients import CRM
from mailvigil.lab.tenant.portal_files import write_approved_csv, write_purview_csv
from mailvigil.lab.tenant.records import intrusion_facts, records, throttled_mailbox
from mailvigil.rules.app_names import name_of

TENANT = TWELVE_DAYS


class Counted(NoProgress):
    """Remembers what the hunt told."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.phases: list[tuple[str, int]] = []
        self.parts = 0

    def file(self, name: str, records: int) -> None:
        if records:
            self.files.append(Path(name).name)

    def phase(self, name: str, parts: int) -> None:
        self.phases.append((name, parts))

    def advance(self) -> None:
        self.parts += 1


def run(request: HuntRequest, told: Counted | None = None) -> HuntResult:
    return hunt(request, stdin=io.BytesIO(), name_of=name_of, progress=told or Counted())


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tenant")
    with (folder / "export.csv").open("w", encoding="utf-8", newline="") as out:
        write_purview_csv(TENANT, out)
    with (folder / "approved.csv").open("w", encoding="utf-8", newline="") as out:
        write_approved_csv(TENANT, out)
    return folder / "export.csv"


@pytest.fixture(scope="module")
def told() -> Counted:
    return Counted()


@pytest.fixture(scope="module")
def hunted(export: Path, told: Counted) -> HuntResult:
    approved = export.with_name("approved.csv")
    return run(HuntRequest(paths=(str(export),), approved=approved), told)


def test_the_intruder_is_found(hunted: HuntResult) -> None:
    intrusion = intrusion_facts(TENANT)
    assert intrusion
    (finding,) = [f for f in hunted.findings if f.rule.name == "caller_new_to_tenant"]

    assert finding.callers.keys() == {intrusion.caller}
    assert finding.protocols == (intrusion.protocol,)
    assert set(finding.mailboxes) == set(intrusion.mailboxes)
    assert set(finding.addresses) == set(intrusion.addresses)
    assert intrusion.first <= finding.first <= finding.last < intrusion.last
    assert finding.first_alert - finding.first <= timedelta(days=1)
    assert intrusion.caller in finding.why
    assert "in 5 mailboxes;" in finding.why


def test_the_foreign_token_and_the_throttled_mailbox_are_found(hunted: HuntResult) -> None:
    names = {finding.rule.name for finding in hunted.findings}

    assert {"foreign_token_tenant", "mailbox_throttled"} <= names
    (throttled,) = [f for f in hunted.findings if f.rule.name == "mailbox_throttled"]
    assert throttled.mailboxes == (throttled_mailbox(TENANT),)


def test_the_counts_are_those_of_the_log(hunted: HuntResult) -> None:
    made = list(records(TENANT))
    distinct = {record["Id"] for record in made}
    mail = {record["Id"] for record in made if record["Operation"] == "MailItemsAccessed"}

    assert hunted.records == len(made)
    assert (hunted.distinct_records, hunted.distinct) == (len(distinct), len(mail))
    assert hunted.unreadable == 0
    assert {one.rule.name for one in hunted.replayed} == set(RULES)
    assert {one.refused for one in hunted.replayed} == {""}


def test_the_worst_finding_comes_first(hunted: HuntResult) -> None:
    orders = [finding.order for finding in hunted.findings]

    assert orders == sorted(orders)


def test_progress_names_each_file_and_rule_and_counts_each_evaluation(
    hunted: HuntResult, told: Counted
) -> None:
    assert told.files == ["export.csv"]
    judged = {one.rule.name for one in hunted.replayed if not one.absent}
    assert {name for name, _ in told.phases} >= judged > {"caller_new_to_tenant"}
    assert told.parts == sum(replayed.evaluations for replayed in hunted.replayed)


def test_a_caller_is_silenced_by_the_list_of_approved_ones_alone(export: Path) -> None:
    request = HuntRequest(paths=(str(export),), rules=("caller_new_to_tenant",))
    callers = {caller for f in run(request).findings for caller in f.callers}

    assert CRM in callers


def test_a_saved_workspace_gives_the_same_findings(
    hunted: HuntResult, export: Path, tmp_path: Path
) -> None:
    names = ("caller_new_to_tenant", "foreign_token_tenant", "mailbox_throttled")
    request = HuntRequest(
        paths=(str(export),),
        workspace=tmp_path / "saved.duckdb",
        approved=export.with_name("approved.csv"),
        rules=names,
    )
    first = run(request)
    again = run(replace(request, paths=()))

    expected = tuple(f for f in hunted.findings if f.rule.name in names)
    assert {f.rule.name for f in expected} == set(names)
    assert first.findings == again.findings == expected
    assert (again.distinct_records, again.distinct) == (hunted.distinct_records, hunted.distinct)


def test_an_unknown_rule_is_refused(export: Path) -> None:
    with pytest.raises(InputError, match=r"--rules: no rule 'nothing' \(there are \w+, "):
        run(HuntRequest(paths=(str(export),), rules=("mailbox_throttled", "nothing")))


def test_a_log_without_reading_has_its_other_findings(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    parameters = [{"Name": "AuditBypassEnabled", "Value": "True"}]
    bypass = {**read(9, 2), "Operation": "Set-MailboxAuditBypassAssociation", "ObjectId": "adele"}
    used = [read(n, n, Operation="MoveToDeletedItems") for n in (1, 2, 3)]
    path.write_bytes(lines([*used, {**bypass, "Parameters": parameters}]))

    names = ("mailbox_audit_bypass", "mailbox_stopped_logging", "caller_new_to_tenant")
    hunted = run(HuntRequest(paths=(str(path),), rules=names, evidence=5))

    tampered, stopped = hunted.findings
    assert hunted.span is None
    assert (tampered.rule.name, tampered.mailboxes) == ("mailbox_audit_bypass", ("adele",))
    assert hunted.evidence
    [record] = hunted.evidence.samples[finding_id(tampered)]
    assert (record.id, record.access) == ("id-9", "Set-MailboxAuditBypassAssociation")
    assert (stopped.rule.name, stopped.key["State"]) == ("mailbox_stopped_logging", "never logged")
    assert stopped.mailboxes == ("adele@contoso.example",)


@pytest.mark.parametrize("named", ["mailbox_throttled", RULES["mailbox_throttled"].id])
def test_a_rule_is_chosen_by_name_or_id(tmp_path: Path, named: str) -> None:
    path = tmp_path / "one.jsonl"
    path.write_bytes(lines([read(1, 1)]))

    assert [r.rule.name for r in run(HuntRequest(paths=(str(path),), rules=(named,))).replayed] == [
        "mailbox_throttled"
    ]


def test_a_log_without_mail_has_no_findings(tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_bytes(lines([{**read(1, 1), "Operation": "Send"}]))
    result = run(HuntRequest(paths=(str(path),), save_baseline=tmp_path / "baseline"))

    assert (result.span, result.findings, result.distinct) == (None, (), 0)
    assert {one.refused for one in result.replayed} == {""}
    assert len((tmp_path / "baseline").read_text(encoding="utf-8").splitlines()) == 1


def test_what_was_read_long_before_the_alert_is_left_out_of_the_finding(tmp_path: Path) -> None:
    path = tmp_path / "months.jsonl"
    others = [read(n, n / 2 + 0.1) for n in range(80)]
    app = [
        read(900, 0.5, "app", "marten"),
        read(901, 30.2, "app", "megan"),
        read(902, 30.9, "app", "lee"),
        read(903, 34.5, "app", "alex"),
    ]
    path.write_bytes(lines([*others, *app]))
    plan = Plan(memory=timedelta(days=14))

    request = HuntRequest(paths=(str(path),), rules=("caller_new_to_tenant",), plan=plan)
    (finding,) = run(request).findings

    assert (finding.records, finding.alerts) == (3, 1)
    assert finding.mailboxes == tuple(f"{n}@contoso.example" for n in ("alex", "lee", "megan"))


def test_a_record_of_two_files_counts_once(tmp_path: Path) -> None:
    for name in ("one.jsonl", "two.jsonl"):
        (tmp_path / name).write_bytes(lines([read(1, 1), read(1, 1), read(2, 2)]))

    result = run(HuntRequest(paths=(str(tmp_path),), rules=("mailbox_throttled",)))

    assert (result.records, result.distinct_records, result.distinct) == (6, 2, 2)
