"""Fails when a lock file names a host other than the public registries."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ALLOWED = frozenset({"pypi.org", "files.pythonhosted.org", "registry.npmjs.org"})
LOCKS = ("uv.lock", "package-lock.json")
NOT_FETCHED = re.compile(r'"funding": (\{[^}]*\}|\[[^\]]*\]|"[^"]*")|"license": "[^"]*"')
"""Where npm notes who takes donations and under what licence; nothing is fetched from there."""

HOST = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/\s\"'@]*@)?([^/\s\"'?#]+)", re.IGNORECASE)


def strange_hosts(text: str) -> set[str]:
    """Return the hosts of the URLs in ``text`` that are not allowed, ports included."""
    fetched = NOT_FETCHED.sub("", text)
    return {host.lower() for host in HOST.findall(fetched)} - ALLOWED


def main() -> int:
    """Print one line for each strange host. Exit 1 when there is one."""
    root = Path(__file__).resolve().parent.parent
    found = [(lock, host) for lock in LOCKS for host in strange_hosts((root / lock).read_text())]
    for lock, host in sorted(found):
        sys.stderr.write(f"{lock}: names the host {host} (lock again without a mirror)\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
