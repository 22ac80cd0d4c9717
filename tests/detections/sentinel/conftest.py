"""The content of this checkout, loaded and packaged once for all tests here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mailvigil.sentinel.compiled_content import Pack, load_pack
from mailvigil.sentinel.package_layout import files


@pytest.fixture(scope="session")
def pack(checkout: Path) -> Pack:
    """Return the content, every rule compiled."""
    return load_pack(checkout)


@pytest.fixture(scope="session")
def packaged(pack: Pack) -> Mapping[str, bytes]:
    """Return the files of the packaged folder."""
    return files(pack)
