"""``docs/deploy.md``, taken apart: what a reader types, step by step."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ELSEWHERE = ("make ", "docker ")
"""What needs a daemon or minutes; ``test_container.py`` runs what these would."""

STEPS = [
    line[2:]
    for kind, text in BLOCKS
    if kind == "console"
    for line in text.splitlines()
    if not line[2:].startswith(ELSEWHERE)
]
"""What ``test_deploy_page.py`` types into one shell, in order."""
