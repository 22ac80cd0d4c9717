"""SIGTERM and Ctrl-C, heard by a thread of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket, socketpair
from threading import Event, Thread, current_thread, main_thread

from mailvigil.exit_codes import EXIT_OK

_DUCKDB_STOPPED = "Query interrupted"
"""What DuckDB says when Ctrl-C came in the middle of a query, in a RuntimeError like any other."""

_ENDS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def heard(stop: Event, grace_seconds: float | None = None) -> Iterator[None]:
    """Set *stop* when SIGTERM or SIGINT comes, as long as the context lasts.

    The main thread may be about to wait for a lock: a signal that comes then, or to another
    thread, does not wake it, and its handlers run only when the wait ends. So a thread listens.
    Outside of the main thread nothing is heard: Python allows no handlers there.

    Args:
        stop: What is set.
        grace_seconds: From the signal to the process's end with code 0, as in a crash, if the
            context has not ended by then: a request that hangs cannot be ended otherwise.
            None waits for ever.

    """
    if current_thread() is not main_thread():
        yield
        return
    done = Event()
    ear, mouth = socketpair()
    mouth.settimeout(0)
    listener = Thread(target=_listen, args=(ear, stop, done, grace_seconds), daemon=True)
    listener.start()
    before = {number: signal.signal(number, lambda *_: None) for number in _ENDS}
    descriptor = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        done.set()
        mouth.close()
        listener.join()
        ear.close()


def raise_interrupt(error: RuntimeError) -> None:
    """Raise the Ctrl-C that *error* stands for, if it stands for one.

    Raises:
        KeyboardInterrupt: DuckDB was stopped by Ctrl-C, and kept that to itself.

    """
    if str(error) == _DUCKDB_STOPPED:
        raise KeyboardInterrupt from error


def _listen(ear: socket, stop: Event, done: Event, grace_seconds: float | None) -> None:
    while number := ear.recv(1):
        if number[0] in _ENDS:
            stop.set()
            if not done.wait(grace_seconds):
                os._exit(EXIT_OK)
            return
