"""The same audit records, written in every form in which exports come."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence

from mailvigil.engine.record_rows import SHAPERS

Record = dict[str, object]

_TENANT = "0873ee4d-d342-44f2-8961-74c442a2fad2"


def record(number: int, **fields: object) -> Record:
    """Return a Bind record whose texts hold all that readers trip over."""
    return {
        "CreationTime": f"2026-01-31T12:00:{number % 60:02d}",
        "Id": f"00000000-0000-4000-8000-{number:012d}",
        "Operation": "MailItemsAccessed",
        "OrganizationId": _TENANT,
        "RecordType": 50,
        "UserType": 0,
        "Workload": "Exchange",
        "UserId": "adele@contoso.example",
        "AppId": "00000002-0000-0ff1-ce00-000000000000",
        "ClientIPAddress": "192.0.2.7",
        "ClientInfoString": "Client=OWA;Action=ViaProxy",
        "ExternalAccess": False,
        "MailboxOwnerUPN": 'adèle, "the" owner;\t@contoso.example',
        "OperationProperties": [{"Name": "MailAccessType", "Value": "Bind"}],
        "OriginatingServer": "AM5PR0402MB2804 (15.20.3977.024)\r\n",
        "Folders": [{"Path": "\\Inbox", "FolderItems": [{"InternetMessageId": "<a@b>"}]}],
        "OperationCount": 2,
        **fields,
    }


def office_activity(found: Record) -> Record:
    """Return the record as a row of OfficeActivity, as Log Analytics exports it."""
    row = SHAPERS["OfficeActivity"](found)
    return {"Type": "OfficeActivity", **row, "TimeGenerated": f"{row['TimeGenerated']:%FT%TZ}"}


def text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    delimiter: str = ",",
    all_: bool = False,
) -> bytes:
    """Return CSV, with CR LF line ends as exports have them."""
    out = io.StringIO()
    writer = csv.writer(
        out, delimiter=delimiter, quoting=csv.QUOTE_ALL if all_ else csv.QUOTE_MINIMAL
    )
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode()


def purview(records: Sequence[Record], *, delimiter: str = ",") -> bytes:
    header = ["RecordId", "CreationDate", "RecordType", "Operation", "UserId", "AuditData", "Units"]
    rows = [
        [str(r["Id"]), f"{r['CreationTime']}.0000000Z", "50", str(r["Operation"]), "", text(r), ""]
        for r in records
    ]
    return table(header, rows, delimiter=delimiter)


def search(records: Sequence[Record]) -> bytes:
    header = ["RunspaceId", "UserIds", "Operations", "AuditData", "ResultIndex"]
    rows = [["r", "adele", str(r["Operation"]), text(r), "1"] for r in records]
    return b"#TYPE Selected.System.Management.Automation\r\n" + table(header, rows, all_=True)


def splunk(records: Sequence[Record]) -> bytes:
    return table(["_time", "_raw", "host"], [["1616672202", text(r), "h"] for r in records])


def lines(records: Sequence[Record]) -> bytes:
    return "".join(f"{text(r)}\n" for r in records).encode()


def array(records: Sequence[Record]) -> bytes:
    return text(list(records)).encode()


def indented(records: Sequence[Record]) -> bytes:
    return json.dumps(list(records), indent=2).encode()


def array_a_line(records: Sequence[Record]) -> bytes:
    return "".join(f"[{text(r)}]\n" for r in records).encode()


def page(records: Sequence[Record]) -> bytes:
    return json.dumps({"@odata.count": 2, "value": list(records), "next": None}, indent=1).encode()


def converted(records: Sequence[Record]) -> bytes:
    rows = [{"UserIds": "adele", "AuditData": text(r), "ResultIndex": 1} for r in records]
    return json.dumps(rows, indent=2).encode()


def graph(records: Sequence[Record]) -> bytes:
    rows = [
        {
            "@odata.type": "#microsoft.graph.security.auditLogRecord",
            "id": r["Id"],
            "createdDateTime": f"{r['CreationTime']}Z",
            "operation": r["Operation"],
            "administrativeUnits": [""],
            "auditData": r,
        }
        for r in records
    ]
    return json.dumps({"@odata.context": "c", "value": rows}).encode()


def splunk_lines(records: Sequence[Record]) -> bytes:
    rows = [{"preview": False, "result": {"_raw": text(r), "host": "h"}} for r in records]
    return "".join(f"{text(r)}\n" for r in rows).encode()


RECORD_FORMS: Mapping[str, Callable[[Sequence[Record]], bytes]] = {
    "Purview CSV": purview,
    "Purview CSV saved by a spreadsheet": lambda r: purview(r, delimiter=";"),
    "Purview CSV with tabs": lambda r: purview(r, delimiter="\t"),
    "CSV with a sep line": lambda r: b"sep=;\r\n" + purview(r, delimiter=";"),
    "Search-UnifiedAuditLog CSV": search,
    "CSV of AuditData alone": lambda r: table(["AuditData"], [[text(i)] for i in r]),
    "Splunk CSV": splunk,
    "Splunk JSON lines": splunk_lines,
    "JSON lines": lines,
    "JSON lines with CR LF": lambda r: lines(r).replace(b"\n", b"\r\n"),
    "JSON array": array,
    "indented JSON array": indented,
    "JSON array on each line": array_a_line,
    "page of records": page,
    "ConvertTo-Json": converted,
    "Graph audit search": graph,
}


def cell(value: object) -> str:
    """Return a value as the portal's CSV shows it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else text(value)


def rows_csv(rows: Sequence[Record]) -> bytes:
    names = list(rows[0])
    header = [f"{n} [UTC]" if n == "TimeGenerated" else n for n in names]
    shown = [[cell(row[n]) for n in names] for row in rows]
    return b"\xef\xbb\xbf" + table(header, shown)


def rows_query(rows: Sequence[Record]) -> bytes:
    names = list(rows[0])
    columns = [{"name": n, "type": "string"} for n in names]
    values = [[row[n] for n in names] for row in rows]
    primary = {"name": "PrimaryResult", "columns": columns, "rows": values}
    return json.dumps({"tables": [primary]}).encode()


ROW_FORMS: Mapping[str, Callable[[Sequence[Record]], bytes]] = {
    "portal CSV": rows_csv,
    "JSON lines": lines,
    "JSON array": array,
    "query API": rows_query,
}
