"""Writes what the templates come to, case by case, for scanners that read no expressions."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mailvigil.infra.evaluate import evaluate
from mailvigil.infra.problems import CASES_OF
from mailvigil.sentinel.arm import SCHEMA

INFRA = Path(__file__).resolve().parent.parent / "infra"


def main(out: Path) -> None:
    """Write templates without expressions into *out*, one for each case of each template."""
    out.mkdir(parents=True, exist_ok=True)
    for name, cases in CASES_OF.items():
        template = json.loads((INFRA / name).read_text(encoding="utf-8"))
        for case, given in cases.items():
            found = evaluate(template, given)
            whole = {
                "$schema": SCHEMA,
                "contentVersion": "1.0.0.0",
                "resources": [one.body for one in found.resources if one.deployed],
            }
            file = out / f"{Path(name).stem}-{case.replace(' ', '-')}.json"
            file.write_text(json.dumps(whole, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
