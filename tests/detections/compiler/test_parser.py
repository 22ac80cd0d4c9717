"""Microsoft's parser says what a workspace would refuse, with the place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from detections.small_tenant import FUNCTIONS, ROOT, RULES, SINGLE
from mailvigil.compiler.compile import record_rows, to_kql
from mailvigil.compiler.parser import Validator
from mailvigil.compiler.select import record_level
from mailvigil.rules.content import Function
from mailvigil.rules.rule import Rule
from mailvigil.rules.sigma_rule import SigmaRule
from mailvigil.tables.record_tables import RECORD_TABLES
from mailvigil.tables.schemas import ARRIVED

EACH_RULE = pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: str(rule.name))
EACH_FUNCTION = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: str(f.name))


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    with Validator(FUNCTIONS) as made:
        yield made


@pytest.mark.parametrize(
    ("kql", "code", "line", "column", "named"),
    [
        ("M365Activity_CL\n| where Nope == 1", "KS142", 2, 9, "'Nope'"),
        ("M365Activity_CL\n| where appid == ''", "KS142", 2, 9, "'appid'"),
        ("NoTable | count", "KS204", 1, 1, "'NoTable'"),
        ("M365Activity_CL\n| extend A = nope(AppId)", "KS211", 2, 14, "'nope"),
        ("M365Activity_CL | where AppId", "KS141", 1, 25, "AppId"),
        ("M365Activity_CL\n\n  | where EventTime - 'x' > 1d", "KS106", 3, 21, "-"),
        ("MailItemsAccessed() | project TimeGenerated, Tenant", "KS142", 1, 46, "'Tenant'"),
        ("MailItemsAccessed(1d, 2)", "KS119", 1, 1, "MailItemsAccessed"),
        ("_GetWatchlist('ApprovedMailCallers') | project Nope", "KS142", 1, 48, "'Nope'"),
    ],
)
def test_a_mistake_is_found_where_it_is(
    validator: Validator, kql: str, code: str, line: int, column: int, named: str
) -> None:
    (found, *_) = validator.analyse(kql).diagnostics

    assert (found.code, found.severity) == (code, "Error")
    assert (found.line, found.column) == (line, column)
    assert named in found.message


def test_a_load_that_ctrl_c_ends_leaves_no_half_of_the_parser(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted() -> list[Path]:
        raise KeyboardInterrupt

    with Validator(()) as validator:
        monkeypatch.setattr("mailvigil.compiler.parser._parser_scripts", interrupted)
        with pytest.raises(KeyboardInterrupt):
            validator.complete("pri", 3)
        monkeypatch.undo()

        assert validator.complete("pri", 3) == (0, ["print"])


def test_a_syntax_error_is_found(validator: Validator) -> None:
    found = validator.analyse("M365Activity_CL\n| where (AppId == 'x'").diagnostics

    assert [(one.severity, one.line) for one in found] == [("Error", 2)]


def test_every_mistake_is_named(validator: Validator) -> None:
    found = validator.analyse("M365Activity_CL | project Nope, No2").diagnostics

    assert len(found) == 2


def test_columns_and_types_of_a_result_are_known(validator: Validator) -> None:
    analysis = validator.analyse("MailItemsAccessed() | summarize N = count() by Caller, EventTime")

    assert analysis.diagnostics == ()
    assert analysis.columns == {"Caller": "string", "EventTime": "datetime", "N": "long"}


def test_the_column_of_arrival_is_unknown_to_a_workspace(validator: Validator) -> None:
    assert validator.analyse("M365Activity_CL | project _arrived").diagnostics


def test_a_watchlist_of_the_tenants_own_is_accepted(validator: Validator) -> None:
    assert validator.analyse("_GetWatchlist('Mine') | project SearchKey").diagnostics == ()
    assert validator.analyse("_GetWatchlist('Mine') | project Own").diagnostics == ()


@EACH_FUNCTION
def test_every_shipped_function_is_accepted(validator: Validator, function: Function) -> None:
    assert validator.analyse(function.query).diagnostics == ()


@EACH_RULE
def test_every_compiled_rule_is_accepted(validator: Validator, rule: Rule) -> None:
    analysis = validator.analyse(to_kql(rule, ROOT))

    assert analysis.diagnostics == ()
    assert {*rule.by, "FirstSeen", "LastSeen"} <= set(analysis.columns)


@EACH_RULE
def test_the_records_of_every_rule_are_accepted(validator: Validator, rule: Rule) -> None:
    analysis = validator.analyse("\n".join(record_rows(rule, ROOT)).replace(ARRIVED, "Arrived"))

    assert analysis.diagnostics == ()
    assert {"EventTime", "RecordId"} <= set(analysis.columns)


@pytest.mark.parametrize("rule", SINGLE.values(), ids=lambda rule: str(rule.name))
def test_every_rule_is_accepted_on_each_table_it_names(
    validator: Validator, rule: SigmaRule
) -> None:
    for source in rule.sources:
        text = record_level(rule, ROOT, RECORD_TABLES[source].pipeline)
        assert validator.analyse(text).diagnostics == ()


def test_quotes_and_line_breaks_of_a_query_reach_the_parser(validator: Validator) -> None:
    assert validator.analyse("print A = 'it\\'s \\\\ \"x\"'\r\n| extend é = 1").diagnostics
    assert validator.analyse("print A = \"it's\"\n| extend B = '\\n😀'").diagnostics == ()
