"""KQL rules in Defender XDR: their functions are in the query, and it finds what the rule finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from detections.small_tenant import ROOT, RULES
from mailvigil.compiler.compile import to_kql
from mailvigil.compiler.defender_limits import check_fit, fits, lacking, tables, watchlists
from mailvigil.compiler.parser import Validator
from mailvigil.compiler.targets import DEFENDER
from mailvigil.engine.workspace import open_workspace
from mailvigil.errors import UnfitError
from mailvigil.rules.kql_rule import KqlRule
from mailvigil.tables.schemas import APPROVED_CALLERS
from mailvigil.workbench.ruletest import CaseRunner, load_cases
from mailvigil.workbench.ruletest import test_path as path_of_tests

KQL = {name: rule for name, rule in RULES.items() if isinstance(rule, KqlRule)}
FIT = sorted(name for name, rule in KQL.items() if fits(rule))
HEAD = "let events = CloudAppEvents\n"
DEFENDERS_COLUMNS = (
    "    | extend Timestamp = TimeGenerated, ReportId = tostring(RawEventData.Id),"
    " AccountObjectId = tostring(RawEventData.UserKey)\n"
)
"""What the table has in Defender; the local one is that of a workspace."""


@pytest.fixture(scope="module")
def defender() -> Iterator[Validator]:
    """Return Microsoft's parser, which knows the tables of Defender XDR and nothing else."""
    with Validator(()) as made:
        made.declare((), tables(), watchlists())
        yield made


@pytest.mark.parametrize("name", FIT)
def test_a_form_resolves_with_defenders_tables_alone(name: str, defender: Validator) -> None:
    analysis = defender.analyse(to_kql(KQL[name], ROOT, DEFENDER))

    assert analysis.diagnostics == ()
    assert lacking(frozenset(analysis.columns)) == []
    assert {*KQL[name].by, "FirstSeen", "LastSeen"} <= set(analysis.columns)


def test_a_watchlist_does_not_resolve_in_defender(defender: Validator) -> None:
    analysis = defender.analyse(f"_GetWatchlist('{APPROVED_CALLERS}') | project Caller")

    assert analysis.diagnostics != ()


def test_fifteen_kql_rules_have_a_form() -> None:
    assert len(FIT) == 15


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("read_without_sign_in", "it needs one of SigninLogs, "),
        ("audit_feed_unhealthy", "it alerts on records that did not come"),
        ("mailbox_stopped_logging", "its records have no column State"),
    ],
)
def test_a_rule_that_defender_cannot_have_says_why(name: str, reason: str) -> None:
    with pytest.raises(UnfitError) as refused:
        check_fit(KQL[name])

    assert [problem for problem in refused.value.problems if reason in problem]


@pytest.mark.parametrize(
    "name", ["app_only_new_to_mailbox", "consent_then_mail_read", "mailbox_audit_reduced"]
)
def test_a_form_passes_the_cases_of_its_rule(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rule = replace(KQL[name], sources=("CloudAppEvents",))
    # Defender has neither the watchlist nor the table of known callers.
    every = load_cases(path_of_tests(rule))
    cases = [case for case in every if not case.approved and not case.baseline]
    kql = to_kql(rule, ROOT, DEFENDER)
    con = open_workspace(None, tmp_path_factory.mktemp("scratch"))

    outcomes = list(
        CaseRunner(con, ()).outcomes(rule, kql.replace(HEAD, HEAD + DEFENDERS_COLUMNS), cases)
    )

    con.close()
    assert HEAD in kql
    assert {outcome.verdict: outcome.problems for outcome in outcomes} == {"pass": ()}


def form(query: str) -> str:
    """Return the form of a rule with this *query*."""
    return to_kql(replace(KQL["app_from_new_network"], query=query, by=("Caller",)), ROOT, DEFENDER)


def test_a_leg_over_a_table_of_sentinel_is_left_out_and_what_follows_the_union_stays() -> None:
    query = (
        "let records = union isfuzzy=true (datatable(X:string)[]),\n"
        "    (SigninLogs | where IPAddress != ')' and City has '(,'), (CloudAppEvents | take 1)\n"
        "    | where X != '';\n"
    )

    assert (
        "let records = union isfuzzy=true\n"
        "          (datatable(X:string)[]), (CloudAppEvents | take 1)\n"
        "    | where X != '';\n"
    ) in form(query)


def test_a_rule_keeps_the_columns_that_it_names_and_no_others() -> None:
    text = form("let records = MailItemsAccessed(1d)\n    | where UserType == 5;\n// DeviceId\n")

    [events] = [part for part in text.split(";\n") if "| project " in part]
    columns = events.partition("| project ")[2]
    assert "UserType = toint(Record.UserType)" in columns
    assert "DeviceId" not in columns
    assert columns.startswith("Timestamp, ReportId, AccountObjectId,")


def test_a_rule_that_judges_what_came_since_its_last_run_looks_back_to_defenders_last_run() -> None:
    query = "let frequency = 1h;\nlet memory = 14d;\nlet records = MailItemsAccessed(memory);\n"
    text = form(query)

    assert "\nlet frequency = 1d;\n" in text
    assert "| where Timestamp > ago(14d)\n" in text


def test_when_a_record_came_is_asked_of_the_table_where_a_rule_goes_by_it() -> None:
    query = "let records = MailItemsAccessed(3d)\n    | where Arrived > ago(1h);\n"

    assert "Arrived = coalesce(ingestion_time(), Timestamp)" in form(query)
    assert "ingestion_time" not in form(query.replace("Arrived", "EventTime"))
