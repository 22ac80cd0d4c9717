"""Receive SIGTERM and Ctrl-C in a thread of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socket import socket, socketpair
from threading import Event, Thread, current_thread, main_thread

from mailvigil.exit_codes import EXIT_OK, EXIT_TERMINATED

_DUCKDB_STOPPED = "Query interrupted"
"""What DuckDB says when Ctrl-C came in the middle of a query, in a RuntimeError like any other."""

_ENDS = (signal.SIGTERM, signal.SIGINT)


_NUMBERED_FROM = EXIT_TERMINATED - signal.SIGTERM


@dataclass(slots=True)
class ReceivedSignal:
    """The signal that came to end the process; ``number`` is None while none did."""

    number: int | None = None


def signal_exit_code(number: int) -> int:
    """Return the exit code of a command that this signal ended before it was done."""
    return _NUMBERED_FROM + number


@contextmanager
def stop_on_signal(
    stop: Event, grace_seconds: float | None = None, *, has_end: bool = False
) -> Iterator[ReceivedSignal]:
    """Set *stop* when SIGTERM or SIGINT comes, as long as the context lasts.

    The main thread may be about to wait for a lock: a signal that comes then, or to another
    thread, does not wake it, and its handlers run only when the wait ends. So a
    thread reads them from a socket.
    Outside of the main thread this does nothing: Python allows no handlers there. What is given
    to the context says which signal came.

    Args:
        stop: What is set.
        grace_seconds: From the signal to the process's end, as in a crash, if the context has not
            ended by then: a request that hangs cannot be ended otherwise. None waits for ever.
        has_end: Whether the work in the context comes to an end by itself. Then the exit code of
            that end is the signal's, as the work is not done, and else 0.

    """
    received = ReceivedSignal()
    if current_thread() is not main_thread():
        yield received
        return
    done = Event()
    receiver, sender = socketpair()
    sender.settimeout(0)

    def listen() -> None:
        if _listen(receiver, stop, received) and not done.wait(grace_seconds):
            os._exit(signal_exit_code(received.number or 0) if has_end else EXIT_OK)

    listener = Thread(target=listen, daemon=True)
    listener.start()
    before = {number: signal.signal(number, lambda *_: None) for number in _ENDS}
    descriptor = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    try:
        yield received
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


def _listen(receiver: socket, stop: Event, received: ReceivedSignal) -> bool:
    """Set *stop* once a signal comes; return whether one did before the context ended."""
    while number := receiver.recv(1):
        if number[0] in _ENDS:
            received.number = number[0]
            stop.set()
            return True
    return False
