"""Names for application ids that matter to mail: for reading an alert, never for silence.

The catalogue is written by hand and is not complete. An id that is in it is not thereby
harmless: in 2023 the intruder's was Microsoft's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, get_args

from mailvigil.errors import InputError

Party = Literal["microsoft", "third-party", "third-party-abused"]

CATALOGUE = "app_names.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppName:
    """One application: its id in lower case, what to call it, whose it is, what it does.

    ``third-party-abused`` is an app that is known from account takeovers, whatever its
    maker meant it for.
    """

    id: str
    name: str
    party: Party
    what: str

    @classmethod
    def load(cls, row: Mapping[str, str]) -> AppName:
        """Read one row of the catalogue.

        Raises:
            InputError: When the row's party is not one of the three.

        """
        for party in get_args(Party):
            if row["party"] == party:
                return cls(id=row["id"], name=row["name"], party=party, what=row["what"])
        raise InputError(CATALOGUE, f"{row['id']}: unknown party {row['party']!r}", "fix the row")


@cache
def catalogue() -> Mapping[str, AppName]:
    """Return every application that has a name here, by id in lower case."""
    rows = json.loads(files("mailvigil.rules").joinpath(CATALOGUE).read_text(encoding="utf-8"))
    return MappingProxyType({app.id: app for app in map(AppName.load, rows)})


def find(app_id: str) -> AppName | None:
    """Return what is known of *app_id*, in any case, or None."""
    return catalogue().get(app_id.strip().lower())


def name_of(app_id: str) -> str | None:
    """Return the name of *app_id*, in any case, or None when it has none here."""
    app = find(app_id)
    return app.name if app else None


def first_party_ids() -> frozenset[str]:
    """Return the ids of Microsoft's own applications in the catalogue, in lower case."""
    return frozenset(app.id for app in catalogue().values() if app.party == "microsoft")
