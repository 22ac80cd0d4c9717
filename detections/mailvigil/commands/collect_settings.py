"""Where the collector's settings come from: options over the environment over a YAML file."""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import yaml

from audit_feed.environment import Data, from_environment, over
from audit_feed.errors import ConfigError
from audit_feed.settings import Settings
from mailvigil.errors import InputError, SettingsError

NO_FILE = "correct it, or name a file with --config"
NOT_SETTINGS = "correct it, or name another file with --config"


def folder(args: argparse.Namespace) -> Path:
    """Return what relative paths in the settings start from."""
    return args.config.parent if args.config else Path()


def settings(args: argparse.Namespace, err: TextIO) -> Settings:
    """Return the settings that *args*, the environment and the file make together.

    Raises:
        InputError: The file cannot be read, or settings are wrong; all of them are named.

    """
    where = str(args.config or "the environment and the options")
    file = _file(args.config, err) if args.config else {}
    options = {name: value for name in ("since", "sink") if (value := getattr(args, name, None))}
    try:
        data = over(over(file, from_environment(os.environ)), options)
        return Settings.load(data, folder(args))
    except ConfigError as error:
        raise SettingsError(
            where, error.problems, NOT_SETTINGS if args.config else NO_FILE
        ) from None


def _file(path: Path, err: TextIO) -> Data:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        todo = "write one, as docs/collect.md says, or name another with --config"
        raise InputError(str(path), "no such file", todo) from None
    except OSError as error:
        what = f"cannot be read: {error.strerror or 'the system refuses it'}"
        raise InputError(str(path), what, "name a file with --config") from None
    except UnicodeDecodeError:
        raise InputError(str(path), "is not text in UTF-8", NOT_SETTINGS) from None
    except yaml.YAMLError as error:
        raise InputError(str(path), f"is not YAML{_place(error)}", NOT_SETTINGS) from None
    if not isinstance(data, Mapping):
        raise InputError(str(path), "holds no settings: it is not a YAML mapping", NOT_SETTINGS)
    if (
        os.name == "posix"
        and _holds_secret(data)
        and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    ):
        print(f"mailvigil: {path} holds a secret and others can read it (chmod 600)", file=err)
    return data


def _place(error: yaml.YAMLError) -> str:
    """Return where it is wrong; the text of the error repeats what stands there."""
    mark = getattr(error, "problem_mark", None)
    return f" at line {mark.line + 1}" if mark else ""


def _holds_secret(data: Data) -> bool:
    tenants = data.get("tenants")
    credentials = [
        tenant.get("credential")
        for tenant in (tenants if isinstance(tenants, list) else ())
        if isinstance(tenant, Mapping)
    ]
    return any(isinstance(c, Mapping) and c.get("secret") for c in credentials)
