"""Settings from the environment, in the form that the settings file has. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from audit_feed.errors import ConfigError

PREFIX = "AUDIT_FEED_"
"""What the name of every setting begins with in the environment."""

Data = Mapping[str, object]
"""Settings as YAML would give them; ``audit_feed.settings`` checks them."""

_TEXTS = ("cloud", "ledger", "since", "keep", "profile")
_CREDENTIAL = ("kind", "client_id", "secret", "certificate", "token_file")
_SINK = ("kind", "endpoint", "dcr", "stream", "file", "folder")
_FILTER = ("workload", "operation", "record_type")
_CLOUD = ("login", "feed", "feed_audience", "ingestion_audience", "ca")


def _names(part: str, keys: tuple[str, ...]) -> dict[str, str]:
    """Return key to variable of one part, such as ``dcr`` to ``AUDIT_FEED_SINK_DCR``."""
    return {key: f"{PREFIX}{part}{key}".upper() for key in keys}


_TOP = _names("", (*_TEXTS, "workers", "tenants", "content_types"))
_PARTS = {
    "credential": _names("credential_", _CREDENTIAL),
    "cloud": _names("cloud_", _CLOUD),
    "sink": _names("sink_", _SINK),
    "include": _names("include_", _FILTER),
    "exclude": _names("exclude_", _FILTER),
}
NAMES = (*_TOP.values(), *(name for part in _PARTS.values() for name in part.values()))
"""Every variable that is read."""


def from_environment(environ: Mapping[str, str]) -> Data:
    """Return the settings that the variables of ``NAMES`` give; an empty one gives none.

    Lists are separated by commas. All tenants share one list of content types and one
    credential; tenants that differ need the settings file. A cloud is a name or, for another one,
    its addresses.

    Raises:
        ConfigError: A variable with the prefix is not one of ``NAMES``, or one is about tenants
            and none names them. It names every problem.

    """
    given = {n: v.strip() for n, v in environ.items() if n.startswith(PREFIX) and v.strip()}
    problems = [
        f"{name}: unknown (there are {', '.join(NAMES)})" for name in sorted({*given} - {*NAMES})
    ]
    top = _values(given, _TOP)
    parts = {part: _values(given, names) for part, names in _PARTS.items()}
    if "tenants" not in top and (parts["credential"] or "content_types" in top):
        problems.append(f"{_TOP['tenants']}: missing, but its credential or content types are set")
    if "cloud" in top and parts["cloud"]:
        problems.append(f"{_TOP['cloud']}: set, and so are addresses of a cloud (give one of them)")
    if problems:
        raise ConfigError(problems)
    return {**_plain(top), **_tenants(top, parts["credential"]), **_others(parts)}


def over(base: Data, top: Data) -> Data:
    """Return *base* with the values of *top* in place of its own.

    A setting is replaced as a whole, but ``sink`` key by key, unless it is of another kind.
    """
    merged = {**base, **top}
    below, above = base.get("sink"), top.get("sink")
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        kind = below.get("kind")
        merged["sink"] = {**below, **above} if above.get("kind", kind) == kind else above
    return merged


def _values(given: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    return {key: given[name] for key, name in names.items() if name in given}


def _plain(top: Mapping[str, str]) -> Data:
    values: dict[str, object] = {key: top[key] for key in _TEXTS if key in top}
    if workers := top.get("workers"):
        # What is not a number is left as it is: the settings refuse it.
        values["workers"] = int(workers) if workers.isascii() and workers.isdecimal() else workers
    return values


def _tenants(top: Mapping[str, str], credential: Mapping[str, str]) -> Data:
    if "tenants" not in top:
        return {}
    types = {"content_types": _listed(top["content_types"])} if "content_types" in top else {}
    signed = {"credential": credential} if credential else {}
    return {"tenants": [{"id": id_, **types, **signed} for id_ in _listed(top["tenants"])]}


def _others(parts: Mapping[str, Mapping[str, str]]) -> Data:
    filters = {
        part: {key: _listed(value) for key, value in parts[part].items()}
        for part in ("include", "exclude")
        if parts[part]
    }
    mappings = {part: parts[part] for part in ("cloud", "sink") if parts[part]}
    return {**filters, **mappings}


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]
