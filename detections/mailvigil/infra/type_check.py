"""Every resource of every evaluated case is held against Azure's own types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mailvigil.infra.evaluate import ArmResource
from mailvigil.printable import counted
from mailvigil.sentinel.resource_types import (
    published_name,
    source,
    type_findings,
    without_indices,
)


@dataclass(slots=True)
class TypeCheck:
    """The check, how many resources of which types it has seen, and its warnings.

    A warning stands once for each property of a type and each reason.
    """

    resources: int = 0
    types: set[str] = field(default_factory=set)
    warnings: dict[tuple[str, ...], str] = field(default_factory=dict)

    def problems(self, resource: ArmResource) -> Iterator[str]:
        """Yield what Azure's type of *resource* refuses; warnings are kept."""
        self.resources += 1
        self.types.add(published_name(resource.type, resource.name))
        for finding in type_findings(resource.body):
            problem = f"{resource.type} {resource.name}: {finding}"
            if not finding.warning:
                yield problem
                continue
            cause = finding.reason or finding.what
            place = without_indices(finding.place)
            self.warnings.setdefault((resource.type, place, cause), problem)

    def summary(self) -> str:
        """Return how much was held against what."""
        return (
            f"{counted(self.resources, 'resource')} of {counted(len(self.types), 'type')} held "
            f"against {source()}: {counted(len(self.warnings), 'warning')}"
        )
