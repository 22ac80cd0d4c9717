"""The JSON schemas of rules and tests: they fit the pack, know the loaders' keys, explain each."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from detections.commands.command import version_in
from detections.small_tenant import ROOT
from mailvigil.rules import correlation_rule
from mailvigil.rules.attributes import Attributes
from mailvigil.rules.hunting_query import parse_hunting
from mailvigil.rules.kql_rule import parse_kql_rule
from mailvigil.rules.metadata import SEVERITIES, EntityMapping
from mailvigil.rules.sigma_rule import SEVERITY_OF_LEVEL, parse_sigma_rule
from mailvigil.workbench import ruletest
from mailvigil.workbench.rule_schema import (
    KQL_RULE,
    LIMITS,
    SIGMA_RULE,
    TEST,
    first_line,
    misformed,
    schema_files,
)

CHECKOUT = Path(__file__).resolve().parents[3]
SCHEMAS: dict[Path, dict[str, Any]] = {
    schema: json.loads((CHECKOUT / schema).read_text(encoding="utf-8"))
    for schema in (SIGMA_RULE, KQL_RULE, TEST)
}
FOR_READERS = {
    "status",
    "requiredDataConnectors",
    "triggerOperator",
    "triggerThreshold",
    "eventGroupingSettings.aggregationKind",
}
"""Keys of Sentinel's form that the loader leaves alone: what is packaged has its own values."""


def resolved(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Return *part* with what it refers to."""
    reference = part.get("$ref", "").rpartition("/")[2]
    return {**schema["$defs"][reference], **part} if reference else part


def properties(schema: dict[str, Any], *path: str) -> dict[str, Any]:
    """Return the keys that *path*, below ``$defs``, has."""
    part = schema["$defs"][path[0]]
    for key in path[1:]:
        part = resolved(schema, part["properties"][key])
    found: dict[str, Any] = part["properties"]
    return found


def leaves(schema: dict[str, Any], name: str) -> Iterator[str]:
    """Yield the keys below ``$defs``/*name* that hold no further keys, as paths."""
    return _leaves(schema, schema["$defs"][name], "")


def _leaves(schema: dict[str, Any], part: dict[str, Any], prefix: str) -> Iterator[str]:
    for key, value in part["properties"].items():
        found = resolved(schema, value)
        if "properties" in found:
            yield from _leaves(schema, found, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Record every key that a loader asks for."""
    names: set[str] = set()
    find = Attributes._find  # noqa: SLF001 - every way to read a key goes through it

    def recorded(self: Attributes, name: str) -> object:
        names.add(name)
        return find(self, name)

    monkeypatch.setattr(Attributes, "_find", recorded)
    return names


def without_parents(names: set[str]) -> set[str]:
    """Return *names* but for those that only hold others."""
    return {name for name in names if not any(other.startswith(f"{name}.") for other in names)}


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_a_schema_is_of_draft_2020_12(schema: Path) -> None:
    Draft202012Validator.check_schema(SCHEMAS[schema])
    assert SCHEMAS[schema]["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_file_of_the_pack_fits_its_schema() -> None:
    assert set(schema_files(CHECKOUT).values()) == set(SCHEMAS)
    assert misformed(CHECKOUT) == ()


def test_every_document_of_the_pack_names_its_schema() -> None:
    for path, schema in schema_files(CHECKOUT).items():
        line = first_line(path, CHECKOUT / schema)
        for document in path.read_text(encoding="utf-8").split("\n---\n"):
            assert document.startswith(f"{line}\n"), path
        assert (path.parent / line.rpartition("=")[2]).resolve() == CHECKOUT / schema


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_every_key_is_explained_in_whole_sentences(schema: Path) -> None:
    def unexplained(part: object, where: str) -> Iterator[str]:
        if isinstance(part, list):
            for item in part:
                yield from unexplained(item, where)
        elif isinstance(part, dict):
            for key, value in part.get("properties", {}).items():
                text = resolved(SCHEMAS[schema], value).get("description", "")
                if not re.fullmatch(r"[A-Z].*[.\])`]", text) and "not" not in value:
                    yield f"{where}.{key}: {text}"
            for key, value in part.items():
                # What is only asked of a key under a condition is explained where the key is.
                if key not in {"if", "then", "else", "allOf"}:
                    yield from unexplained(value, f"{where}.{key}")

    assert list(unexplained(SCHEMAS[schema], "")) == []


def test_the_schema_of_sigma_rules_has_the_keys_that_the_loader_reads(asked: set[str]) -> None:
    for path in (CHECKOUT / "sigma" / "rules").rglob("*.yml"):
        parse_sigma_rule(path, path.read_text(encoding="utf-8"))

    known = {
        f"{key}.{name}"
        for key in ("mailvigil", "first_seen")
        for name in leaves(SCHEMAS[SIGMA_RULE], key)
    }

    assert without_parents(asked) == known


@pytest.mark.parametrize("name", ["rule", "hunting_query"])
def test_the_schema_of_kql_files_has_the_keys_that_the_loader_reads(
    name: str, asked: set[str]
) -> None:
    folder = CHECKOUT / "kql" / {"rule": "analytics", "hunting_query": "hunting"}[name]
    parse = {"rule": parse_kql_rule, "hunting_query": parse_hunting}[name]
    for path in folder.glob("*.yaml"):
        if not path.name.endswith(".test.yaml"):
            parse(path, path.read_text(encoding="utf-8"))

    known = set(leaves(SCHEMAS[KQL_RULE], name))

    assert without_parents(asked) == known - FOR_READERS


def test_the_schema_of_correlations_has_the_keys_that_the_loader_knows() -> None:
    schema = SCHEMAS[SIGMA_RULE]
    condition = properties(schema, "correlation", "condition")

    assert set(properties(schema, "correlation")) == correlation_rule.KEYS
    assert set(condition) == {*correlation_rule.OPERATORS, "field", "percentile"}
    assert properties(schema, "correlation")["type"]["enum"] == list(correlation_rule.TYPES)


def test_the_schemas_of_entities_have_the_keys_that_the_loader_knows() -> None:
    entities = properties(SCHEMAS[SIGMA_RULE], "mailvigil")["entities"]

    assert set(entities["items"]["properties"]) == {field.name for field in fields(EntityMapping)}


def test_the_schema_of_tests_has_the_keys_that_the_loader_knows() -> None:
    schema = SCHEMAS[TEST]

    assert set(schema["properties"]) == ruletest.FILE_KEYS
    assert set(properties(schema, "case")) == ruletest.CASE_KEYS


def test_the_schemas_have_the_severities_that_the_loader_knows() -> None:
    levels = SCHEMAS[SIGMA_RULE]["$defs"]["level"]["enum"]

    assert properties(SCHEMAS[KQL_RULE], "rule")["severity"]["enum"] == list(SEVERITIES)
    assert {SEVERITY_OF_LEVEL[level] for level in levels} == set(SEVERITIES)
    assert set(SEVERITY_OF_LEVEL) == set(levels)


PLAIN = "sigma/rules/mail_access/mailbox_throttled"
VERSION = f"version: {version_in(ROOT / f'{PLAIN}.yml')}"
FIRST_SEEN = "sigma/rules/mail_access/caller_new_to_tenant"
CORRELATED = "sigma/rules/mail_access/session_of_several_users"
KQL = "kql/analytics/session_over_many"
HUNTING = "kql/hunting/messages_read"
FAULTS = [
    # File, what is changed in it, what it becomes, the text where the problem is, and its words.
    (f"{FIRST_SEEN}.yml", "level: high", "level: hi", "level: hi",
     "level is 'hi' (give one of informational, low, medium, high, critical)"),
    (f"{FIRST_SEEN}.yml", "level: high", "level:", "level:",
     "level is empty (give one of informational, low, medium, high, critical)"),
    (f"{FIRST_SEEN}.yml", "within: 1d", "within: one day", "within:",
     "first_seen.within is 'one day' (give one such as 14d, 6h, 30m)"),
    (f"{FIRST_SEEN}.yml", "    minimum_history: 7d\n", "", "first_seen:",
     "first_seen.minimum_history is missing (how much history must lie before the first match"),
    (f"{FIRST_SEEN}.yml", "    minimum_history: 7d\n", "    minimum_history: 7d\n    rar: 5\n",
     "rar: 5",
     "first_seen.rar is not known (there are by, within, baseline, minimum_history, rare)"),
    (f"{FIRST_SEEN}.yml", "    why:", "    by: [Caller]\n    why:", "by: [Caller]",
     "mailvigil.by does not belong here (with first_seen the keys are first_seen.by)"),
    (f"{FIRST_SEEN}.yml", "first_seen:", "first_sen:", "first_sen:",
     "first_sen is not known (there are title, id, name, "),
    (f"{PLAIN}.yml", "    within: 1d\n", "", "mailvigil:",
     "mailvigil.within is missing (without first_seen the window and the keys stand here)"),
    (f"{PLAIN}.yml", VERSION, "version:", "version:",
     "mailvigil.version is empty (give a text such as 1.0.0)"),
    (f"{PLAIN}.yml", VERSION, "version: v1", "version:",
     "mailvigil.version is 'v1' (give one such as 1.0.0)"),
    (f"{PLAIN}.yml", "falsepositives:", "fields:", "title: ",
     "falsepositives is missing (what harmless activity also matches, one sentence each, with"),
    (f"{PLAIN}.yml", "    alert_name:", "    alert_title:", "mailvigil:",
     "mailvigil.alert_name is missing (the name of an alert)"),
    (f"{PLAIN}.yml", "description: |", "description: ' '\nlicense: |", "description: ' '",
     "description is ' ' (give what matches \\S)"),
    (f"{PLAIN}.yml", "level: medium", "level: medium\nlevel: low", "level: low",
     "level is given twice (give it once)"),
    (f"{PLAIN}.yml", "service: audit", "service: exchange", "service:",
     "logsource.service is 'exchange' (give audit)"),
    (f"{PLAIN}.yml", "- A synchronising client of a new device.", "- 5", "5\nlevel",
     "falsepositives[1] is a number (give a text)"),
    (f"{PLAIN}.yml", "column: Address}", "col: Address}", "{type: IP",
     "mailvigil.entities[2].column is missing (the column of the result that has the value)"),
    (f"{CORRELATED}.yml", "timespan: 1d", "timespan: 1mo", "timespan:",
     "correlation.timespan is '1mo' (give one such as 30s, 10m, 6h, 1d)"),
    (f"{CORRELATED}.yml", "gte: 2", "atleast: 2", "atleast:",
     "correlation.condition.atleast is not known (there are gt, gte, lt, lte, eq, neq, field, "),
    (f"{CORRELATED}.yml", "gte: 2", "gte: two", "gte:",
     "correlation.condition.gte is a text (give a number)"),
    (f"{CORRELATED}.yml", "condition: mail_read", "condition: mail_read\nmailvigil: {}",
     "title: Mail read in a session",
     "description is missing (what the rule detects and why that matters, in whole sentences)"),
    (f"{KQL}.yaml", "bounded: true", "bounded: 1", "bounded:",
     "mailvigil.bounded is a number (give true or false)"),
    (f"{KQL}.yaml", "bounded: true", "bonded: true", "bonded:",
     "mailvigil.bonded is not known (there are sources, needs, by, new, within, always, bounded, "),
    (f"{KQL}.yaml", "triggerThreshold: 0", "triggerThreshold: 5", "triggerThreshold:",
     "triggerThreshold is 5 (give 0)"),
    (f"{KQL}.yaml", "kind: Scheduled", "kind: NRT", "queryFrequency:",
     "queryFrequency does not belong here (an NRT rule has no schedule)"),
    (f"{KQL}.yaml", "queryPeriod: 3d\n", "", "id: 3a7c",
     "queryPeriod is missing (a scheduled rule has it)"),
    (f"{KQL}.yaml", "kind: Scheduled\n", "", "id: 3a7c",
     "kind is missing (how Sentinel runs the rule: on a schedule, or near real time (NRT), on "),
    (f"{KQL}.yaml", "# yaml-language-server:", "#", "# $schema",
     "the first line does not name the schema (write # yaml-language-server: $schema=../rule.s"),
    (f"{HUNTING}.yaml", "sources: [M365Activity_CL, CloudAppEvents, OfficeActivity]",
     "sources: []", "sources: []", "mailvigil.sources is empty (fill it in)"),
    (f"{PLAIN}.test.yaml", "tests:", "table_default: {}\ntests:", "table_default:",
     "table_default is not known (there are now, defaults, table_defaults, tests)"),
    (f"{PLAIN}.test.yaml", "{Id: '1', at: -9h, Operation: C", "{Id: '1', at: 9h, Operation: C",
     "at: 9h",
     "tests[6].given[0].at is '9h' (give one such as -3d, -1d12h30m, -45m)"),
]  # fmt: skip


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """Return a folder with the schemas and nothing else."""
    for schema in SCHEMAS:
        (tmp_path / schema).parent.mkdir(exist_ok=True)
        shutil.copy(CHECKOUT / schema, tmp_path / schema)
    return tmp_path


def put(content: Path, name: str, text: str) -> Path:
    path = content / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def place(text: str, part: str) -> str:
    """Return line and column, from 1, at which *part* begins in *text*, where it is once."""
    head, *rest = text.split(part)
    assert len(rest) == 1, part
    return f"{head.count(chr(10)) + 1}:{len(head.rpartition(chr(10))[2]) + 1}"


@pytest.mark.parametrize(("name", "old", "new", "at", "problem"), FAULTS)
def test_a_fault_is_reported_with_its_place_and_what_is_allowed(
    content: Path, name: str, old: str, new: str, at: str, problem: str
) -> None:
    text = (CHECKOUT / name).read_text(encoding="utf-8")
    assert text.count(old) == 1
    changed = text.replace(old, new)
    path = put(content, name, changed)

    found = misformed(content)

    assert all(wrong.path == path for wrong in found)
    expected = f"{path}:{place(changed, at)}: {problem}"
    assert any(wrong.problem.startswith(expected) for wrong in found), found


def test_all_faults_of_a_file_are_reported_from_its_top_to_its_end(content: Path) -> None:
    text = (CHECKOUT / f"{KQL}.yaml").read_text(encoding="utf-8")
    for old, new in (("severity: Medium", "severity: Hi"), ("why:", "wy:"), ("id: 3", "id: X")):
        text = text.replace(old, new, 1)
    path = put(content, f"{KQL}.yaml", text)

    lines = [wrong.problem.removeprefix(f"{path}:").split(" ")[1] for wrong in misformed(content)]

    assert lines == ["id", "severity", "mailvigil.why", "mailvigil.wy"]


def test_a_key_that_overrides_a_merged_one_is_not_given_twice(content: Path) -> None:
    text = (CHECKOUT / f"{PLAIN}.test.yaml").read_text(encoding="utf-8")
    merged = "  - &case {name: a, expect: []}\n  - {<<: *case, name: b}\n"
    line = text.splitlines()[0]

    put(content, f"{PLAIN}.test.yaml", f"{line}\nnow: 2026-03-20T12:00:00\ntests:\n{merged}")

    assert misformed(content) == ()


@pytest.mark.parametrize("text", [b"a: [", b"\xff\xfe"])
def test_a_file_that_is_not_yaml_is_left_to_its_loader(content: Path, text: bytes) -> None:
    path = put(content, f"{KQL}.yaml", "")
    path.write_bytes(text)

    assert misformed(content) == ()


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_every_keyword_of_the_schemas_has_words_for_its_refusal(schema: Path) -> None:
    def keywords(part: object) -> Iterator[str]:
        if isinstance(part, list):
            for item in part:
                yield from keywords(item)
        elif isinstance(part, dict):
            for key, value in part.items():
                if key in {"properties", "$defs"}:
                    yield from keywords(list(value.values()))
                elif key not in {"examples", "if"}:
                    yield key
                    yield from keywords(value)

    said = {"required", "additionalProperties", "type", "enum", "const", "pattern", "not"}
    silent = {"$schema", "$ref", "title", "description", "items", "then", "else", "allOf"}
    assert set(keywords(SCHEMAS[schema])) <= said | silent | set(LIMITS)
