"""Keep what is private out of the libraries' logs, whatever level they are set to.

They are silent unless asked for by name. What they then say goes through here first: their lines
hold query strings, and an exception's text can hold anything that was sent or read.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial

LOUD = ("azure", "msal", "urllib3", "requests")
"""The families of loggers that know tokens, secrets or records; those below them too."""

_HIDDEN = "…"
_PRIVATE = (
    (re.compile(r"\?[^\s'\"<>]+"), f"?{_HIDDEN}"),
    (re.compile(r"\beyJ[\w.~+/=-]+"), _HIDDEN),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {_HIDDEN}"),
    (
        re.compile(
            r"(\w*(?:secret|assertion|token|password|authorization)[\"']?\s*[=:]\s*)"
            r"(\"[^\"]*\"|'[^']*'|[^\s,;&}]+)",
            re.IGNORECASE,
        ),
        rf"\1{_HIDDEN}",
    ),
)
"""What is hidden: query strings, JWTs, credentials of a header, and what is called a secret."""


def shown(text: str) -> str:
    """Return *text* without what is private in it."""
    for pattern, instead in _PRIVATE:
        text = pattern.sub(instead, text)
    return text


def guard() -> None:
    """Silence the libraries whose level is not set by name, and hide what is private in the others.

    It holds for the whole process, and for loggers that are made later; a second call changes
    nothing.
    """
    for name in LOUD:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL)
    before = logging.getLogRecordFactory()
    if not (isinstance(before, partial) and before.func is _guarded):
        logging.setLogRecordFactory(partial(_guarded, before))


def _guarded(
    make: Callable[..., logging.LogRecord], *args: object, **kwargs: object
) -> logging.LogRecord:
    """Return a record; of a loud library without arguments, traceback and what is private."""
    record = make(*args, **kwargs)
    if record.name.partition(".")[0] in LOUD:
        kind = record.exc_info[0] if record.exc_info else None
        raised = f" ({kind.__name__})" if kind else ""
        record.msg, record.args = shown(_message(record)) + raised, None
        record.exc_info = record.exc_text = record.stack_info = None
    return record


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # a slip in the library's format must not end a request
        return str(record.msg)
