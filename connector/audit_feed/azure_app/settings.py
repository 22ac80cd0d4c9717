"""Settings of the Function app: the collector's, and where its storage is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audit_feed import environment
from audit_feed.environment import PREFIX, Data, from_environment, over
from audit_feed.errors import ConfigError
from audit_feed.settings import Settings

STORAGE = "AzureWebJobsStorage"
"""The setting that Functions keeps its own storage in; ours is the same account."""

WEBHOOK = f"{PREFIX}WEBHOOK_AUTH_ID"
DISCOVER = f"{PREFIX}DISCOVER_SCHEDULE"
SWEEP = f"{PREFIX}SWEEP_SCHEDULE"
START = f"{PREFIX}START_SUBSCRIPTIONS"
TELEMETRY = "APPLICATIONINSIGHTS_CONNECTION_STRING"
_OWN = (WEBHOOK, DISCOVER, SWEEP, START)
_PARTS = ("accountName", "queueServiceUri", "tableServiceUri", "clientId")
_ELSEWHERE = frozenset(f"{PREFIX}{part}" for part in ("LEDGER", "SINK_KIND", "SINK_FILE",
                       "SINK_FOLDER"))  # fmt: skip
NAMES = (
    *(name for name in environment.NAMES if name not in _ELSEWHERE),
    *_OWN,
    STORAGE,
    *(f"{STORAGE}__{part}" for part in _PARTS),
    TELEMETRY,
)
"""Every setting that changes something here."""

_BOOLEANS = {"": False, "false": False, "true": True}

DISCOVER_SCHEDULE = "0 * * * * *"
SWEEP_SCHEDULE = "30 */5 * * * *"
"""When the timers run if nothing is said: second, minute, hour, day, month, weekday."""

_UNRESOLVED = "@Microsoft.KeyVault("
_SUFFIX = {"us": "core.usgovcloudapi.net"}
_WORLD = "core.windows.net"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where queues and tables are: by a connection string, or by addresses and an identity.

    ``client_id`` names a user-assigned identity; ``""`` is the app's own.
    """

    connection: str = field(default="", repr=False)
    queues: str = ""
    tables: str = ""
    client_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings:
    """All settings of the app. ``auth_id`` is the webhook's secret, ``""`` for no webhook.

    ``start`` lets the app start subscriptions that are missing.
    """

    collector: Settings
    storage: Storage
    start: bool = False
    auth_id: str = field(default="", repr=False)
    telemetry: str = field(default="", repr=False)

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> FunctionSettings:
        """Read the environment.

        Raises:
            ConfigError: It names every problem, and no value.

        """
        ours = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
        problems = [
            f"{name}: the Key Vault reference was not resolved (may the app read that secret?)"
            for name, value in sorted(ours.items())
            if value.strip().startswith(_UNRESOLVED)
        ]
        if problems:
            raise ConfigError(problems)
        data = from_environment({n: v for n, v in ours.items() if n not in _OWN})
        settings = Settings.load(over(_DEFAULTS, data), Path())
        if settings.sink.kind != "loganalytics":
            raise ConfigError([f"{PREFIX}SINK_KIND: must be loganalytics here"])
        return cls(
            collector=settings,
            storage=_storage(environ, settings.cloud.login),
            start=_boolean(environ, START),
            auth_id=environ.get(WEBHOOK, "").strip(),
            telemetry=environ.get(TELEMETRY, "").strip(),
        )


_DEFAULTS: Data = {"sink": {"kind": "loganalytics", "stream": "Custom-M365Activity_CL"}}


def schedule(environ: Mapping[str, str], name: str, default: str) -> str:
    """Return a timer's schedule (NCRONTAB, UTC)."""
    return environ.get(name, "").strip() or default


def _boolean(environ: Mapping[str, str], name: str) -> bool:
    value = _BOOLEANS.get(environ.get(name, "").strip().lower())
    if value is None:
        raise ConfigError([f"{name}: neither true nor false"])
    return value


def _storage(environ: Mapping[str, str], login: str) -> Storage:
    def value(part: str) -> str:
        return environ.get(f"{STORAGE}__{part}", "").strip()

    if connection := environ.get(STORAGE, "").strip():
        return Storage(connection=connection)
    queues, tables = value("queueServiceUri"), value("tableServiceUri")
    if name := value("accountName"):
        suffix = _SUFFIX.get(login.rpartition(".")[2], _WORLD)
        queues = queues or f"https://{name}.queue.{suffix}"
        tables = tables or f"https://{name}.table.{suffix}"
    problems = [
        f"{STORAGE}__{part}: missing, or does not begin with https:// (or give {what})"
        for part, url, what in (
            ("queueServiceUri", queues, f"{STORAGE}__accountName"),
            ("tableServiceUri", tables, f"{STORAGE}__accountName"),
        )
        if not url.startswith("https://")
    ]
    if problems:
        raise ConfigError(problems)
    return Storage(queues=queues, tables=tables, client_id=value("clientId"))
