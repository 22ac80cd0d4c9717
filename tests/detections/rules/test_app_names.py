"""The catalogue of application names can be trusted to name, and to do nothing else."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import pytest

from mailvigil.errors import InputError
from mailvigil.rules.app_names import AppName, catalogue, find, first_party_ids, name_of

ROWS = json.loads(files("mailvigil.rules").joinpath("app_names.json").read_text(encoding="utf-8"))
GUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_every_row_is_complete(row: dict[str, str]) -> None:
    assert row.keys() == {"id", "name", "party", "what"}
    assert GUID.fullmatch(row["id"])
    assert row["name"].strip() == row["name"] != ""
    assert row["what"].strip() == row["what"] != ""
    assert row["party"] in {"microsoft", "third-party", "third-party-abused"}


def test_each_id_and_each_name_is_in_the_catalogue_once() -> None:
    assert len({row["id"] for row in ROWS}) == len(ROWS) == len(catalogue())
    assert len({row["name"] for row in ROWS}) == len(ROWS)


def test_an_id_is_found_in_any_case() -> None:
    assert name_of("9199BF20-A13F-4107-85DC-02114787EF48") == "Outlook on the web"
    assert name_of(" 00000003-0000-0000-c000-000000000000 ") == "Microsoft Graph"


def test_an_unknown_id_has_no_name() -> None:
    assert name_of("c0000000-0000-4000-a000-000000000001") is None
    assert find("") is None


def test_first_party_ids_leave_other_peoples_apps_out() -> None:
    assert "00000002-0000-0ff1-ce00-000000000000" in first_party_ids()
    assert "f8d98a96-0999-43f5-8af3-69971c7bb423" not in first_party_ids()
    assert "ff8d92dc-3d82-41d6-bcbd-b9174d163620" not in first_party_ids()


def test_a_row_of_an_unknown_party_is_refused() -> None:
    with pytest.raises(InputError, match=r"app_names\.json: .*unknown party 'apple'"):
        AppName.load({"id": "x", "name": "x", "party": "apple", "what": "x"})
