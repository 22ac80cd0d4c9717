"""A packaged query finds what the compiled one finds, without the rows that are no alert."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mailvigil.engine.embedded import Engine
from mailvigil.engine.workspace import open_workspace
from mailvigil.hunt.approved import load_approved
from mailvigil.rules.content import content_root, load_functions
from mailvigil.rules.durations import duration
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.metadata import INSUFFICIENT, EntityMapping
from mailvigil.rules.sigma_rule import SigmaRule
from mailvigil.sentinel.analytics import Analytic, iso_duration, minutes_of
from mailvigil.sentinel.compiled_content import Pack
from mailvigil.sentinel.query_content import connectors, entity_mappings, short_description
from mailvigil.workbench.ruletest import CaseRunner, load_cases
from mailvigil.workbench.ruletest import test_path as path_of_tests

ROOT = content_root()
RULES = {rule.name: rule for rule in load_rules(ROOT)}
SIGMA = {name: rule for name, rule in RULES.items() if isinstance(rule, SigmaRule)}
[FIRST, *_] = SIGMA.values()


def one_of_each_kind() -> list[str]:
    """Return a rule of each form that a packaged query can have: the rest differs in words."""
    found: dict[object, str] = {}
    for rule in RULES.values():
        found.setdefault((rule.kind, rule.schedule.kind, rule.first_seen is None), rule.name)
    return list(found.values())


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    found = open_workspace(None, tmp_path_factory.mktemp("scratch"))
    yield found
    found.close()


@pytest.mark.parametrize("name", one_of_each_kind())
def test_a_packaged_query_passes_the_first_firing_case_of_its_rule(
    name: str, pack: Pack, con: duckdb.DuckDBPyConnection
) -> None:
    rule = RULES[name]
    [analytic] = [one for one in pack.analytics if one.name == name]
    case = next(
        case
        for case in load_cases(path_of_tests(rule))
        if case.expect and not any(row.get("Verdict") == INSUFFICIENT for row in case.expect)
    )
    told = [{**row, "MailvigilRule": name} for row in case.expect]

    outcomes = CaseRunner(con, load_functions(ROOT)).outcomes(
        replace(rule, sources=rule.sources[:1]), analytic.query, [replace(case, expect=tuple(told))]
    )

    assert {outcome.verdict: outcome.problems for outcome in outcomes} == {"pass": ()}


@pytest.mark.parametrize("name", RULES)
def test_alerts_of_one_cause_become_one_incident(name: str, pack: Pack) -> None:
    rule = RULES[name]
    [analytic] = [one for one in pack.analytics if one.name == name]

    grouping = analytic.incident()["groupingConfiguration"]
    assert isinstance(grouping, dict)
    assert grouping["groupByCustomDetails"] == ["MailvigilCause"]
    assert (grouping["enabled"], grouping["matchingMethod"]) == (True, "Selected")
    assert duration(analytic.repeats) >= min(2 * duration(rule.within), timedelta(days=7))
    keys = ", ".join(f"tostring({key})" for key in rule.by)
    assert f"MailvigilCause = strcat_delim('|', {keys})" in analytic.query


def test_the_period_holds_the_window_of_a_correlation(pack: Pack) -> None:
    for rule in (rule for rule in SIGMA.values() if rule.correlation):
        [analytic] = [one for one in pack.analytics if one.name == rule.name]
        [found] = [one for one in pack.detections if one.name == rule.name]

        assert rule.correlation
        assert duration(analytic.period) == rule.late + rule.correlation.length
        assert duration(found.period) == duration(rule.within) + rule.correlation.length


def test_a_row_of_too_little_history_does_not_become_an_alert(
    pack: Pack, con: duckdb.DuckDBPyConnection
) -> None:
    rule = RULES["caller_new_to_tenant"]
    [analytic] = [one for one in pack.analytics if one.name == rule.name]
    case = next(
        case
        for case in load_cases(path_of_tests(rule))
        if case.expect and all(row.get("Verdict") == INSUFFICIENT for row in case.expect)
    )

    outcomes = CaseRunner(con, load_functions(ROOT)).outcomes(
        replace(rule, sources=rule.sources[:1]), analytic.query, [replace(case, expect=())]
    )

    assert {outcome.verdict: outcome.problems for outcome in outcomes} == {"pass": ()}


def said(why: str, **columns: str) -> Analytic:
    by = tuple(columns)[:1]
    rule = replace(FIRST, why=why, by=by, first_seen=None, alert_name="", alert_description="")
    values = ", ".join(f"{name} = {value}" for name, value in columns.items())
    return Analytic.of(rule, f"print {values}\n", columns)


def alert_text(analytic: Analytic, con: duckdb.DuckDBPyConnection) -> object:
    engine = Engine(con, ())
    [row] = engine.run(engine.prepare(analytic.query), datetime(2026, 1, 1, tzinfo=UTC))
    return row["AlertText"]


def test_a_sentence_of_four_columns_is_filled_in_by_the_query(
    con: duckdb.DuckDBPyConnection,
) -> None:
    analytic = said("it's $A \\ ${B}, $C and $D.", A="'x'", B="2", C="''", D="dynamic(['y'])")

    assert analytic.alert_description == "{{AlertText}}"
    assert alert_text(analytic, con) == 'it\'s x \\ 2,  and ["y"].'


def test_a_sentence_of_three_columns_is_filled_in_by_sentinel() -> None:
    analytic = said("$CallerName read $B and $C.", Caller="1", B="2", C="3")

    assert analytic.alert_description == "{{Caller}} read {{B}} and {{C}}."
    assert "AlertText" not in analytic.query


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_read_back_from_its_yaml(name: str, pack: Pack) -> None:
    [analytic] = [one for one in pack.analytics if one.name == name]

    read = Analytic.from_yaml(name, analytic.as_yaml())

    # Tables of the pack itself have no connector, so the YAML does not name them.
    assert replace(read, sources=analytic.sources) == analytic


def test_identifiers_of_one_account_are_one_entity() -> None:
    name, suffix = EntityMapping("Account", "Name", "A"), EntityMapping("Account", "UPNSuffix", "B")
    other = EntityMapping("Account", "Name", "C")

    kinds = [
        [field["columnName"] for field in mapping["fieldMappings"]]  # type: ignore[attr-defined]  # JSON
        for mapping in entity_mappings([name, suffix, other])
    ]

    assert kinds == [["A", "B"], ["C"]]


def test_tables_of_one_connector_name_it_once() -> None:
    assert connectors(["SigninLogs", "AuditLogs", "M365Activity_CL"]) == [
        {"connectorId": "AzureActiveDirectory", "dataTypes": ["SigninLogs", "AuditLogs"]}
    ]


@pytest.mark.parametrize(
    ("text", "iso", "minutes"), [("14d", "P14D", 20_160), ("6h", "PT6H", 360), ("5m", "PT5M", 5)]
)
def test_a_duration_keeps_its_length_in_iso_form(text: str, iso: str, minutes: int) -> None:
    assert iso_duration(text) == iso
    assert minutes_of(iso) == minutes


@pytest.mark.parametrize("text", ["", "P", "PT", "P1W", "1h", None])
def test_what_is_not_a_duration_has_no_minutes(text: object) -> None:
    assert minutes_of(text) is None


def test_the_template_of_the_watchlist_can_be_read(
    checkout: Path, con: duckdb.DuckDBPyConnection
) -> None:
    assert load_approved(con, checkout / "kql/watchlists/ApprovedMailCallers.csv") == 1


def test_the_example_in_the_template_approves_nobody(
    checkout: Path, con: duckdb.DuckDBPyConnection
) -> None:
    load_approved(con, checkout / "kql/watchlists/ApprovedMailCallers.csv")
    engine = Engine(con, load_functions(ROOT))

    rows = engine.run(engine.prepare("ApprovedMailCallers()"), datetime(2026, 6, 1, tzinfo=UTC))

    assert rows == []


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("Detects a caller.\n  It reads.", "Identifies a caller. It reads."),
        ("Detects a caller. " + "X" * 240, "Identifies a caller."),
        ("This query searches for A.", "This query searches for A."),
    ],
)
def test_a_description_is_its_first_sentences_that_the_gallery_takes(text: str, short: str) -> None:
    assert short_description(text) == short


def test_the_lookback_of_a_yaml_is_iso_8601(pack: Pack) -> None:
    [analytic] = [one for one in pack.analytics if one.name == "mailbox_throttled"]

    incident: Any = analytic.as_yaml()["incidentConfiguration"]
    assert incident["groupingConfiguration"]["lookbackDuration"] == iso_duration(analytic.repeats)
