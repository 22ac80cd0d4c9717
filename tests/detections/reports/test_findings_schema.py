"""The JSON of a hunt is what the schema that ships says it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from detections.commands.command import NEWCOMER, Ran, hunt, hunt_by_one_rule, intruded, read_at
from detections.exports.written import Record, purview
from detections.small_tenant import TWELVE_DAYS
from mailvigil.lab.tenant.portal_files import write_approved_csv, write_purview_csv
from mailvigil.reports.terminal import SCHEMA_VERSION

SCHEMA: dict[str, Any] = json.loads(
    files("mailvigil.reports").joinpath("findings.schema.json").read_text(encoding="utf-8")
)
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)


def faults(whole: object) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(whole)]


def objects(schema: object, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every part of the schema that describes an object with named fields."""
    if isinstance(schema, dict):
        if "properties" in schema and path.rpartition("/")[2] != "properties":
            yield path, schema
        for name, part in schema.items():
            yield from objects(part, f"{path}/{name}")


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)

    assert SCHEMA["properties"]["schema_version"]["const"] == SCHEMA_VERSION


@pytest.mark.parametrize(("path", "part"), list(objects(SCHEMA)))
def test_every_field_is_closed_required_and_described(path: str, part: dict[str, Any]) -> None:
    assert part["additionalProperties"] is False
    assert part["required"] == list(part["properties"]), path
    for name, field in part["properties"].items():
        shared = SCHEMA["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
        assert "description" in {*field, *shared}, f"{path}/{name}"


def outputs(ran: Ran) -> dict[str, object]:
    assert faults(ran.json) == []
    return ran.summary


def test_a_hunt_prints_what_the_schema_says(folder: Path, export: Path) -> None:
    (folder / "notes.txt").write_text("hello\n", encoding="utf-8")
    broken = {**read_at(3, 300), "CreationTime": "soon"}
    (folder / "export.csv").write_bytes(purview([*intruded(), broken]))

    every = outputs(hunt_by_one_rule("."))
    outputs(hunt_by_one_rule(export, "--as-of", "2026-01-15T15:00:00.5", "--memory", "14d"))
    outputs(hunt_by_one_rule(export, "--save", "kept.db", "--step", "8h"))
    kept = outputs(hunt_by_one_rule("--workspace", "kept.db"))

    assert every["skipped_files"]
    assert every["unreadable_rows"]
    assert kept["files"] == []


def test_a_hunt_without_mail_reads_prints_what_the_schema_says(folder: Path) -> None:
    (folder / "export.csv").write_bytes(purview([read_at(0, 0, Operation="Send")]))

    assert outputs(hunt_by_one_rule("export.csv"))["span"] is None


def test_strange_records_print_what_the_schema_says(folder: Path) -> None:
    oddities: tuple[Record, ...] = (
        {"OperationCount": -3},
        {"OperationCount": None},
        {"OperationCount": "many", "SessionId": ""},
        {"UserId": "", "ClientIPAddress": "", "MailboxOwnerUPN": "", "OrganizationId": ""},
        {"AppId": "", "ClientInfoString": ""},
        {"TokenTenantId": "9188040d-6c67-4c5b-b112-36a304b66dad"},
    )
    strange: list[Record] = [
        {
            **read_at(10.5, 700 + number),
            "AppId": f"{NEWCOMER}{number}",
            "CreationTime": "2026-01-15T21:00:00.1234567",
            **fields,
        }
        for number, fields in enumerate(oddities)
    ]
    (folder / "export.csv").write_bytes(purview([*intruded(), *strange]))

    ran = hunt_by_one_rule("export.csv")

    assert len(ran.findings) >= len(strange)
    outputs(ran)


def test_a_whole_tenant_prints_what_the_schema_says(folder: Path) -> None:
    with (folder / "export.csv").open("w", encoding="utf-8", newline="") as out:
        write_purview_csv(TWELVE_DAYS, out)
    with (folder / "approved.csv").open("w", encoding="utf-8", newline="") as out:
        write_approved_csv(TWELVE_DAYS, out)

    ran = hunt("export.csv", "--approved", "approved.csv")

    assert len({found["rule"] for found in ran.findings}) >= 3
    outputs(ran)


def test_the_schema_refuses_a_wrong_result(export: Path) -> None:
    whole = json.loads(hunt_by_one_rule(export).out)
    [found] = whole["findings"]
    wrongs = (
        {"extra": 1},
        {"first": "2026-01-15T13:48:00"},
        {"first": "2026-01-15 13:48:00Z"},
        {"severity": "high"},
        {"records": 0},
        {"mailboxes": "adele@contoso.example"},
    )

    for wrong in wrongs:
        assert faults({**whole, "findings": [{**found, **wrong}]}), wrong
