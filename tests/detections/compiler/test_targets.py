"""The columns that the compiler counts on are those that Microsoft's parser finds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from detections.small_tenant import FUNCTIONS, ROOT
from mailvigil.compiler import defender_limits
from mailvigil.compiler.parser import Validator
from mailvigil.compiler.targets import DEFENDER, SENTINEL, RecordSource
from mailvigil.tables.schemas import schemas


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    with Validator(FUNCTIONS) as made:
        yield made


def rows(source: RecordSource) -> str:
    """Return the query for all rows of *source*."""
    text = (ROOT / "sigma" / "pipelines" / source.pipeline).read_text(encoding="utf-8")
    return str(yaml.safe_load(text)["postprocessing"][0]["prefix"]) + "true)"


@pytest.mark.parametrize("source", [SENTINEL.mail, SENTINEL.audit], ids=["mail", "audit"])
def test_a_source_has_its_columns_in_sentinel(validator: Validator, source: RecordSource) -> None:
    validator.declare(FUNCTIONS, schemas())

    analysis = validator.analyse(rows(source))

    assert analysis.diagnostics == ()
    assert set(analysis.columns) == source.columns


def test_a_source_has_its_columns_in_defender(validator: Validator) -> None:
    validator.declare((), defender_limits.tables())

    analysis = validator.analyse(rows(DEFENDER.audit))

    assert analysis.diagnostics == ()
    assert set(analysis.columns) == DEFENDER.audit.columns == DEFENDER.mail.columns


def test_defender_lacks_the_columns_of_a_workspace(validator: Validator) -> None:
    validator.declare((), defender_limits.tables())

    for query in ("CloudAppEvents | project TimeGenerated", "AuditRecords()", "SigninLogs"):
        assert validator.analyse(query).diagnostics


def test_the_columns_of_all_sources_have_one_type(validator: Validator) -> None:
    validator.declare(FUNCTIONS, schemas())
    mail = validator.analyse(rows(SENTINEL.mail)).columns
    audit = validator.analyse(rows(SENTINEL.audit)).columns
    validator.declare((), defender_limits.tables())
    cloud = validator.analyse(rows(DEFENDER.audit)).columns

    for name in mail.keys() & audit.keys():
        assert mail[name] == audit[name]
    for name in audit.keys() & cloud.keys():
        assert audit[name] == cloud[name]
