"""HTTP requests and answers as values. Pure: nothing here opens a socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl

PIECES: Final = 8
"""Pieces in which a slow body comes."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. Header names are in lower case; the query is as it was sent."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def params(self) -> Mapping[str, str]:
        """The query, decoded, the last of each name."""
        return _decoded(self.query)

    @property
    def form(self) -> dict[str, str]:
        """The body of a form, decoded."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer, and how it is to go wrong.

    ``body`` may be a file, which is sent in pieces. ``cut_after`` ends the connection after
    that many bytes of the body; ``hang_up`` sends nothing. ``wait`` are the seconds before the
    first byte, ``seconds`` those that the body takes, in ``pieces`` of about one size: no read
    of it waits longer than ``seconds / pieces``. A header ``Date`` replaces the server's own;
    an empty one leaves it out.
    """

    status: int = 200
    body: bytes | Path = b""
    headers: tuple[tuple[str, str], ...] = ()
    cut_after: int | None = None
    wait: float = 0.0
    seconds: float = 0.0
    pieces: int = PIECES
    hang_up: bool = False

    def header(self, name: str) -> str | None:
        """Return the first value of a header, in any case, or None."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.stat().st_size

    @property
    def whole(self) -> bool:
        """Whether a client gets all of it."""
        return not self.hang_up and self.cut_after is None


@lru_cache(maxsize=256)
def _decoded(query: str) -> Mapping[str, str]:
    return MappingProxyType(dict(parse_qsl(query, keep_blank_values=True)))
