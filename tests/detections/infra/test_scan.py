"""Nothing is left out of the scan without a reason."""

from __future__ import annotations

import re
from pathlib import Path

import yaml


def test_every_check_that_is_left_out_has_a_reason(checkout: Path) -> None:
    text = (checkout / ".ci" / "checkov.yaml").read_text(encoding="utf-8")
    left_out = yaml.safe_load(text)["skip-check"]

    reasons = dict(re.findall(r"^  - (CKV\w+) # (.{20,})$", text, re.MULTILINE))
    assert set(reasons) == set(left_out)
