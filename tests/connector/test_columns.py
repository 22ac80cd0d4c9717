"""A table file says each column once, and what it says wrongly is refused."""

from __future__ import annotations

import pytest

from audit_feed.columns import READS, TYPES, Column, load_table

ACTIVITY = load_table("M365Activity_CL")


@pytest.mark.parametrize("name", ["M365Activity_CL", "M365CallerBaseline_CL"])
def test_every_column_is_there_once_and_described(name: str) -> None:
    table = load_table(name)
    names = [column.name for column in table.columns]

    assert table.name == name
    assert len(names) == len(set(names))
    assert all(column.type in TYPES and column.description for column in table.columns)


def test_no_column_has_a_reserved_name() -> None:
    names = {column.name for column in ACTIVITY.columns}

    assert not names & {"Id", "Title", "Type", "TenantId", "UniqueId"}


def test_only_a_field_that_stays_unchanged_is_held() -> None:
    holds = {column.name: column.holds for column in ACTIVITY.columns}

    assert (holds["RecordId"], holds["EventTime"], holds["ExternalAccess"]) == (
        "Id",
        "CreationTime",
        "ExternalAccess",
    )
    for name in ("ClientAddress", "Caller", "Protocol", "AADSessionId", "IsThrottled", "Record"):
        assert holds[name] == ""


@pytest.mark.parametrize("wrong", [{"type": "text"}, {"type": ""}, {"read": "position"}])
def test_an_unknown_type_or_read_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="unknown type"):
        Column.load({"name": "A", "type": "string", "description": "d", **wrong})


def test_a_column_without_a_description_is_refused() -> None:
    with pytest.raises(KeyError):
        Column.load({"name": "A", "type": "string"})


def test_a_column_that_no_record_fills_has_no_sources() -> None:
    column = Column.load({"name": "A", "type": "string", "description": "d"})

    assert (column.sources, column.read, column.holds) == ((), "", "")
    assert "" not in READS


def test_a_table_that_is_not_there_is_refused() -> None:
    with pytest.raises(FileNotFoundError):
        load_table("Nothing_CL")
