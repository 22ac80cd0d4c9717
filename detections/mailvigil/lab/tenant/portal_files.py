"""The files that a user of the tenant would have: an export of the portal, the approved apps."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from itertools import islice
from typing import TextIO

import orjson

from mailvigil.lab.tenant.profile import Profile
from mailvigil.lab.tenant.records import records
from mailvigil.lab.tenant.uses import approvals

PURVIEW_COLUMNS = (
    "RecordId",
    "CreationDate",
    "RecordType",
    "Operation",
    "UserId",
    "AuditData",
    "AssociatedAdminUnits",
    "AssociatedAdminUnitsNames",
)

_PLAIN_FIELDS = ("Id", "CreationTime", "RecordType", "Operation", "UserId")

APPROVED_COLUMNS = ("Caller", "Owner", "Reason", "ValidFrom", "ValidTo")


def write_purview_csv(profile: Profile, out: TextIO, limit: int | None = None) -> int:
    """Write the first *limit* records (all, for None) as the Purview portal exports them.

    Returns how many records were written. *out* must be open with ``newline=""``.
    """
    out.write(",".join(PURVIEW_COLUMNS) + "\r\n")
    count = 0
    for record in islice(records(profile), limit):
        out.write(purview_line(record))
        count += 1
    return count


def purview_line(record: Mapping[str, object]) -> str:
    """Return one record's line of the CSV, CR LF included.

    Only AuditData is quoted: no other cell of a generated record needs it, and the csv
    module takes longer for the quoting than all the rest of the generator.
    """
    data = orjson.dumps(record).decode().replace('"', '""')
    cells = ",".join(str(record[name]) for name in _PLAIN_FIELDS)
    return f'{cells},"{data}",,\r\n'


def approved_rows(profile: Profile) -> list[dict[str, str]]:
    """Return the approved callers, column by column as the CSV and the watchlist have them.

    The times are ISO 8601 in UTC; an approval without end has the ValidTo ``""``.
    """
    return [
        {
            "Caller": approval.caller,
            "Owner": approval.owner,
            "Reason": approval.reason,
            "ValidFrom": f"{profile.start + approval.since:%Y-%m-%dT%H:%M:%SZ}",
            "ValidTo": "",
        }
        for approval in approvals(profile)
    ]


def write_approved_csv(profile: Profile, out: TextIO) -> int:
    """Write the approved apps as the CSV that ``--approved`` reads; return the rows."""
    writer = csv.DictWriter(out, APPROVED_COLUMNS)
    writer.writeheader()
    rows = approved_rows(profile)
    writer.writerows(rows)
    return len(rows)
