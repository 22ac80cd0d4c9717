"""A configuration with which a collector works against the lab."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml

from mailvigil.lab.server.lab import Lab, LabTenant
from mailvigil.lab.server.options import CONTENT_TYPES

CredentialKind = Literal["secret", "certificate", "federated", "managed_identity"]


def write_collect_config(
    lab: Lab,
    file: Path,
    *,
    kind: CredentialKind = "secret",
    content_types: tuple[str, ...] = CONTENT_TYPES,
) -> Path:
    """Write the configuration for all tenants of *lab* to *file*, readable by its owner."""
    ingestion, feed = lab.options.ingestion, lab.options.feed
    config = {
        "tenants": [
            {
                "id": tenant.id,
                "content_types": list(content_types),
                "credential": _credential(lab, tenant, kind),
            }
            for tenant in lab.tenants
        ],
        "cloud": {
            "login": lab.url,
            "feed": lab.url,
            "feed_audience": feed.audience,
            "ingestion_audience": ingestion.audience,
            "ca": str(lab.ca.resolve()),
        },
        "sink": {
            "kind": "loganalytics",
            "endpoint": lab.url,
            "dcr": lab.rule_id,
            "stream": lab.stream,
        },
        "since": "7d",
        "ledger": str((file.parent / "ledger.sqlite").resolve()),
    }
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return file


def _credential(lab: Lab, tenant: LabTenant, kind: CredentialKind) -> Mapping[str, str]:
    who = {"kind": kind, "client_id": tenant.client_id}
    if kind == "secret":
        return {**who, "secret": tenant.secret}
    if kind == "certificate":
        return {**who, "certificate": str(lab.certificate(tenant.id).resolve())}
    if kind == "federated":
        return {**who, "token_file": str(lab.federated_token(tenant.id).resolve())}
    return {"kind": kind}
