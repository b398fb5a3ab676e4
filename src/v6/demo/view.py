"""The demo's live view: a table that redraws itself on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import RenderableType

from v6.demo.progress import Progress
from v6.demo.runner import Show

LINE_EVERY_SECONDS = 5.0


@contextmanager
def live_view() -> Iterator[Show]:
    """What shows each look; on stderr, so that stdout carries the results alone."""
    if not sys.stderr.isatty():
        yield _PlainLines().show
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, refresh_per_second=4) as live:
        yield lambda progress: live.update(_panel(progress))


class _PlainLines:
    def __init__(self) -> None:
        self._shown_at = -LINE_EVERY_SECONDS
        self._ended = -1

    def show(self, progress: Progress) -> None:
        """One line every few seconds, and when a request has ended."""
        if progress.seconds - self._shown_at < LINE_EVERY_SECONDS and progress.ended == self._ended:
            return
        self._shown_at, self._ended = progress.seconds, progress.ended
        sys.stderr.write(f"{progress.line()}\n")


def _panel(progress: Progress) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table("request", "symbol", "state", "rows", box=None)
    for request in sorted(progress.requests, key=lambda r: (r.created_at, r.request_type, r.symbol)):
        rows = request.result_data.get("rows", "")
        table.add_row(request.request_type, request.symbol, str(request.status), str(rows))
    bar = ProgressBar(total=max(1, progress.contracts_planned), completed=progress.contracts_asked)
    return Group(table, bar, progress.line())
