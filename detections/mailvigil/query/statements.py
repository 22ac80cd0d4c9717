"""Cut what is typed or piped into the shell into single queries. Pure."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
    @"(?:[^"]|"")*" | @'(?:[^']|'')*'             # verbatim strings
  | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'     # strings
  | ```.*?``` | //[^\n]*                          # text over several lines, comments
  | \n[ \t\r]*(?=\n)                              # an empty line
  | [;()\[\]{}] | .
    """,
    re.VERBOSE | re.DOTALL,
)
_LINE = re.compile(r"\s*(\.[^\n]*)(?:\n|$)")
_LEADS_ON = re.compile(r"\s*(let|set|declare|alias|restrict)\b")
"""What ends with a semicolon and belongs to the query after it."""

_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_GOES_ON = ("|", ",", "=", ";")


def queries(text: str) -> list[str]:
    """Return the queries in *text*, which ``;`` or an empty line parts, and lines like ``.help``.

    What comes after ``let …;`` belongs to it, and nothing parts inside of strings and comments.
    """
    separate: list[str] = []
    rest = text
    while rest.strip():
        line = _LINE.match(rest)
        end = line.end() if line else _end(rest)
        query = rest[:end].strip().removesuffix(";").strip()
        separate.extend([query] if query else [])
        rest = rest[end:]
    return separate


def _end(text: str) -> int:
    """Return where the first query of *text* ends."""
    start, code = 0, ""
    for token in _TOKEN.finditer(text):
        if token[0] == ";":
            if not _LEADS_ON.match(code):
                return token.end()
            start, code = token.end(), ""
        elif token[0].startswith("\n") and len(token[0].strip("\n")) < len(token[0]):
            at_blank = text[token.start() + 1 :].lstrip(" \t\r").startswith("\n")
            if at_blank and code.strip():
                return token.end()
        if not token[0].startswith("//") and token.start() >= start:
            code += token[0] if token[0] != ";" else ""
    return len(text)


def is_complete(text: str) -> bool:
    """Tell whether *text* can be run as it is, and is not the beginning of more.

    More is to come while a bracket is open, or after ``|``, a comma, ``=`` or ``let …;``.
    """
    tokens = [t[0] for t in _TOKEN.finditer(text) if not t[0].startswith("//") and t[0].strip()]
    if not tokens or tokens[0] == ".":
        return True
    depth = sum(t in _OPEN for t in tokens) - sum(t in _CLOSE for t in tokens)
    last = queries(text)[-1:] or [""]
    only_leads = bool(_LEADS_ON.match(last[0].rpartition(";")[2] or last[0]))
    ends = tokens[-1] == ";" and not only_leads
    return ends or (depth <= 0 and tokens[-1] not in _GOES_ON and not only_leads)
