"""The collector's settings, as the command line asks for them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TextIO

from audit_feed.settings import Settings
from mailvigil.collect.settings_file import folder_of, load_settings


def folder(args: argparse.Namespace) -> Path:
    """Return what relative paths in the settings start from."""
    return folder_of(args.config)


def settings(args: argparse.Namespace, err: TextIO) -> Settings:
    """Return the settings that *args*, the environment and the file make together.

    Raises:
        SettingsFileError: The file cannot be read, or settings are wrong; all of them are named.

    """
    options = {name: value for name in ("since", "sink") if (value := getattr(args, name, None))}

    def warn(line: str) -> None:
        print(f"mailvigil: {line}", file=err)

    return load_settings(args.config, os.environ, options, warn)
