"""The committed templates, and what they come to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mailvigil.infra.evaluate import Evaluation, evaluate
from mailvigil.infra.problems import CASES, CASES_OF, COLLECTOR


@pytest.fixture(scope="session")
def template_text(checkout: Path) -> str:
    return (checkout / "infra" / COLLECTOR).read_text(encoding="utf-8")


@pytest.fixture
def template(template_text: str) -> dict[str, Any]:
    """Return the template, for a test to change."""
    found: dict[str, Any] = json.loads(template_text)
    return found


@pytest.fixture(scope="session")
def cases(template_text: str) -> dict[str, Evaluation]:
    """Return what the template comes to in each case."""
    found = json.loads(template_text)
    return {name: evaluate(found, given) for name, given in CASES.items()}


@pytest.fixture(scope="session")
def content_cases(checkout: Path) -> dict[str, Evaluation]:
    """Return what the templates of the content come to in each case."""
    return {
        case: evaluate(json.loads((checkout / "infra" / name).read_text(encoding="utf-8")), given)
        for name, cases in CASES_OF.items()
        if name != COLLECTOR
        for case, given in cases.items()
    }
