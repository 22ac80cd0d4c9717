"""``python -m mailvigil``."""

from __future__ import annotations

import sys

from mailvigil.cli import run

if __name__ == "__main__":
    sys.exit(run())
