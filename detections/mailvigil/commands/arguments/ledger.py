"""The arguments of ``mailvigil ledger``."""

from __future__ import annotations

import argparse
import re
from datetime import timedelta
from pathlib import Path

from mailvigil.collect.storage_account import TABLES_ADDRESS
from mailvigil.commands.arguments.collect import add_config
from mailvigil.commands.arguments.values import examples, short_length

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
"""Source: Azure resource naming rules, ``Microsoft.Storage/storageAccounts``."""

WITHIN = timedelta(minutes=30)
"""How long ago a collector at work may have listed a stream; the Function app says the same."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``ledger``."""
    ledger = commands.add_parser("ledger", help="say for any hour whether it is complete")
    ledger.set_defaults(run="mailvigil.commands.ledger:run")
    examples(
        ledger,
        "mailvigil ledger --config lab/collect.yaml",
        "mailvigil ledger --config lab/collect.yaml --since 24h --format json",
        "mailvigil ledger health --config lab/collect.yaml",
        "mailvigil ledger retry --config lab/collect.yaml",
        "mailvigil ledger redeliver --config lab/collect.yaml",
        "mailvigil ledger --storage mailvigilstore",
    )
    actions = ["show", "health", "retry", "parked", "redeliver", "accept", "repair"]
    ledger.add_argument("action", nargs="?", choices=actions, default="show",
        help="show the statement; say whether a collector is at work; try rejected blobs again; "
        "print as JSON lines what of a record could not be sent; have all sent again that the "
        "feed still has; go on with another sink, include or exclude as it is; "
        "or repair what cannot be read")  # fmt: skip
    add_config(ledger)
    ledger.add_argument("--storage", type=address_of_tables, metavar="ACCOUNT",
        help="the Function app's ledger in this storage account, or at this address of its tables, "
        "in place of a collector's; you are signed in by az login")  # fmt: skip
    ledger.add_argument("--since", type=short_length, metavar="7d", dest="span",
        help="how far back the statement goes "
        "(default: 7d, and all that was lost before)")  # fmt: skip
    ledger.add_argument("--within", type=short_length, default=WITHIN, metavar="30m",
        help="health: how long ago every feed may have been listed (default: 30m)")  # fmt: skip
    ledger.add_argument("--format", choices=["table", "json"], default="table")
    ledger.add_argument("--blob", action="append", default=[], metavar="ID",
        help="retry: this rejected blob alone (again for more)")  # fmt: skip
    ledger.add_argument("--export", type=Path, metavar="FILE",
        help="parked, redeliver: write what is parked to this new file, "
        "readable by you alone")  # fmt: skip


def address_of_tables(text: str) -> str:
    """Return the address of the tables of the storage account that an option names.

    Raises:
        argparse.ArgumentTypeError: It is neither an account's name nor an ``https`` address.

    """
    if _ACCOUNT.fullmatch(text):
        return TABLES_ADDRESS.format(text)
    if text.startswith("https://"):
        return text.rstrip("/")
    raise argparse.ArgumentTypeError(
        "must be a storage account's name, or the address of its tables, https://…"
    )
