"""KQL rules in Sentinel's form: what is read of a file, and how such a rule is run in a hunt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from detections.small_tenant import (
    KQL,
    ROOT,
    RULES,
    TENANT,
    Record,
    at,
    chosen,
    engine,
    everywhen,
    put,
    read,
)
from detections.small_tenant import workspace as empty
from mailvigil.compiler.compile import record_rows, to_kql, whole_causes
from mailvigil.engine.record_rows import insert
from mailvigil.errors import RuleError
from mailvigil.hunt.alerts import Alert, Plan
from mailvigil.hunt.findings import key_of, key_types, merged
from mailvigil.hunt.replay import evaluation_times, whole_span, windows, without_tables
from mailvigil.rules.kql_rule import KqlRule, parse_kql_rule
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.metadata import EntityMapping, Schedule
from mailvigil.rules.rule import Rule

BYPASS = KQL["mailbox_audit_bypass"]
CONSENT = KQL["consent_then_mail_read"]
DAILY = Plan()


def file_of(rule: Rule) -> dict[str, object]:
    """Return what stands in the rule's file."""
    data: dict[str, object] = yaml.safe_load(rule.text)
    return data


def parsed(data: Mapping[str, object]) -> KqlRule:
    return parse_kql_rule(Path("made.yaml"), yaml.safe_dump(dict(data)))


def granted(number: int, days: float) -> Record:
    """Return a record of a permission that was granted, *days* after the start."""
    return read(number, days, Operation="Add-MailboxPermission", Workload="Exchange", RecordType=1)


def heartbeat(days: float) -> Record:
    """Return a row that says nothing but that the feed lives, *days* after the start."""
    feed = {"OrganizationId": TENANT, "ContentType": "Audit.Exchange"}
    return {**feed, "TimeGenerated": at(days), "HoursMissing": 0, "Expired": 0, "Rejected": 0}


def bypass(number: int, days: float) -> Record:
    parameters = [{"Name": "AuditBypassEnabled", "Value": "True"}]
    record = read(number, days, Operation="Set-MailboxAuditBypassAssociation", ObjectId="adele")
    return {**record, "Parameters": parameters}


def test_a_file_in_sentinels_form_is_read_whole() -> None:
    rule = parsed(file_of(CONSENT))

    assert (rule.name, rule.kind, rule.severity) == ("made", "kql", "High")
    assert rule.title == "Application read mail soon after its consent"
    assert rule.schedule == Schedule("Scheduled", "1h", "14d")
    assert (rule.within, rule.by) == ("1d", ("OrganizationId", "Caller"))
    assert rule.tags[:2] == ("attack.persistence", "attack.collection")
    assert "attack.t1098.003" in rule.tags
    assert EntityMapping("Account", "FullName", "GrantedBy") in rule.entities
    assert ("Granted", "FirstSeen") in rule.details
    assert (rule.always, rule.bounded, rule.needs, rule.first_seen) == (False, False, (), None)


def test_a_near_real_time_rule_has_neither_frequency_nor_period() -> None:
    assert parsed(file_of(BYPASS)).schedule == Schedule("NRT", "", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "name is missing or wrong (give a text)"),
        ({"queryFrequency": "PT1H"}, "queryFrequency is missing or wrong (give a duration such"),
        ({"severity": "Hgih"}, "severity is missing or wrong (give one of Informational, Low,"),
        ({"kind": "Hourly"}, "kind is missing or wrong (give one of Scheduled, NRT)"),
        ({"tactics": []}, "tactics is missing or wrong (give a list of texts)"),
        ({"mailvigil": {}}, "mailvigil.within is missing or wrong (give a duration such"),
        ({"entityMappings": None}, "entityMappings is missing or wrong"),
        ({"entityMappings": [{"entityType": "IP"}]}, "entityMappings is missing or wrong"),
        ({"customDetails": ["x"]}, "customDetails is missing or wrong (give a column for each"),
        ({"mailvigil": {}}, "mailvigil.by is missing or wrong (give a list of texts)"),
        ({"mailvigil": {"always": "yes"}}, "mailvigil.always is missing or wrong (give true or"),
    ],
)
def test_a_broken_file_is_refused_with_what_is_wrong(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(RuleError) as caught:
        parsed({**file_of(CONSENT), **change})

    assert any(p.startswith(f"made.yaml: {message}") for p in caught.value.problems)


def test_text_that_is_not_yaml_is_refused_with_its_place() -> None:
    with pytest.raises(RuleError, match=r"^made\.yaml:1:5: is not YAML: [^\n]+ \(correct it\)$"):
        parse_kql_rule(Path("made.yaml"), "a: b: c")


@pytest.mark.parametrize("text", ["", "[]", "5"])
def test_yaml_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(RuleError, match=r"made\.yaml: not in Sentinel's form: "):
        parse_kql_rule(Path("made.yaml"), text)


def test_a_test_file_is_not_loaded_as_a_rule(tmp_path: Path) -> None:
    folder = tmp_path / "kql" / "analytics"
    folder.mkdir(parents=True)
    (folder / "one.yaml").write_text(BYPASS.text, encoding="utf-8")
    (folder / "one.test.yaml").write_text("tests: []", encoding="utf-8")

    assert [rule.name for rule in load_rules(tmp_path)] == ["one"]


@pytest.mark.parametrize("name", KQL)
def test_records_are_asked_for_of_all_times(name: str) -> None:
    text = "\n".join(record_rows(KQL[name], ROOT))
    spans = re.findall(r"\b(?:MailItemsAccessed|AuditRecords|AuditChanges)\(([^(),]*)", text)

    assert set(spans) <= {"timespan"}
    assert bool(spans) == ("audit_feed" not in name)


def test_a_query_without_records_is_refused() -> None:
    rule = replace(BYPASS, query="let recent = 1d;\nAuditChanges()\n")

    with pytest.raises(RuleError, match="its query has no `let records = …;`"):
        record_rows(rule, ROOT)


def test_the_compiled_text_ends_with_the_query() -> None:
    assert to_kql(BYPASS, ROOT).endswith(BYPASS.query)


def test_a_log_without_mail_is_judged() -> None:
    with empty() as con:
        put(con, [granted(1, 0.5), bypass(2, 1.5), granted(3, 2.5)])
        on = engine(con)

        assert whole_span(on) == (at(0.5), at(2.5))
        assert evaluation_times(on, BYPASS, ROOT, DAILY) == [at(2)]


def test_a_rule_about_silence_is_judged_at_every_evaluation() -> None:
    always = replace(BYPASS, always=True)
    with empty() as con:
        assert evaluation_times(engine(con), always, ROOT, DAILY) == []
        put(con, [granted(1, 0.5), granted(3, 3.5)])

        assert evaluation_times(engine(con), always, ROOT, DAILY) == [
            at(day) for day in (1, 2, 3, 3.5)
        ]


def test_a_feed_is_not_called_silent_because_the_data_ends() -> None:
    unhealthy = RULES["audit_feed_unhealthy"]
    with empty() as con:
        put(con, [read(1, 0.5)])
        insert(con, "M365FeedHealth_CL", [heartbeat(1), heartbeat(1.9)])
        assert not chosen(engine(con), unhealthy, DAILY)

        put(con, [granted(1, 2.5)])
        silent = chosen(engine(con), unhealthy, DAILY)
        assert [(alert.time, alert.row["Problem"]) for alert in silent] == [(at(2.5), "silent")]


def test_a_rule_does_not_run_without_a_table_that_it_needs() -> None:
    rule = replace(BYPASS, sources=("A", "B"), needs=("C", "D"))

    assert without_tables(rule, {"B", "D"}) is None
    for there, said in (({"C"}, "no table A or B"), ({"A"}, "no table C or D")):
        found = without_tables(rule, there)
        assert found is not None
        assert (found.not_run, found.refused, found.evaluations) == (said, "", 0)


VISITS = (
    (9.5, "adele", "198.51.100.1"),
    (9.9, "b", "203.0.113.1"),
    (11.5, "adele", "203.0.113.1"),
    (12.5, "adele", "198.51.100.1"),
)
"""Day, mailbox and address of somebody who comes again."""


@pytest.mark.parametrize("name", [name for name, rule in KQL.items() if rule.new])
def test_every_evaluation_at_which_something_new_came_is_kept(name: str) -> None:
    rule = RULES[name]
    kind = {"OperationProperties": [{"Name": "MailAccessType", "Value": "Sync"}]}
    common = {"UserType": 5, "LogonType": 2, "ClientInfoString": "Client=IMAP4", **kind}
    folders = [{"ParentFolder": {"Path": f"/{n}"}} for n in range(5)]
    app: Record = {"UserType": 5, "UserId": "x", "ClientInfoString": "Client=OWA"}
    first = [{**read(n, 0.5 + n / 8), **app} for n in range(60)]
    others = [read(100 + n, 0.5, "app-2", f"m-{n}") for n in range(5)]
    new = [
        {**read(200 + 5 * number + n, day, mailbox=box, ClientIPAddress=ip), **common, "Item": item}
        for number, (day, box, ip) in enumerate(VISITS)
        for n, item in enumerate(folders)
    ]
    usual = [read(300 + n, 0.5 + n, mailbox="eve") for n in range(9)]
    away = {"ClientIPAddress": "2001:db8:e::1", "OperationCount": 90}
    much = [{**read(400 + n, day, mailbox="eve"), **away} for n, day in enumerate((9.5, 11.5))]
    with empty() as con:
        people = [{**record, "Id": f"{record['Id']}-person", "UserType": 0} for record in new]
        put(con, [*first, *others, *usual, *much, *new, *people])
        on = engine(con)

        few, all_ = chosen(on, rule, DAILY), everywhen(on, rule, DAILY)

        assert keys(rule, few) == keys(rule, all_)
        assert keys(rule, few)


def keys(rule: Rule, found: Sequence[Alert]) -> set[tuple[object, ...]]:
    return {key_of(rule, alert.row) for alert in found}


def test_a_window_that_a_query_declares_is_set() -> None:
    plan = Plan(minimum_history=timedelta(days=3))
    rule = replace(CONSENT, query=f"let minimumHistory = 7d;\n{CONSENT.query}")
    of_run = {"frequency": "1d", "delay": "0d", "late": "4d"}

    assert windows(BYPASS, plan, timedelta(days=9)) == of_run
    assert windows(rule, DAILY, timedelta(days=9)) == {**of_run, "memory": "11d"}
    assert windows(rule, plan, timedelta(days=9))["minimumHistory"] == "3d"


def test_a_whole_cause_has_every_column_though_its_records_lack_some() -> None:
    with empty() as con:
        put(con, [bypass(1, 0.5), bypass(2, 1.5)])
        on = engine(con)
        keys = (TENANT, "adele@contoso.example", "adele")
        columns = {**key_types(BYPASS.by, [keys]), "Since": "datetime", "Until": "datetime"}
        on.put("_Fired", columns, [(*keys, at(0), at(1))])

        [row] = on.run(on.prepare(whole_causes(BYPASS, ROOT, "_Fired")), at(9))

        assert (row["Records"], row["FirstSeen"]) == (1, at(0.5))
        assert row["Mailboxes"] == ["adele"]


def test_a_cause_without_records_is_merged_from_its_alerts() -> None:
    rows: list[dict[str, object]] = [
        {"FirstSeen": at(1), "LastSeen": at(2), "Records": 3, "Mailboxes": ["b"], "Caller": "x"},
        {"FirstSeen": at(0), "LastSeen": at(3), "Records": 2, "Mailboxes": ["a"], "Caller": "x"},
    ]

    row = merged([Alert(at(2), rows[0]), Alert(at(3), rows[1])])

    assert (row["FirstSeen"], row["LastSeen"], row["Records"]) == (at(0), at(3), 3)
    assert (row["Mailboxes"], row["Callers"], row["Users"]) == (["a", "b"], ["x"], [])


def test_keys_have_the_type_of_their_values() -> None:
    keys = [("a", 1, 1.5, True, at(0), None), ("b", 2, 2.5, False, at(1), "x")]

    assert list(key_types("abcdef", keys).values()) == [
        "string", "long", "real", "bool", "datetime", "string",
    ]  # fmt: skip


def test_rows_of_every_table_count_for_the_span() -> None:
    with empty() as con:
        insert(con, "M365FeedHealth_CL", [{"TimeGenerated": at(1), "OrganizationId": TENANT}])

        assert whole_span(engine(con)) == (at(1), at(1))
