"""The addresses of an Azure storage account."""

from __future__ import annotations

TABLES_ADDRESS = "https://{}.table.core.windows.net"
"""Of an account's tables in the public cloud, with the account's name to fill in."""
