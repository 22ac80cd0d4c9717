"""``mailvigil tenant``: permissions and subscriptions of a collector."""

from __future__ import annotations

import argparse
from typing import BinaryIO, NoReturn, TextIO

from mailvigil.errors import InputError


def run_show(_args: argparse.Namespace, _stdin: BinaryIO, _out: TextIO, _err: TextIO) -> int:
    """Print which permissions an identity has, and return the exit code."""
    _not_there_yet()


def run_grant(_args: argparse.Namespace, _stdin: BinaryIO, _out: TextIO, _err: TextIO) -> int:
    """Give or take permissions, and return the exit code."""
    _not_there_yet()


def run_subscribe(_args: argparse.Namespace, _stdin: BinaryIO, _out: TextIO, _err: TextIO) -> int:
    """Start or stop subscriptions, and return the exit code."""
    _not_there_yet()


def _not_there_yet() -> NoReturn:
    raise InputError("tenant", "not part of this version", "infra/scripts/tenant.sh does it")
