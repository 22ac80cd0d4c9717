"""Receive SIGTERM and Ctrl-C in a thread of its own."""

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
def stop_on_signal(stop: Event, grace_seconds: float | None = None) -> Iterator[None]:
    """Set *stop* when SIGTERM or SIGINT comes, as long as the context lasts.

    The main thread may be about to wait for a lock: a signal that comes then, or to another
    thread, does not wake it, and its handlers run only when the wait ends. So a
    thread reads them from a socket.
    Outside of the main thread this does nothing: Python allows no handlers there.

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
    receiver, sender = socketpair()
    sender.settimeout(0)
    listener = Thread(target=_listen, args=(receiver, stop, done, grace_seconds), daemon=True)
    listener.start()
    before = {number: signal.signal(number, lambda *_: None) for number in _ENDS}
    descriptor = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        done.set()
        sender.close()
        listener.join()
        receiver.close()


def raise_interrupt(error: RuntimeError) -> None:
    """Raise ``KeyboardInterrupt`` if *error* is how DuckDB reports Ctrl-C.

    Raises:
        KeyboardInterrupt: DuckDB was stopped by Ctrl-C.

    """
    if str(error) == _DUCKDB_STOPPED:
        raise KeyboardInterrupt from error


def _listen(receiver: socket, stop: Event, done: Event, grace_seconds: float | None) -> None:
    while number := receiver.recv(1):
        if number[0] in _ENDS:
            stop.set()
            if not done.wait(grace_seconds):
                os._exit(EXIT_OK)
            return
