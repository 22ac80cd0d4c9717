"""Measure one run of each rule where no function's rows are kept, beside SQL written by hand.

    python bench/rule_cost.py make WORKSPACE RECORDS
    python bench/rule_cost.py measure CONTENT WORKSPACE [RULE ...]
    python bench/rule_cost.py table BEFORE.json AFTER.json

``make`` writes a workspace of 14 days of made-up records. ``measure`` prints JSON: seconds,
processor seconds and peak memory of each compiled rule below CONTENT (a checkout), and of the
same SQL by hand where there is one; each is a process of its own. ``table`` prints two such
measurements side by side.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from mailvigil.engine.embedded import Engine, NotRunError, QueryError
from mailvigil.engine.workspace import look_at, open_workspace
from mailvigil.rules.content import load_functions

RUN_AT = datetime.fromisoformat("2026-03-15T00:00:00+00:00")
MOST_SECONDS = 600
MEMORY_LIMIT = "4GB"

_RECORDS = """
INSERT INTO "M365Activity_CL" BY NAME
SELECT * EXCLUDE (person) FROM (SELECT
    TIMESTAMP '2026-03-01' + to_microseconds((n * 1209600000000 // $records)::BIGINT)
        AS EventTime,
    EventTime AS TimeGenerated, EventTime AS _arrived,
    'id-' || n AS RecordId,
    '11111111-aaaa-4bbb-8ccc-000000000001' AS OrganizationId,
    'Exchange' AS Workload,
    CASE WHEN n % 10 < 8 THEN 'MailItemsAccessed' ELSE 'Send' END AS Operation,
    50::INTEGER AS RecordType,
    (hash(n) % 5000)::INTEGER AS person,
    'user' || person || '@contoso.example' AS UserId,
    0::INTEGER AS UserType, 0::INTEGER AS LogonType,
    '192.0.' || person % 200 || '.' || hash(n + 1) % 3 AS ClientAddress,
    'Client=OWA;' AS ClientInfoString,
    'app-' || hash(n + 2) % 60 AS Caller,
    Caller AS AppId,
    CASE WHEN n % 3 = 0 THEN 'REST' ELSE 'OWA' END AS Protocol,
    's-' || person || '-' || (n * 40 // $records) AS SessionId,
    'guid-' || person AS MailboxGuid,
    UserId AS MailboxOwnerUPN,
    2::BIGINT AS OperationCount,
    'Bind' AS MailAccessType,
    '' AS ClientAppId, '' AS AADSessionId, '' AS UniqueTokenId, '' AS TokenTenantId,
    '' AS ParentFolderPath, '' AS ParentFolderName,
    false AS IsThrottled
FROM range($records) AS made(n))
"""


def make(workspace: Path, records: int) -> None:
    """Write *workspace* with *records* records over the 14 days before the run."""
    workspace.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.parent) as scratch:
        con = open_workspace(workspace, Path(scratch))
        con.execute(_RECORDS, {"records": records})
        con.close()


def measure(content: Path, workspace: Path, names: list[str]) -> list[dict[str, Any]]:
    """Return the measurements of the rules below *content*, or of those named."""
    queries = sorted((content / "kql" / "generated").glob("*.kql"))
    chosen = [q for q in queries if not names or q.stem in names]
    results = []
    for query in chosen:
        row: dict[str, Any] = {"rule": query.stem}
        row["kql"] = _process("kql", content, workspace, query.stem)
        if query.stem in statements():
            row["sql"] = _process("sql", content, workspace, query.stem)
        results.append(row)
        sys.stderr.write(f"{row}\n")
    return results


def _process(kind: str, content: Path, workspace: Path, name: str) -> dict[str, Any]:
    command = [sys.executable, __file__, f"one-{kind}", str(content), str(workspace), name]
    try:
        done = subprocess.run(  # noqa: S603 - this script
            command, check=False, capture_output=True, timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"error": f"over {MOST_SECONDS} s"}
    if done.returncode:
        return {"error": done.stderr.decode().strip().splitlines()[-1]}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def one(kind: str, content: Path, workspace: Path, name: str) -> dict[str, Any]:
    """Run one rule, or its SQL, once, and return what it took beside the translation."""
    with tempfile.TemporaryDirectory(dir=workspace.parent) as scratch:
        con = open_workspace(workspace, Path(scratch), memory_limit=MEMORY_LIMIT)
        if kind == "sql":
            run = _by_hand(con, name)
        else:
            engine = Engine(con, load_functions(content))
            text = (content / "kql" / "generated" / f"{name}.kql").read_text(encoding="utf-8")
            query = engine.prepare(text)
            run = lambda: engine.run(query, RUN_AT)  # noqa: E731 - one of two
        start, used = time.perf_counter(), time.process_time()
        try:
            rows = run()
        except (NotRunError, QueryError, duckdb.Error) as error:
            return {"error": str(error).splitlines()[0][:120]}
        return {
            "seconds": round(time.perf_counter() - start, 3),
            "processor": round(time.process_time() - used, 3),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "rows": len(rows),
        }


def _by_hand(con: duckdb.DuckDBPyConnection, name: str) -> Any:  # noqa: ANN401 - a call
    """Return the call of the SQL by hand, over our own table alone."""
    cursor = con.cursor()
    cursor.execute("USE visible")
    look_at(cursor, RUN_AT)
    cursor.execute(
        'CREATE OR REPLACE TEMP VIEW "_MailItemsAccessed" AS SELECT '
        "* REPLACE (CASE WHEN IsThrottled THEN 'True' ELSE 'False' END AS IsThrottled), "
        "lower(MailboxGuid) AS MailboxId, lower(MailboxOwnerUPN) AS Mailbox, '' AS TokenTenant "
        "FROM \"M365Activity_CL\" WHERE Operation = 'MailItemsAccessed'"
    )
    sql, values = statements()[name], {"now": RUN_AT.replace(tzinfo=None)}
    if "$memory" in sql:
        values["memory"] = timedelta(days=14)  # type: ignore[assignment]  # mixed on purpose
    return lambda: cursor.execute(sql, values).fetchall()


def statements() -> dict[str, str]:
    """Return the SQL by hand of each rule that has one, by its name."""
    text = Path(__file__).with_name("same_shape.sql").read_text(encoding="utf-8")
    named = (part.split("\n", 1) for part in text.split("-- rule: ")[1:])
    return {name.strip(): sql.strip().removesuffix(";") for name, sql in named}


def table(before: Path, after: Path) -> list[str]:
    """Return the lines of a table of two measurements."""
    old, new = ({r["rule"]: r for r in json.loads(p.read_text())} for p in (before, after))
    head = "| rule | before: s | MiB | after: s | MiB | before / after | after / SQL by hand |"
    lines = [head, "| --- |" + " ---: |" * 6]
    for name in sorted(old.keys() & new.keys()):
        was, now, sql = old[name]["kql"], new[name]["kql"], new[name].get("sql", {})
        cells = (
            name,
            *_cells(was),
            *_cells(now),
            _ratio(was, now),
            _ratio(now, sql),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cells(run: dict[str, Any]) -> tuple[str, str]:
    if "error" in run:
        return run["error"], ""
    return f"{run['processor']:.2f}", str(run["peak_mib"])


def _ratio(one_run: dict[str, Any], other: dict[str, Any]) -> str:
    if "processor" not in one_run or not other.get("processor"):
        return ""
    return f"{one_run['processor'] / other['processor']:.1f}"


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "make":
        make(Path(rest[0]), int(rest[1]))
    elif command == "table":
        sys.stdout.write("\n".join([*table(Path(rest[0]), Path(rest[1])), ""]))
    elif command == "measure":
        json.dump(measure(Path(rest[0]), Path(rest[1]), rest[2:]), sys.stdout)
    else:
        json.dump(one(command[4:], Path(rest[0]), Path(rest[1]), rest[2]), sys.stdout)
