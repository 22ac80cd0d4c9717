"""The configuration that the lab writes is one that the collector takes."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import yaml

from audit_feed.settings import Settings
from mailvigil.lab.server.collect_config import CredentialKind, write_collect_config
from mailvigil.lab.server.lab import Lab, tenants_of
from mailvigil.lab.server.options import CONTENT_TYPES, LabOptions


@pytest.mark.parametrize("kind", get_args(CredentialKind))
def test_the_collector_takes_it_with_every_credential(kind: CredentialKind, tmp_path: Path) -> None:
    with Lab(LabOptions(tenants=tenants_of(2))) as lab:
        file = write_collect_config(lab, tmp_path / "collect.yaml", kind=kind)
        settings = Settings.load(yaml.safe_load(file.read_text(encoding="utf-8")), tmp_path)

        assert [t.id for t in settings.tenants] == [t.id for t in lab.tenants]
        assert {t.credential.kind for t in settings.tenants} == {kind}
        assert settings.tenants[0].content_types == CONTENT_TYPES
        assert settings.cloud.feed == lab.url
