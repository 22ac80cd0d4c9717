"""A lab for each test, and none of the machine's own settings for TLS or identities."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from detections.lab.server.clients import Feed
from detections.presets import PRESET
from mailvigil.lab.server.lab import Lab


@pytest.fixture(autouse=True)
def _no_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PRESET:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as running:
        yield running


@pytest.fixture
def feed(lab: Lab) -> Iterator[Feed]:
    with Feed(lab) as client:
        yield client
