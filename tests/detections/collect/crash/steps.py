"""Kill this process right before a given step of its I/O, without a change to what it runs.

Python tells a profiler of every call of a C function. Those by which anything leaves the
process or reaches it are the steps: a call of SQLite, of TLS, of a socket, of the file system.
DuckDB's own calls are not told of, so the calls and returns of the functions around them are
steps too. In the middle of a write to a file of rows is a step: then half of it is there.
Between two steps nothing outside of the process changes; what happens in the middle of another
one is for kills from outside, at random.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from itertools import count
from types import BuiltinFunctionType, FrameType, ModuleType

from mailvigil.collect import gzip_members, sinks
from mailvigil.engine import workspace

STEPS: Mapping[str, frozenset[str]] = {
    "_sqlite3": frozenset({"connect"}),
    "Connection": frozenset({"execute", "executemany", "executescript", "commit", "close"}),
    "_SSLSocket": frozenset({"do_handshake", "read", "write"}),
    "socket": frozenset({"connect", "close"}),
    "posix": frozenset({"open", "write", "fsync", "replace", "mkdir", "rmdir", "unlink"}),
    "fcntl": frozenset({"flock"}),
    "_io": frozenset({"open"}),
    "FileIO": frozenset({"write"}),
}
"""Module, or class of the object, to the C functions that are steps."""

FILES = frozenset({sinks.__file__, gzip_members.__file__, workspace.__file__})
"""Of the functions in these files each call and return is a step."""


def kill_at(step: int) -> None:
    """Send SIGKILL to this process right before its *step*-th step from now on; 0 never.

    A negative one is in the middle of the first write to a file of rows for -1, and so on.
    Counts the steps of the calling thread and of all threads that are started from now on.
    """
    numbers, writes = count(1), count(-1, -1)

    def look(frame: FrameType, event: str, called: object) -> None:
        if not _is_step(frame, event, called):
            return
        if next(numbers) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        if _is_write(frame, called) and step in {next(numbers), next(writes)}:
            rest = frame.f_locals["rest"]
            os.write(frame.f_locals["file"].fileno(), rest[: len(rest) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    hook = look if step else None
    threading.setprofile(hook)
    sys.setprofile(hook)


def _is_step(frame: FrameType, event: str, called: object) -> bool:
    if event == "c_call":
        return isinstance(called, BuiltinFunctionType) and called.__name__ in _of(called)
    code = frame.f_code
    named = not code.co_name.startswith("<")  # a generator is called for each of its values
    return event in {"call", "return"} and named and code.co_filename in FILES


def _is_write(frame: FrameType, called: object) -> bool:
    """Tell whether rows are about to be written to a file of their own."""
    write = isinstance(called, BuiltinFunctionType) and called.__name__ == "write"
    return write and frame.f_code is sinks._write.__code__  # noqa: SLF001 - the step there


def _of(called: BuiltinFunctionType) -> frozenset[str]:
    owner = called.__self__
    name = owner.__name__ if isinstance(owner, ModuleType) else type(owner).__name__
    return STEPS.get(name, frozenset())
