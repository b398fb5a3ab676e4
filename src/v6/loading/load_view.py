"""Shows a load while it runs: a bar that redraws itself on a terminal, a line every few seconds anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from v6.loading.load import Show
from v6.loading.load_progress import LoadProgress

LINE_EVERY_SECONDS = 10.0


@contextmanager
def load_view() -> Iterator[Show]:
    """What shows each look, on stderr: stdout carries the result alone."""
    if not sys.stderr.isatty():
        yield _PlainLines().show
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True)) as bars:
        task = bars.add_task("…", total=None)
        yield lambda look: bars.update(task, total=look.total, completed=look.ended, description=look.line())


class _PlainLines:
    def __init__(self) -> None:
        self._shown_at = -LINE_EVERY_SECONDS

    def show(self, look: LoadProgress) -> None:
        """One line when it is time, and the last one."""
        if look.seconds - self._shown_at >= LINE_EVERY_SECONDS or look.ended == look.total:
            self._shown_at = look.seconds
            sys.stderr.write(f"{look.line()}\n")
