"""The tables that rows can belong to, and how their rows are told apart."""

from __future__ import annotations

import pytest

from mailvigil.engine.shape_sql import TYPES
from mailvigil.exports.table_names import UnknownKindError, columns_of, table_of, tables


@pytest.mark.parametrize("name", sorted(tables()))
def test_every_table_has_a_time_and_known_types(name: str) -> None:
    columns = columns_of(name)

    assert columns["TimeGenerated"] == "datetime"
    assert set(columns.values()) <= TYPES.keys()
    assert len({column.lower() for column in columns}) == len(columns)


@pytest.mark.parametrize("name", sorted(tables()))
def test_the_type_column_decides(name: str) -> None:
    assert table_of(["Type"], [{"Type": name}]) == name


@pytest.mark.parametrize(
    ("row", "table"),
    [
        ({"OfficeWorkload": "", "Operation": ""}, "OfficeActivity"),
        ({"RecordId": "", "EventTime": "", "Operation": ""}, "M365Activity_CL"),
        ({"ActionType": "", "RawEventData": ""}, "CloudAppEvents"),
        ({"Category": "SignInLogs"}, "SigninLogs"),
        ({"Category": "ServicePrincipalSignInLogs"}, "AADServicePrincipalSignInLogs"),
        ({"Category": "ManagedIdentitySignInLogs"}, "AADManagedIdentitySignInLogs"),
        (
            {"UniqueTokenIdentifier": "", "UserPrincipalName": "", "IsInteractive": "true"},
            "SigninLogs",
        ),
        (
            {"UniqueTokenIdentifier": "", "UserPrincipalName": "", "IsInteractive": False},
            "AADNonInteractiveUserSignInLogs",
        ),
        ({"TimeGenerated [UTC]": "", "Name": ""}, None),
    ],
)
def test_columns_lead_to_their_table(row: dict[str, object], table: str | None) -> None:
    assert table_of(list(row), [row]) == table


def test_sign_ins_of_no_kind_are_refused() -> None:
    with pytest.raises(UnknownKindError, match="without a Type or Category"):
        table_of(["UniqueTokenIdentifier", "ServicePrincipalId"], [])
