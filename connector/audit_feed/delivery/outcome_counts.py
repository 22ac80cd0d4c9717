"""Count what became of blobs, for a pass of the collector and for an order of the app. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from audit_feed.ledger.states import BlobRow, BlobState


@dataclass(slots=True)
class OutcomeCounts:
    """How many blobs ended in which state; ``records`` counts those of delivered blobs.

    ``failed`` blobs are still listed and will be tried again. ``problems`` are messages for
    people, of what did not work.
    """

    delivered: int = 0
    records: int = 0
    expired: int = 0
    rejected: int = 0
    failed: int = 0
    problems: list[str] = field(default_factory=list)

    def count(self, row: BlobRow) -> None:
        """Count a blob by *row*, as the ledger stored it after its delivery."""
        match row.state:
            case BlobState.DELIVERED:
                self.delivered += 1
                self.records += row.records
            case BlobState.EXPIRED:
                self.expired += 1
            case BlobState.REJECTED:
                self.rejected += 1
            case BlobState.LISTED:
                self.failed += 1
        if row.last_error:
            name = f"blob {row.blob.id}: "
            self.add_problem(name + row.last_error.removeprefix(name))

    def add_problem(self, text: str) -> None:
        """Add a message for people."""
        self.problems.append(text)
