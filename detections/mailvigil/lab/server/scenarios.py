"""What may have happened in a lab's tenant, and a lab filled with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mailvigil.lab.server.collect_config import write_collect_config
from mailvigil.lab.server.lab import Lab
from mailvigil.lab.server.options import CONTENT_TYPES
from mailvigil.lab.server.tenant_blobs import blobs, blobs_to_come, from_today, until_today
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


def scenario(name: str, now: datetime, *, fresh: bool = False) -> Profile | None:
    """Return the profile called *name* with today (of *now*, aware) as its last day.

    In a *fresh* lab today is the first day: what was before a subscription is never listed.
    """
    profile = SCENARIOS[name]
    days = from_today if fresh else until_today
    return days(profile, now) if profile else None


def fill_lab(lab: Lab, profile: Profile | None, folder: Path, *, fresh: bool = False) -> FilledLab:
    """Publish the tenant's audit log in *lab*, and write ``collect.yaml`` into *folder*.

    In a *fresh* lab it is what is yet to come, as the lab's clock goes on.
    """
    cut_in_blobs = blobs_to_come if fresh else blobs
    made = cut_in_blobs(profile, lab.clock.now(), lab.options.chaos) if profile else []
    lab.publish_all(made)
    types = tuple(sorted({blob.content_type for blob in made})) or CONTENT_TYPES
    config = write_collect_config(lab, folder / "collect.yaml", content_types=types)
    lab.checkpoint()
    return FilledLab(config, len(made))
