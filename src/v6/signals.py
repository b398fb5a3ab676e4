"""Signals: the one place that decides what SIGTERM and SIGINT do to this process.

A daemon that is told to stop exits 0, however often and however early it is told. So the signals are held from the
first line of the process on, are calls while the daemon runs, and are ignored from its end until the process is gone.
There is no moment in between: Python gives signals back their default as late as while the interpreter ends, but leaves
alone what is ignored.

SIGINT stays held in all threads of a daemon, and one thread takes it: polars puts a handler of its own in place of ours
while it computes, which would make a KeyboardInterrupt of it in the middle of a query.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def hold_signals() -> None:
    """Let signals wait until ``release_signals`` or ``stop_on_signals``; to be called before there are threads."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def release_signals() -> None:
    """Let signals do what they are set to, those that waited now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """While open, each SIGTERM and SIGINT calls ``stop`` on the running event loop; afterwards they are ignored.

    Not ``loop.add_signal_handler``: the loop sets signals to their default when it closes.
    """
    import asyncio  # here, for a process holds its signals before it loads anything slow

    loop = asyncio.get_running_loop()
    receiver, sender = socket.socketpair()
    with closing(receiver), closing(sender):
        receiver.setblocking(False)
        sender.setblocking(False)
        loop.add_reader(receiver, _call_for_each, receiver, stop)
        woken_before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        _set_all(_told)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        try:
            with _taken_by_a_thread(sender):
                yield
        finally:
            _set_all(signal.SIG_IGN)
            signal.set_wakeup_fd(woken_before)
            loop.remove_reader(receiver)


@contextmanager
def _taken_by_a_thread(sender: socket.socket) -> Iterator[None]:
    """While open, a SIGINT that is held is passed on through the socket; one that is not held comes by its handler."""
    if signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, []):
        yield
        return
    is_over = threading.Event()

    def take() -> None:
        while signal.sigwait([signal.SIGINT]) and not is_over.is_set():
            with suppress(OSError):  # the socket is full: enough have been told
                sender.send(bytes([signal.SIGINT]))

    taker = threading.Thread(target=take, name="SIGINT", daemon=True)
    taker.start()
    try:
        yield
    finally:
        is_over.set()
        signal.pthread_kill(taker.ident or 0, signal.SIGINT)
        taker.join()


@contextmanager
def cancel_on_signals() -> Iterator[None]:
    """While open, SIGTERM and SIGINT cancel the running task, once: what it has begun it ends undisturbed."""
    import asyncio

    task = asyncio.current_task()

    def cancel() -> None:
        if task is not None and not task.cancelling():
            task.cancel()

    with stop_on_signals(cancel):
        yield


def _call_for_each(receiver: socket.socket, stop: Callable[[], None]) -> None:
    with suppress(BlockingIOError):  # woken for what an earlier call has read already
        for _ in receiver.recv(64):  # one byte for each signal
            stop()


def _set_all(handler: Any) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)


def _told(*_: object) -> None:
    """Nothing: the loop is told through the wake-up socket."""
