"""Bodies are compressed with isal where it has a wheel, and with zlib where it has none."""

from __future__ import annotations

import gzip as stdlib_gzip
import sys
from collections.abc import Iterator

import pytest

from audit_feed.delivery import ingest

DATA = b'{"Id": "a"}' * 1000


@pytest.fixture(autouse=True)
def chosen_anew() -> Iterator[None]:
    """Forget the compressor that was chosen, before and after."""
    ingest.compressor.cache_clear()
    yield
    ingest.compressor.cache_clear()


def test_a_body_compressed_with_isal_unpacks_to_itself() -> None:
    assert stdlib_gzip.decompress(ingest.gzip(DATA)) == DATA
    assert "isal.igzip" in sys.modules


def test_a_body_is_compressed_without_isal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal", None)
    monkeypatch.setitem(sys.modules, "isal.igzip", None)

    assert stdlib_gzip.decompress(ingest.gzip(DATA)) == DATA
