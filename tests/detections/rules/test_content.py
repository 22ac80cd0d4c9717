"""The content is found, and its functions are read with the line where each body starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from detections.small_tenant import FUNCTIONS, ROOT
from mailvigil.errors import RuleError
from mailvigil.rules.content import load_functions


def test_the_content_is_the_wheels_or_else_the_checkouts() -> None:
    assert (ROOT / "sigma" / "pipelines").is_dir()
    assert {function.name for function in FUNCTIONS} == {
        "ApprovedMailCallers",
        "AuditChanges",
        "AuditRecords",
        "MailItemsAccessed",
    }


def test_a_function_says_the_line_where_its_body_starts() -> None:
    for function in FUNCTIONS:
        line = function.path.read_text(encoding="utf-8").splitlines()[function.line - 1]

        assert line.strip() == function.body.splitlines()[0].strip()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", ": not a KQL function"),
        (b"- a", ": not a KQL function"),
        (b"FunctionName: x", ": not a KQL function"),
        (b"FunctionName: \xff", ": not a KQL function"),
        (b"FunctionName: a: b", ":1:16: is not YAML: "),
    ],
)
def test_a_file_that_is_not_a_function_is_refused_by_name(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    folder = tmp_path / "kql" / "functions"
    folder.mkdir(parents=True)
    (folder / "odd.yaml").write_bytes(content)

    with pytest.raises(RuleError, match=rf"odd\.yaml{problem}"):
        load_functions(tmp_path)
