"""Writes what the template comes to, case by case, for scanners that read no expressions."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mailvigil.infra.evaluate import evaluate
from mailvigil.infra.files import TEMPLATE
from mailvigil.infra.problems import CASES
from mailvigil.sentinel.arm import SCHEMA


def main(out: Path) -> None:
    """Write a template without expressions for each case into *out*."""
    text = (Path(__file__).resolve().parent.parent / "infra" / TEMPLATE).read_text(encoding="utf-8")
    template = json.loads(text)
    out.mkdir(parents=True, exist_ok=True)
    for case, given in CASES.items():
        found = evaluate(template, given)
        whole = {
            "$schema": SCHEMA,
            "contentVersion": "1.0.0.0",
            "resources": [one.body for one in found.resources if one.deployed],
        }
        (out / f"{case.replace(' ', '-')}.json").write_text(json.dumps(whole, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
