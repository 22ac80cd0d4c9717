"""The id of a finding: the same cause by the same rule has the same id, in every run. Pure."""

from __future__ import annotations

from uuid import UUID, uuid5

from mailvigil.hunt.findings import Finding

NAMESPACE = UUID("6f7d1c0a-3a0e-5b62-9a0b-2f1d3c9e7a55")
"""Namespace of every id that the reports make. A change of it changes all ids."""


def finding_id(finding: Finding) -> UUID:
    """Return the version 5 UUID of the finding's rule and key.

    Each part is written with its length before it, so that no value can imitate another's end.
    """
    parts = [finding.rule.id or finding.rule.name]
    for name, value in sorted(finding.key.items()):
        parts += [name, value]
    # A lone surrogate, which a log may hold, has no UTF-8 form of its own.
    written = "".join(f"{len(part)}:{part}" for part in parts).encode("utf-8", "backslashreplace")
    return uuid5(NAMESPACE, written.decode("utf-8"))
