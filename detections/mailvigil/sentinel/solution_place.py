"""Where the files of a solution are, in a packaged folder and in the Azure-Sentinel repository."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = "azure-sentinel"
"""In a packaged folder: what a pull request needs beside the solution."""

WORKBOOK_ROWS = "Workbooks/WorkbooksMetadata.json"
"""In the repository: a row of each workbook, in which the packaging tool looks it up."""

LOGO_FOLDERS = ("Logos", "Workbooks/Images/Logos")
"""In the repository: the logo of the solution, and that which its row in WORKBOOK_ROWS names."""

SolutionPart = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SolutionPlace:
    """Where a solution is, and what the Azure-Sentinel repository wants beside it.

    ``solution`` and ``repository`` are folders below ``root``, divided by ``/``; ``repository`` is
    empty where ``root`` itself is laid out as the repository is.
    """

    root: Path
    solution: str
    repository: str

    @classmethod
    def packaged(cls, root: Path) -> SolutionPlace:
        """Return the places in a folder that ``rules package`` wrote for Sentinel."""
        return cls(root, "solution", FOLDER)

    def of_solution(self, name: str) -> str:
        """Return a path of the solution's, from ``root``."""
        return f"{self.solution}/{name}"

    def beside(self, name: str) -> str:
        """Return a path of the repository's, from ``root``."""
        return f"{self.repository}/{name}" if self.repository else name

    def data(self) -> tuple[str, SolutionPart]:
        """Return where the packaging tool's file is, and what it says."""
        [path] = (self.root / self.solution / "Data").glob("Solution_*.json")
        return path.relative_to(self.root).as_posix(), json_object(path)

    def read(self, name: str) -> SolutionPart:
        """Return the JSON object of a file from ``root``."""
        return json_object(self.root / name)

    @property
    def main(self) -> str:
        """Return the path of the template that installs the solution."""
        return self.of_solution("Package/mainTemplate.json")

    @property
    def page(self) -> str:
        """Return the path of the installer's page."""
        return self.of_solution("Package/createUiDefinition.json")

    @property
    def metadata(self) -> str:
        """Return the path of what says who publishes the solution."""
        return self.of_solution("SolutionMetadata.json")


def json_object(path: Path) -> SolutionPart:
    """Return a file's JSON object, or nothing: that it is broken is reported elsewhere."""
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
