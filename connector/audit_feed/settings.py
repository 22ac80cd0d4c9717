"""Every setting of the connector, read once; all that is wrong is named at once. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path

from audit_feed import certificate
from audit_feed.blobs import CONTENT_TYPES
from audit_feed.clouds import CLOUDS, Cloud
from audit_feed.errors import ConfigError
from audit_feed.windows import LEAST_KEPT, RETENTION

GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
FILTERS = ("workload", "operation", "record_type")
"""What records can be chosen by: fields Workload, Operation and RecordType."""

_ADDRESS = re.compile(r"https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?")
"""An address of a service: only what no reader takes for something else."""

_PORTS = range(1, 65536)
_LONGEST_NAME = 255
"""Bytes of a name in a path: what file systems take."""

_LENGTH = re.compile(r"(\d{1,6})([dhm])")
MOST_KEPT = timedelta(days=3650)
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}
_CREDENTIALS: Mapping[str, tuple[str, ...]] = {
    "secret": ("client_id", "secret"),
    "certificate": ("client_id", "certificate"),
    "federated": ("client_id", "token_file"),
    "managed_identity": (),
}
_PATHS = frozenset({"file", "folder"})
_FILES = frozenset({"certificate", "token_file"})
_SINKS: Mapping[str, tuple[str, ...]] = {
    "loganalytics": ("endpoint", "dcr", "stream"),
    "duckdb": ("file",),
    "jsonl": ("folder",),
}
PROFILES = ("full", "lean")
"""``lean`` leaves out what no rule reads; see ``audit_feed.records.lean``."""

_TOP = (
    "tenants", "cloud", "sink", "ledger", "since", "keep", "include", "exclude", "profile",
    "workers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Credential:
    """How to sign in: its kind, and what that kind needs. Never printed."""

    kind: str
    values: Mapping[str, str]

    def __repr__(self) -> str:
        """Return the kind alone: the values are secret."""
        return f"Credential({self.kind})"


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant to collect from: its GUID, its content types, and how to sign in."""

    id: str
    content_types: tuple[str, ...]
    credential: Credential


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """Where rows go: ``loganalytics``, ``duckdb`` or ``jsonl``, and what that needs."""

    kind: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. ``since`` is how far back the first pass lists, at most 7 days.

    ``keep`` is how long the ledger keeps what is done, ``LEAST_KEPT`` to ``MOST_KEPT``.
    ``include`` and ``exclude`` map a field of ``FILTERS`` to values, as text.
    """

    tenants: tuple[Tenant, ...]
    cloud: Cloud
    sink: SinkSettings
    ledger: Path
    since: timedelta
    keep: timedelta
    include: Mapping[str, frozenset[str]]
    exclude: Mapping[str, frozenset[str]]
    profile: str
    workers: int

    @classmethod
    def load(cls, data: object, folder: Path) -> Settings:
        """Read what a YAML file or the environment says.

        Args:
            data: The parsed settings.
            folder: What relative paths start from.

        Raises:
            ConfigError: It names every problem.

        """
        read = _SettingsReader(folder)
        top = read.mapping(data, "settings", _TOP)
        settings = cls(
            tenants=tuple(_tenants(read, top.get("tenants"))),
            cloud=_cloud(read, top.get("cloud", "worldwide")),
            sink=_sink(read, top.get("sink")),
            ledger=folder / _ledger(read, top),
            since=_since(read, str(top.get("since", "24h"))),
            keep=_keep(read, str(top.get("keep", "30d"))),
            include=_filters(read, top.get("include"), "include"),
            exclude=_filters(read, top.get("exclude"), "exclude"),
            profile=_profile(read, top.get("profile", "full")),
            workers=read.number(top.get("workers", 8), "workers", 64),
        )
        if read.problems:
            raise ConfigError(read.problems)
        return settings


class _SettingsReader:
    """Reads parts and collects what is wrong with them; no value comes into a message."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []

    def wrong(self, where: str, what: str) -> None:
        self.problems.append(f"{where}: {what}")

    def mapping(self, value: object, where: str, known: Sequence[str]) -> Mapping[str, object]:
        if not isinstance(value, Mapping):
            self.wrong(where, f"missing, or not a mapping (its keys are {', '.join(known)})")
            return {}
        for key in value:
            if key not in known:
                self.wrong(f"{where}.{key}", f"unknown key (there are {', '.join(known)})")
        return value

    def text(self, values: Mapping[str, object], key: str, where: str) -> str:
        value = values.get(key, "")
        if not isinstance(value, str):
            self.wrong(where, "not a text")
            return ""
        if "\0" in value:
            self.wrong(where, "holds a character that no text has")
            return ""
        return value.strip()

    def name(self, text: str, where: str) -> str:
        """Return *text*, which names a file or folder, checked."""
        if any(len(part.encode("utf-8", "replace")) > _LONGEST_NAME for part in text.split("/")):
            self.wrong(where, f"a name in it is longer than {_LONGEST_NAME} bytes")
        return text

    def address(self, text: str, where: str, why: str = "") -> None:
        """Check that *text*, if there is one, is the address of a service."""
        if text and not text.startswith("https://"):
            self.wrong(where, f"does not begin with https://{why}")
        elif text and not _is_address(text):
            self.wrong(where, "not an address such as https://host or https://host:8443")

    def path(self, text: str) -> str:
        """Return *text* as a path from the settings' folder; an empty one stays empty."""
        return str(self.folder / text) if text else ""

    def needed(
        self, values: Mapping[str, object], keys: Sequence[str], where: str
    ) -> dict[str, str]:
        texts = {key: self.text(values, key, f"{where}.{key}") for key in keys}
        for key, value in texts.items():
            if not value:
                self.wrong(f"{where}.{key}", "missing")
        return texts

    def number(self, value: object, where: str, most: int) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most:
            return value
        self.wrong(where, f"not a whole number from 1 to {most}")
        return 1


def _tenants(read: _SettingsReader, value: object) -> list[Tenant]:
    if not isinstance(value, list) or not value:
        read.wrong("tenants", "missing, or not a list (give at least one)")
        return []
    tenants = [_tenant(read, item, f"tenants[{n}]") for n, item in enumerate(value)]
    ids = [tenant.id for tenant in tenants]
    for n, id_ in enumerate(ids):
        if id_ and id_ in ids[:n]:
            read.wrong(f"tenants[{n}].id", "the same as of another tenant")
    return tenants


def _tenant(read: _SettingsReader, item: object, where: str) -> Tenant:
    values = read.mapping(item, where, ("id", "content_types", "credential"))
    id_ = read.text(values, "id", f"{where}.id").lower()
    if not GUID.fullmatch(id_):
        read.wrong(f"{where}.id", "not a GUID (a blank or a name makes the feed answer nothing)")
    types = values.get("content_types", ["Audit.Exchange"])
    if not isinstance(types, list) or not types:
        read.wrong(f"{where}.content_types", "not a list")
        types = []
    for kind in types:
        if kind not in CONTENT_TYPES:
            read.wrong(f"{where}.content_types", f"unknown (there are {', '.join(CONTENT_TYPES)})")
        elif types.count(kind) > 1:
            read.wrong(f"{where}.content_types", f"{kind} is there more than once")
    return Tenant(id_, tuple(str(kind) for kind in types), _credential(read, values, where))


def _credential(read: _SettingsReader, tenant: Mapping[str, object], where: str) -> Credential:
    where = f"{where}.credential"
    known = sorted({key for keys in _CREDENTIALS.values() for key in keys})
    values = read.mapping(
        tenant.get("credential", {"kind": "managed_identity"}), where, ("kind", *known)
    )
    kind = read.text(values, "kind", f"{where}.kind")
    if kind not in _CREDENTIALS:
        read.wrong(f"{where}.kind", f"unknown (there are {', '.join(_CREDENTIALS)})")
        return Credential(kind, {})
    texts = read.needed(values, _CREDENTIALS[kind], where)
    paths = {key for key in _FILES & texts.keys() if certificate.content(texts[key]) is None}
    texts.update({key: read.path(texts[key]) for key in paths})
    optional = read.text(values, "client_id", f"{where}.client_id")
    return Credential(kind, {**({"client_id": optional} if optional else {}), **texts})


def _cloud(read: _SettingsReader, value: object) -> Cloud:
    if isinstance(value, str):
        if value not in CLOUDS:
            read.wrong("cloud", f"unknown (there are {', '.join(CLOUDS)})")
        return CLOUDS.get(value, CLOUDS["worldwide"])
    names = tuple(f.name for f in fields(Cloud))
    values = read.mapping(value, "cloud", names)
    texts = read.needed(values, names[:-1], "cloud")
    for name in ("login", "feed"):
        read.address(texts[name], f"cloud.{name}", " (a token would go in the open)")
    return Cloud(ca=read.path(read.text(values, "ca", "cloud.ca")), **texts)


def _ledger(read: _SettingsReader, top: Mapping[str, object]) -> str:
    return read.name(read.text(top, "ledger", "ledger") or "ledger.sqlite", "ledger")


def _sink(read: _SettingsReader, value: object) -> SinkSettings:
    known = sorted({key for keys in _SINKS.values() for key in keys})
    values = read.mapping(value, "sink", ("kind", *known))
    kind = read.text(values, "kind", "sink.kind")
    if kind not in _SINKS:
        read.wrong("sink.kind", f"unknown (there are {', '.join(_SINKS)})")
        return SinkSettings(kind, {})
    texts = read.needed(values, _SINKS[kind], "sink")
    if kind == "loganalytics":
        read.address(texts["endpoint"], "sink.endpoint")
    for key in _PATHS & texts.keys():
        read.name(texts[key], f"sink.{key}")
    return SinkSettings(kind, texts)


def _is_address(text: str) -> bool:
    match = _ADDRESS.fullmatch(text)
    return match is not None and (match[2] is None or int(match[2]) in _PORTS)


def _length(text: str) -> timedelta:
    """Return the length that *text* says, such as ``24h``, or none at all."""
    match = _LENGTH.fullmatch(text)
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()


def _keep(read: _SettingsReader, text: str) -> timedelta:
    length = _length(text)
    if not LEAST_KEPT <= length <= MOST_KEPT:
        read.wrong("keep", "not a time such as 30d, at least 8d and at most 3650d")
    return length


def _since(read: _SettingsReader, text: str) -> timedelta:
    length = _length(text)
    if not timedelta() < length <= RETENTION:
        read.wrong("since", "not a time such as 24h or 7d, at most 7d")
    return length


def _profile(read: _SettingsReader, value: object) -> str:
    if value not in PROFILES:
        read.wrong("profile", f"unknown (there are {', '.join(PROFILES)})")
    return str(value)


def _filters(read: _SettingsReader, value: object, where: str) -> Mapping[str, frozenset[str]]:
    values = read.mapping(value, where, FILTERS) if value is not None else {}
    filters = {}
    for name, wanted in values.items():
        if not isinstance(wanted, list) or not wanted:
            read.wrong(f"{where}.{name}", "not a list of values")
            continue
        filters[name] = frozenset(str(v).lower() for v in wanted)
    return filters
