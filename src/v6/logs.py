"""Logs: every event of the bus becomes one line of fields on stderr, for people or as JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from dataclasses import fields
from typing import Any, TextIO

import structlog

from v6.clock import Clock
from v6.events import Event, EventBus

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FOREIGN_LOGGERS = ("ib_async", "apscheduler")  # its complaints reach us as events already


def log_events(events: EventBus, *, clock: Clock, level: str, form: str, stream: TextIO | None = None) -> None:
    """Write every event at or above ``level`` as one line; ``form`` is console or json, instants are the clock's."""
    logger = _logger(clock=clock, level=level, form=form, stream=stream or sys.stderr)
    quieten_foreign_loggers(level)

    def write(event: Event) -> None:
        values = {field.name: getattr(event, field.name) for field in fields(event)}
        values = {name: value for name, value in values.items() if value is not None}
        logger.log(LEVELS[event.level], event.name, **values)

    events.subscribe(Event, write)


def quieten_foreign_loggers(level: str) -> None:
    """Leave out what libraries say, unless everything is asked for."""
    for name in FOREIGN_LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.CRITICAL)


def _logger(*, clock: Clock, level: str, form: str, stream: TextIO) -> Any:
    def stamp(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {"timestamp": clock.now().isoformat(timespec="milliseconds"), **line}

    renderer: Any = structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=24)
    if form == "json":
        renderer = structlog.processors.JSONRenderer(default=str)
    return structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[structlog.processors.add_log_level, stamp, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
    )
