"""The tables that rules may read: their columns have types of KQL, and records have an id."""

from __future__ import annotations

from audit_feed.columns import load_table
from mailvigil.tables.record_tables import RECORD_TABLES
from mailvigil.tables.schemas import OWN_TABLES, WATCHLIST_COLUMNS, schemas

KQL_TYPES = {
    "bool", "datetime", "decimal", "dynamic", "guid", "int", "long", "real", "string", "timespan",
}  # fmt: skip


def test_every_column_has_a_type_of_kql() -> None:
    kinds = {kind for columns in schemas().values() for kind in columns.values()}

    assert "dynamic" in kinds
    assert kinds <= KQL_TYPES


def test_the_tables_of_the_connector_have_the_columns_that_it_fills_in_their_order() -> None:
    for name in OWN_TABLES:
        assert list(schemas()[name]) == [column.name for column in load_table(name).columns]


def test_every_table_of_records_has_the_column_that_holds_a_records_id() -> None:
    for table in RECORD_TABLES.values():
        column, _, field = table.record_id.partition(".")
        assert schemas()[table.name][column] == ("dynamic" if field else "string")


def test_every_table_but_the_watchlists_says_when_a_row_is_of() -> None:
    without = [
        name
        for name, columns in schemas().items()
        if not {"TimeGenerated", "Timestamp"} & {*columns}
    ]

    assert without == ["_Watchlists"]


def test_a_watchlist_has_its_own_columns_and_those_that_every_one_has() -> None:
    [approved] = WATCHLIST_COLUMNS.values()

    assert {*schemas()["_Watchlists"]} == {"_Alias", "SearchKey", *approved}
