"""What may be typed into the form: only what the template and the app take.

The portal reads the patterns as JavaScript's; only what Python reads alike is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

GUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_GUID_IN_LOWER_CASE = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

_OCTET = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_EVEN_OCTET = r"(25[024]|2[0-4][02468]|1\d[02468]|[1-9]?[02468])"
_OCTET_OF_FOURS = (
    "([048]|10[048]|1?([2468][048]|[13579][26])|2([024][048]|[13][26]|52))"  # 0, 4, 8 to 252
)
_OCTET_BITS, _OCTETS = 8, 4

_GROUP = "[0-9a-fA-F]{1,4}"
_GROUPS = 8
_AT_LEAST: Mapping[int, str] = {
    1: r"(1[6-9]|[2-9]\d|1[01]\d|12[0-8])",
    2: r"(3[2-9]|[4-9]\d|1[01]\d|12[0-8])",
    3: r"(4[89]|[5-9]\d|1[01]\d|12[0-8])",
    4: r"(6[4-9]|[7-9]\d|1[01]\d|12[0-8])",
    5: r"([89]\d|1[01]\d|12[0-8])",
    6: r"(9[6-9]|1[01]\d|12[0-8])",
    7: "(11[2-9]|12[0-8])",
}
"""Groups of 16 bits to the lengths of a prefix that hold all of them, up to 128."""


def tenants() -> str:
    """Return what takes tenants with commas between, each once.

    One may be in any case; several are in lower case, so that a repeated one is seen.
    """
    once = f"(?!.*({_GUID_IN_LOWER_CASE}).*\\3)"  # the third parenthesis of all
    return f"^({GUID}|{once}{_GUID_IN_LOWER_CASE}(, ?{_GUID_IN_LOWER_CASE})+)$"


def ipv4_range(lengths: Iterable[int]) -> str:
    """Return what takes a range of IPv4 whose prefix has one of *lengths*, and no bit behind it."""
    return f"({'|'.join(_ipv4_of(length) for length in sorted(lengths))})"


def _ipv4_of(length: int) -> str:
    """Return what takes a range with a prefix of *length* bits."""
    whole, bits = divmod(length, _OCTET_BITS)
    octets = [_OCTET] * whole
    if bits:
        octets.append(_multiples(2 ** (_OCTET_BITS - bits)))
    dotted = r"\.".join([*octets, *["0"] * (_OCTETS - len(octets))])
    return f"{dotted}/{length}"


def _multiples(step: int) -> str:
    """Return what takes an octet that is a multiple of *step*, a power of 2 from 2 to 128."""
    compact = {2: _EVEN_OCTET, 4: _OCTET_OF_FOURS}
    numbers = "|".join(str(number) for number in range(0, 2**_OCTET_BITS, step))
    return compact.get(step, f"({numbers})")


def _ipv6() -> str:
    """Return what takes an address of IPv6, or a range of one whose prefix ends before ``::``."""
    shortened = (
        f"({_GROUP}:){{{before}}}(:{_GROUP}){{1,{_GROUPS - 1 - before}}}(/128)?"
        for before in range(1, _GROUPS - 1)
    )
    ranges = (f"({_GROUP}:){{{before}}}:/{lengths}" for before, lengths in _AT_LEAST.items())
    return f"(({_GROUP}:){{{_GROUPS - 1}}}{_GROUP}(/128)?|{'|'.join((*shortened, *ranges))})"


def callers() -> str:
    """Return what takes addresses and ranges with commas between, or nothing."""
    address = rf"{_OCTET}(\.{_OCTET}){{3}}"
    caller = f"({ipv4_range(range(_OCTET_BITS, 33))}|{address}|{_ipv6()})"
    return f"^({caller}(, ?(?!$)|$))*$"


_TEXT = r'[^"\\,\x00-\x1f]*[^"\\,\x00-\x20][^"\\,\x00-\x1f]*'
_VALUES = f"{_TEXT}(,{_TEXT})*"
_SCHEDULE = r"[0-9*/,-]+( [0-9*/,-]+){5}"

_SETTINGS: Mapping[str, str] = {
    "KEEP": r"([89]|[1-9]\d|[1-9]\d\d|[12]\d{3}|3[0-5]\d\d|36[0-4]\d|3650)d",
    "WORKERS": r"([1-9]|[1-5]\d|6[0-4])",
    "(INCLUDE|EXCLUDE)_(WORKLOAD|OPERATION|RECORD_TYPE)": _VALUES,
    "(DISCOVER|SWEEP)_SCHEDULE": _SCHEDULE,
    "WEBHOOK_AUTH_ID": r'[^"\\\x00-\x1f]*',
}
"""Settings that no other question asks for, and what the app takes for each."""


def settings() -> str:
    """Return what takes an object of JSON with settings of the app."""
    named = "|".join(rf'{name}"\s*:\s*"{value}' for name, value in _SETTINGS.items())
    pair = rf'"AUDIT_FEED_({named})"'
    return rf"^\s*\{{\s*({pair}\s*(,\s*(?!\}})|(?=\}})))*\}}\s*$"


PACKAGE = r"^(https://[A-Za-z0-9.-]+(:\d{1,4})?(/[^\s?#]*)?/released-package\.zip(\?[^\s#]+)?)?$"
"""onedeploy takes a zip of this name alone."""

ADDRESS_SPACE = f"^{ipv4_range(range(10, 25))}$"
"""The two subnets of /26 are in it."""
