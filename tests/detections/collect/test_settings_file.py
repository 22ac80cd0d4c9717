"""A file of settings that cannot be read is named, with what to do, and never ends in a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailvigil.collect.settings_file import load_settings
from mailvigil.errors import InputError


def refused(folder: Path, text: str) -> tuple[Path, str]:
    """Return a file of settings with that text, and the error that it gives."""
    path = folder / "collect.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        load_settings(path, {}, {}, lambda _line: None)
    return path, str(raised.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("since: 2026-13-01\n", ""),
        ("since: 2026-01-01T25:00:00\n", ""),
        (f"since: {'[' * 3_000}\n", ""),
        ("since: [\n", " at line 2"),
    ],
    ids=["no such month", "no such hour", "nested too deeply", "cut off"],
)
def test_settings_that_yaml_cannot_read_are_an_input_error(
    tmp_path: Path, text: str, place: str
) -> None:
    path, said = refused(tmp_path, text)

    assert said == (f"{path}: is not YAML{place} (correct it, or name another file with --config)")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("since: 24h\nkeep: 30d\nsince: 48h\n", 3),
        ("sink: {kind: duckdb, file: a, file: b}\n", 1),
        ('tenants:\n  - id: x\n    "id": y\n', 3),
    ],
)
def test_a_key_that_is_there_twice_is_named_with_its_line(
    tmp_path: Path, text: str, line: int
) -> None:
    path, said = refused(tmp_path, text)

    assert said == (
        f"{path}: line {line} repeats a key, and one of the two would be passed over "
        "(correct it, or name another file with --config)"
    )
