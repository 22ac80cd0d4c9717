"""Plain pySigma converts the rules through our pipelines, for a workspace without mailvigil."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner
from sigma.cli.convert import convert

from detections.commands.command import quiet_days
from detections.exports.written import Record
from mailvigil.compiler.compile import PIPELINE
from mailvigil.compiler.parser import Validator
from mailvigil.compiler.select import record_level
from mailvigil.engine.embedded import Engine
from mailvigil.engine.record_rows import SHAPERS, insert
from mailvigil.engine.workspace import END_OF_TIME, open_workspace
from mailvigil.rules.content import load_functions
from mailvigil.rules.load_rules import load_rules
from mailvigil.rules.sigma_rule import SigmaRule
from mailvigil.tables.record_tables import RECORD_TABLES
from mailvigil.workbench.ruletest import load_cases, test_path

TABLES = {
    **{table.pipeline: table.name for table in RECORD_TABLES.values()},
    PIPELINE: "MailItemsAccessed",
}
RECORD_ID = {
    "M365Activity_CL": "RecordId",
    "OfficeActivity": "OfficeId",
    "CloudAppEvents": "tostring(RawEventData.Id)",
    "MailItemsAccessed": "RecordId",
}
CONSUMER = "9188040d-6c67-4c5b-b112-36a304b66dad"


def is_read(record: Mapping[str, object]) -> bool:
    return record["Operation"] == "MailItemsAccessed"


def is_throttled(record: Mapping[str, object]) -> bool:
    properties = record.get("OperationProperties", [])
    assert isinstance(properties, list)
    return is_read(record) and {"Name": "IsThrottled", "Value": "True"} in properties


def is_foreign(record: Mapping[str, object]) -> bool:
    issuer = str(record["TokenTenantId"]).lower()
    own = str(record["OrganizationId"]).lower()
    return is_read(record) and bool(issuer) and (issuer == CONSUMER or own not in {"", issuer})


SELECTS: Mapping[str, Callable[[Mapping[str, object]], bool]] = {
    "caller_new_to_mailbox": is_read,
    "caller_new_to_tenant": is_read,
    "foreign_token_tenant": is_foreign,
    "mailbox_throttled": is_throttled,
}
"""Which records each rule's detection is about, said without KQL and Sigma."""

USES = [
    (rule, table)
    for rule in SELECTS
    for table in RECORD_ID
    if (rule, table) != ("foreign_token_tenant", "OfficeActivity")  # it has no such field
]


def rule_of(name: str, root: Path) -> SigmaRule:
    [rule] = [rule for rule in load_rules(root) if rule.name == name]
    assert isinstance(rule, SigmaRule)
    return rule


@pytest.fixture(scope="module")
def validator(checkout: Path) -> Iterator[Validator]:
    with Validator(load_functions(checkout)) as opened:
        yield opened


def words(name: str, pipeline: str) -> list[str]:
    """Return what follows ``sigma convert`` to convert a rule, in a checkout."""
    rule = f"sigma/rules/mail_access/{name}.yml"
    return ["-t", "kusto", "-p", f"sigma/pipelines/{pipeline}", rule]


@pytest.mark.parametrize("name", ["mailbox_throttled", "caller_new_to_tenant"])
@pytest.mark.parametrize("pipeline", TABLES)
def test_the_public_command_prints_kql_of_the_table(
    pipeline: str,
    name: str,
    checkout: Path,
    validator: Validator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(checkout)

    done = CliRunner().invoke(convert, words(name, pipeline))

    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(TABLES[pipeline])
    assert 'Operation =~ "MailItemsAccessed"' in done.stdout
    assert validator.analyse(done.stdout).diagnostics == ()
    assert done.stdout.strip() == record_level(rule_of(name, checkout), checkout, pipeline).strip()


def test_the_installed_command_prints_what_its_function_prints(checkout: Path) -> None:
    sigma = str(Path(sys.executable).with_name("sigma"))
    command = [sigma, "convert", *words("mailbox_throttled", PIPELINE)]

    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    query = record_level(rule_of("mailbox_throttled", checkout), checkout, PIPELINE)
    assert done.stdout.strip() == query.strip()


@pytest.mark.parametrize("pipeline", TABLES)
@pytest.mark.parametrize("name", SELECTS)
def test_microsofts_parser_accepts_a_record_level_query(
    pipeline: str, name: str, checkout: Path, validator: Validator
) -> None:
    query = record_level(rule_of(name, checkout), checkout, pipeline)

    assert query.startswith(TABLES[pipeline])
    assert validator.analyse(query).diagnostics == ()


def shown_records(name: str, root: Path) -> list[Record]:
    """Return the records of all cases of the rule's tests, each under an id of its own."""
    cases = load_cases(test_path(rule_of(name, root)))
    given = [dict(record) for case in cases for record in case.given]
    return [{**record, "Id": f"r{number}"} for number, record in enumerate(given)]


@pytest.mark.parametrize(("name", "table"), USES)
def test_a_record_level_query_selects_the_records_of_the_rule(
    name: str, table: str, checkout: Path, tmp_path: Path
) -> None:
    [pipeline] = [file for file, of in TABLES.items() if of == table]
    records = [*shown_records(name, checkout), {**quiet_days(1)[0], "Operation": "Send"}]
    source = table if table in SHAPERS else "M365Activity_CL"
    con = open_workspace(None, tmp_path)
    insert(con, source, [SHAPERS[source]({"TokenTenantId": "", **r}) for r in records])
    engine = Engine(con, load_functions(checkout))
    query = record_level(rule_of(name, checkout), checkout, pipeline)

    rows = engine.run(engine.prepare(f"{query}\n| project Found = {RECORD_ID[table]}"), END_OF_TIME)
    con.close()

    expected = {r["Id"] for r in records if SELECTS[name]({"TokenTenantId": "", **r})}
    assert sorted(str(row["Found"]) for row in rows) == sorted(str(id_) for id_ in expected)
    assert expected
    assert len(expected) < len(records)
