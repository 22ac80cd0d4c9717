"""The SQL that rules are measured against gives the rules' rows, on data where all of them fire."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mailvigil.cli import main
from mailvigil.lab.tenant.bulk import write_bulk_csv
from mailvigil.lab.tenant.profile import MILLION

RECORDS = 4_000


@pytest.mark.slow
def test_a_rule_and_its_sql_give_the_same_rows(checkout: Path, tmp_path: Path) -> None:
    export, loaded, large = (tmp_path / name for name in ("a.csv", "loaded.duckdb", "large.duckdb"))
    with export.open("w", encoding="utf-8", newline="") as out:
        write_bulk_csv(RECORDS, out, replace(MILLION, mailboxes=200))
    main(["hunt", str(export), "--save", str(loaded)], io.BytesIO(), io.StringIO(), io.StringIO())
    script = [sys.executable, "-P", str(checkout / "bench" / "ten_million.py")]

    subprocess.run([*script, "build", str(loaded), str(large)], check=True)
    done = subprocess.run([*script, "measure", str(large), "1"], stdout=subprocess.PIPE, check=True)

    measured = json.loads(done.stdout)
    assert measured["rows"] == 10 * RECORDS
    assert [rule["rule"] for rule in measured["rules"] if not rule["equal"]] == []
    assert [rule["rule"] for rule in measured["rules"] if not rule["rows"]] == []
