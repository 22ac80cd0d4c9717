"""Where the collector's settings come from: options over the environment over a YAML file."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from audit_feed.environment import Data, from_environment, over
from audit_feed.errors import ConfigError
from audit_feed.settings import Settings
from mailvigil.errors import SettingsError, SettingsFileError

NO_FILE = "correct it, or name a file with --config"
NOT_SETTINGS = "correct it, or name another file with --config"


def folder_of(config: Path | None) -> Path:
    """Return what relative paths in the settings start from."""
    return config.parent if config else Path()


def load_settings(
    config: Path | None,
    environ: Mapping[str, str],
    options: Mapping[str, str],
    warn: Callable[[str], None],
) -> Settings:
    """Return the settings that *options*, the environment and the file make together.

    *warn* is given a line where others can read a secret in the file.

    Raises:
        SettingsFileError: The file cannot be read, or settings are wrong; all of them are named.

    """
    where = str(config or "the environment and the options")
    file = _file(config, warn) if config else {}
    try:
        data = over(over(file, from_environment(environ)), options)
        return Settings.load(data, folder_of(config))
    except ConfigError as error:
        todo = NOT_SETTINGS if config else NO_FILE
        raise SettingsError(where, error.problems, todo) from None


def _file(path: Path, warn: Callable[[str], None]) -> Data:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _SettingsLoader)  # noqa: S506 - a safe one
    except FileNotFoundError:
        todo = "write one, as docs/collect.md says, or name another with --config"
        raise SettingsFileError(str(path), "no such file", todo) from None
    except OSError as error:
        what = f"cannot be read: {error.strerror or 'the system refuses it'}"
        raise SettingsFileError(str(path), what, "name a file with --config") from None
    except UnicodeDecodeError:
        raise SettingsFileError(str(path), "is not text in UTF-8", NOT_SETTINGS) from None
    except _RepeatedKeyError as error:
        what = f"line {error.line} repeats a key, and one of the two would be passed over"
        raise SettingsFileError(str(path), what, NOT_SETTINGS) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as a 13th month
        raise SettingsFileError(str(path), f"is not YAML{_place(error)}", NOT_SETTINGS) from None
    if not isinstance(data, Mapping):
        what = "holds no settings: it is not a YAML mapping"
        raise SettingsFileError(str(path), what, NOT_SETTINGS)
    if (
        os.name == "posix"
        and _holds_secret(data)
        and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    ):
        warn(f"{path} holds a secret and others can read it (chmod 600)")
    return data


class _RepeatedKeyError(Exception):
    """A key stands twice in one mapping; *line* is where the second one is."""

    def __init__(self, line: int) -> None:
        self.line = line
        super().__init__(f"line {line}")


class _SettingsLoader(yaml.SafeLoader):
    """Loads as the safe one does, but refuses a mapping with a key that is there twice."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - as the library calls it
    ) -> dict[Hashable, Any]:
        """Return the mapping that *node* spells."""
        names = set[str]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in names:
                raise _RepeatedKeyError(key.start_mark.line + 1)
            names.add(str(key.value))
        return super().construct_mapping(node, deep)


def _place(error: Exception) -> str:
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
