"""The compiled text: windows at the top, the same each time, and never a rule half read."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from detections.compiler.correlated import Event, bench
from detections.small_tenant import ROOT, RULES, SIGMA, SINGLE
from mailvigil.compiler.compile import (
    PIPELINE,
    arrivals,
    generated_path,
    to_kql,
    whole_causes,
    with_windows,
)
from mailvigil.compiler.select import record_level
from mailvigil.errors import RuleError
from mailvigil.rules.durations import kql_duration
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.rule import Rule
from mailvigil.rules.sigma_rule import FirstSeen, Rare, SigmaRule
from mailvigil.tables.record_tables import RECORD_TABLES

NEW = SIGMA["caller_new_to_tenant"]
PLAIN = SIGMA["mailbox_throttled"]
EACH = pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: str(rule.name))
EACH_SINGLE = pytest.mark.parametrize("rule", SINGLE.values(), ids=lambda rule: str(rule.name))


def with_detection(rule: SigmaRule, detection: dict[str, object]) -> SigmaRule:
    data = yaml.safe_load(rule.text) | {"detection": detection}
    return replace(rule, text=yaml.safe_dump(data))


@EACH
def test_the_same_rule_gives_the_same_bytes(rule: Rule) -> None:
    again = next(other for other in load_rules(ROOT) if other.name == rule.name)

    assert to_kql(rule, ROOT) == to_kql(again, ROOT)


@EACH
def test_the_committed_text_is_the_compiled_one(rule: Rule) -> None:
    assert generated_path(ROOT, rule).read_text(encoding="utf-8") == to_kql(rule, ROOT)


@EACH
def test_the_windows_are_declared_at_the_top(rule: Rule) -> None:
    title, name, *body = to_kql(rule, ROOT).splitlines()
    values = {
        "recent": rule.within,
        "frequency": rule.schedule.frequency or "1h",
        "delay": "0m" if rule.schedule.near_real_time else "5m",
        "late": kql_duration(rule.late) if isinstance(rule, SigmaRule) else "3d",
    }
    windows = {name: value for name, value in values.items() if rule.declares(name)}
    if rule.first_seen:
        windows["memory"] = rule.first_seen.baseline
        windows["minimumHistory"] = rule.first_seen.minimum_history

    assert title == f"// {rule.title}"
    assert rule.version in name
    assert body[: len(windows)] == [f"let {n} = {value};" for n, value in windows.items()]


@EACH
def test_other_windows_change_their_own_lines_alone(rule: Rule) -> None:
    before = to_kql(rule, ROOT).splitlines()
    judged = "frequency" if rule.declares("frequency") else "recent"
    windows = {judged: "3h"} | ({"memory": "90d"} if rule.first_seen else {})

    after = with_windows(to_kql(rule, ROOT), windows).splitlines()

    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [f"let {name} = {value};" for name, value in windows.items()]


def test_a_window_that_is_not_declared_is_refused() -> None:
    with pytest.raises(KeyError, match="memory"):
        with_windows(to_kql(PLAIN, ROOT), {"memory": "1d"})
    with pytest.raises(KeyError, match="recent"):
        with_windows("let recent = 1d;\nlet recent = 2d;", {"recent": "3d"})


@pytest.mark.parametrize(
    "detection",
    [
        {"mail": {"Workload": "Exchange"}, "condition": "mail"},
        {"mail": {"Operation": "Send"}, "condition": "mail"},
        {"mail": {"Operation": ["MailItemsAccessed", "Send"]}, "condition": "mail"},
        {"mail": {"Operation|startswith": "MailItems"}, "condition": "mail"},
        {"mail": {"Operation": "MailItemsAccessed*"}, "condition": "mail"},
        {"mail": {"Operation": "MailItemsAccessed"}, "condition": "not mail"},
        {"a": {"Operation": "MailItemsAccessed"}, "b": {"UserId": "x"}, "condition": "a or b"},
    ],
)
def test_a_rule_of_other_operations_reads_every_operation(detection: dict[str, object]) -> None:
    text = to_kql(with_detection(NEW, detection), ROOT)

    assert "AuditRecords(memory" in text
    assert "AuditRecords(late" in text
    assert "summarize arg_min(SourceRank, *) by RecordId" in text
    assert "M365CallerBaseline_CL" not in text
    assert "ApprovedMailCallers" not in text


@pytest.mark.parametrize(
    "detection",
    [
        {"mail": {"UserId": "x", "Operation": "MAILITEMSACCESSED"}, "condition": "mail"},
        {
            "a": {"Operation": "MailItemsAccessed", "UserId": "x"},
            "b": {"Operation": "MailItemsAccessed"},
            "c": {"UserId": "y"},
            "condition": "(a or b) and not c",
        },
    ],
)
def test_a_rule_of_mail_alone_reads_mail_alone(detection: dict[str, object]) -> None:
    text = to_kql(with_detection(NEW, {**detection}), ROOT)

    assert "materialize(union (MailItemsAccessed(memory)" in text or (
        "materialize(MailItemsAccessed(memory)" in text
    )
    assert "\nMailItemsAccessed(late)\n" in text


def test_a_field_without_a_column_is_read_from_the_record() -> None:
    detection: dict[str, object] = {
        "a": {"Operation": "New-InboxRule", "Some.Thing": "x", "Directionality": "y"},
        "condition": "a",
    }
    text = to_kql(with_detection(NEW, detection), ROOT)

    assert "| extend Directionality = tostring(Record.Directionality)" in text
    assert "| extend Some_Thing = tostring(Record.Some.Thing)" in text
    assert 'Some_Thing =~ "x"' in text


def test_a_field_that_mail_lacks_is_read_from_every_operation() -> None:
    detection: dict[str, object] = {
        "a": {"Operation": "MailItemsAccessed", "DeviceId": "x"},
        "condition": "a",
    }

    text = to_kql(with_detection(NEW, detection), ROOT)

    assert "\nAuditRecords(late, dynamic(['mailitemsaccessed']))\n" in text


@pytest.mark.parametrize(
    ("detection", "said"),
    [
        ({"mail": ["MailItemsAccessed"], "condition": "mail"}, "a value without a field"),
        ({"mail": {"a b": "x"}, "condition": "mail"}, "is not a field of an audit record"),
        ({"mail": {"x) or (true": "x"}, "condition": "mail"}, "is not a field of an audit record"),
    ],
)
def test_what_is_not_a_field_is_refused(detection: dict[str, object], said: str) -> None:
    rule = with_detection(NEW, detection)

    with pytest.raises(RuleError, match=said):
        to_kql(rule, ROOT)


def test_a_rule_of_another_log_is_refused() -> None:
    data = yaml.safe_load(NEW.text) | {"logsource": {"product": "m365", "service": "exchange"}}
    rule = replace(NEW, text=yaml.safe_dump(data))

    with pytest.raises(RuleError, match="m365/exchange is not the unified audit log"):
        to_kql(rule, ROOT)


def test_a_rule_of_two_conditions_is_refused() -> None:
    mail = {"Operation": "MailItemsAccessed"}
    rule = with_detection(NEW, {"a": mail, "b": mail, "condition": ["a", "b"]})

    with pytest.raises(RuleError, match="not one query but 2"):
        to_kql(rule, ROOT)


def test_a_condition_that_names_nothing_is_refused_by_name() -> None:
    rule = with_detection(NEW, {"a": {"Operation": "MailItemsAccessed"}, "condition": "a and b"})

    with pytest.raises(RuleError, match="pySigma cannot convert it"):
        to_kql(rule, ROOT)


def test_a_quote_in_a_value_stays_in_the_text() -> None:
    mail: dict[str, object] = {"Operation": "MailItemsAccessed", "UserId": 'a" or true //'}
    rule = with_detection(NEW, {"a": mail, "condition": "a"})

    assert r'UserId =~ "a\" or true //"' in to_kql(rule, ROOT)


@EACH_SINGLE
@pytest.mark.parametrize("source", RECORD_TABLES)
def test_a_plain_query_reads_the_table_that_it_is_for(rule: SigmaRule, source: str) -> None:
    text = record_level(rule, ROOT, RECORD_TABLES[source].pipeline)

    assert text.startswith(f"{source}\n")
    assert 'Operation =~ "MailItemsAccessed"' in text


@EACH_SINGLE
def test_the_parts_of_a_hunt_match_the_rules_records(rule: SigmaRule) -> None:
    records = record_level(rule, ROOT, PIPELINE)

    assert arrivals(rule, ROOT, "1d", first_only=False).startswith(records)
    assert whole_causes(rule, ROOT, "_Fired").startswith(records)


def keyed(by: tuple[str, ...], **detection: object) -> SigmaRule:
    """Return a rule of what is new by these keys."""
    asked: dict[str, object] = {"asked": detection, "condition": "asked"}
    return replace(with_detection(NEW, asked), by=by)


def test_any_column_can_be_the_key_of_what_is_new() -> None:
    rule = keyed(("UserId", "ObjectId"), Operation="New-InboxRule")
    known = [
        Event(n, 86_400 * day, "New-InboxRule", more={"ObjectId": thing})
        for n, (day, thing) in enumerate([(10, "old"), (9, "other")])
    ]
    new = Event(7, 3600, "New-InboxRule", more={"ObjectId": "new"})
    again = Event(8, 3600, "New-InboxRule", more={"ObjectId": "old"})
    with bench() as made:
        made.put([*known, new, again], "OfficeActivity")

        (row,) = made.ask(rule)

        assert (row["UserId"], row["ObjectId"], row["Verdict"]) == ("adele", "new", "new")
        assert row["Operations"] == ["New-InboxRule"]
        made.put([new, again])
        assert {r["Verdict"] for r in made.ask(rule)} == {"insufficient baseline"}


@pytest.mark.parametrize(
    ("by", "remembered"),
    [
        (("OrganizationId", "Caller"), True),
        (("Caller", "MailboxId"), True),
        (("OrganizationId", "Caller", "ClientAddress"), False),
        (("SessionId",), False),
    ],
)
def test_the_baseline_is_read_for_the_keys_that_it_has(
    by: tuple[str, ...], remembered: object
) -> None:
    text = to_kql(keyed(by, Operation="MailItemsAccessed"), ROOT)

    assert ("M365CallerBaseline_CL" in text) is remembered


def test_the_baseline_is_read_only_where_nothing_but_the_operation_is_asked() -> None:
    rule = keyed(NEW.by, Operation="MailItemsAccessed", IsThrottled="True")

    assert "M365CallerBaseline_CL" not in to_kql(rule, ROOT)


def test_rare_counts_any_key() -> None:
    first = FirstSeen("14d", "7d", Rare("ClientAddress", 3))
    rule = replace(keyed(("UserId", "ClientAddress"), Operation="UserLoggedIn"), first_seen=first)

    text = to_kql(rule, ROOT)

    before = "dcountif(ClientAddress, FirstArrived <= ago(recent + delay))"
    assert f"summarize ClientAddressCountBefore = {before}" in text
    since = "RareSince = min(FirstArrived) + recent"
    assert f"CountNow = dcount(ClientAddress), {since} by UserId" in text
    assert "max_of(RareSince, LastArrived) > ago(frequency + delay)" in text
    assert "lookup kind=inner spread on UserId" in text


@pytest.mark.parametrize("by", [("UserId",), ("ClientAddress",)])
def test_rare_must_count_one_of_two_or_more_keys(by: tuple[str, ...]) -> None:
    first = FirstSeen("14d", "7d", Rare("ClientAddress", 3))

    with pytest.raises(RuleError, match=r"first_seen\.rare\.count is not one of two"):
        to_kql(replace(keyed(by, Operation="UserLoggedIn"), first_seen=first), ROOT)
