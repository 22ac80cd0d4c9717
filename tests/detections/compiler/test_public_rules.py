"""Public rules for Microsoft 365, where they lie beside the checkout: which compile, and which not.

They are other people's: none is part of the project.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from detections.small_tenant import FUNCTIONS, ROOT, RULES
from mailvigil.compiler import defender_limits
from mailvigil.compiler.compile import to_kql
from mailvigil.compiler.parser import Validator
from mailvigil.compiler.targets import DEFENDER
from mailvigil.errors import RuleError
from mailvigil.rules.rule import Rule
from mailvigil.tables.schemas import schemas

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data" / "sigmahq_m365"
PATHS = sorted(FOLDER.glob("*.yml")) if FOLDER.is_dir() else []
NOT_AUDIT = {"exchange", "threat_management", "threat_detection"}
"""Log sources whose fields (eventSource, eventName, status) are alerts' and not the records'."""

EACH = pytest.mark.parametrize("path", PATHS or [None], ids=lambda p: p.stem if p else "absent")


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    with Validator(FUNCTIONS) as made:
        yield made


def public(path: Path | None) -> tuple[Rule, str]:
    """Return the public rule with what a rule of ours says beside it, and its log source."""
    if path is None:
        pytest.skip("no public rules beside this checkout")
    text = path.read_text(encoding="utf-8")
    logsource = yaml.safe_load(text)["logsource"]["service"]
    of = ("OrganizationId", "UserId")
    return replace(RULES["mailbox_throttled"], path=path, text=text, by=of), logsource


@EACH
def test_a_public_rule_of_the_audit_log_compiles_and_others_are_refused(
    validator: Validator, path: Path | None
) -> None:
    rule, logsource = public(path)

    if logsource == "audit":
        validator.declare(FUNCTIONS, schemas())
        assert validator.analyse(to_kql(rule, ROOT)).diagnostics == ()
        validator.declare((), defender_limits.tables())
        assert validator.analyse(to_kql(rule, ROOT, DEFENDER)).diagnostics == ()
    else:
        assert logsource in NOT_AUDIT
        with pytest.raises(RuleError, match=f"m365/{logsource} is not the unified audit log"):
            to_kql(rule, ROOT)
