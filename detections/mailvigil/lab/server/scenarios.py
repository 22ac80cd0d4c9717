"""What may have happened in a lab's tenant, and a lab filled with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mailvigil.lab.server.collect_config import write_collect_config
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import CONTENT_TYPES
from mailvigil.lab.server.tenant_blobs import blobs, until_today
from mailvigil.lab.tenant.profile import DEMO, Profile

SCENARIOS: Mapping[str, Profile | None] = {
    "storm-0558": DEMO,
    "quiet": replace(DEMO, intrusion_days=()),
    "none": None,
}


@dataclass(frozen=True, slots=True)
class FilledLab:
    """The configuration of a collector for a lab, and how many content blobs the lab has."""

    config: Path
    blobs: int


def scenario(name: str, now: datetime) -> Profile | None:
    """Return the profile called *name* with today (of *now*, aware) as its last day."""
    profile = SCENARIOS[name]
    return until_today(profile, now) if profile else None


def fill_lab(lab: Lab, profile: Profile | None, folder: Path) -> FilledLab:
    """Publish the tenant's audit log in *lab*, and write ``collect.yaml`` into *folder*."""
    made = blobs(profile, lab.clock.now(), lab.options.chaos) if profile else []
    lab.publish_all(made)
    types = tuple(sorted({blob.content_type for blob in made})) or CONTENT_TYPES
    config = write_collect_config(lab, folder / "collect.yaml", content_types=types)
    lab.checkpoint()
    return FilledLab(config, len(made))
