"""The processes that derive statistics: spawned, of the lowest priority, and gone when their worker is.

A module of its own that loads little: niceness is a thread's and is taken over by the threads it starts, so it is set
before any library starts its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing.connection import wait

NICENESS = 19


def derivation_processes(count: int = 1) -> Executor:
    """An executor of so many processes, started at the first use."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=give_way)


def give_way() -> None:
    """Run behind everything else, leave Ctrl-C to the worker, and end when the worker has."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="watch over the worker", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # a killed worker cannot end its processes: they would wait for work for ever
