"""Takes the markers out of requirements: those that one Python installs, and no others.

A marker that another Python finds false leaves the package out without a word, and the app would
start without it. Without markers another Python refuses to install what is not made for it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping

from packaging.markers import Marker

PYTHON = "3.13"
PLACE: Mapping[str, str] = {
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "python_version": PYTHON,
    "python_full_version": f"{PYTHON}.0",
}
"""Where the Function app runs: CPython on Linux, as the template has it."""

_REQUIREMENT = re.compile(
    r"^(?P<name>[a-z0-9-]+==[^\s;]+) ; (?P<marker>[^\\\n]+?)(?= \\$)", re.MULTILINE
)
_BLOCK = re.compile(r"^(?=[a-z0-9])", re.MULTILINE)


def without_markers(text: str) -> str:
    """Return *text*, as uv exports it, for the one Python."""
    return "".join(_kept(text))


def _kept(text: str) -> Iterator[str]:
    for block in _BLOCK.split(text):
        found = _REQUIREMENT.match(block)
        if not found:
            yield block
        elif Marker(found["marker"]).evaluate(dict(PLACE)):
            yield block.replace(found[0], found["name"], 1)


if __name__ == "__main__":
    sys.stdout.write(without_markers(sys.stdin.read()))
