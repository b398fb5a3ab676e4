"""Which requests a command is about: by state, type, symbol and reason, read from the table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from v6.app import App
from v6.errors import RequestError

if TYPE_CHECKING:
    import polars as pl

TYPE_HELP = "only of this type"
SYMBOL_HELP = "only of this symbol"
RequestId = Annotated[str, typer.Argument(metavar="REQUEST_ID", help="as `v6 submit` printed it")]


def matching(app: App, conditions: Mapping[str, str | None], limit: int | None = None) -> pl.DataFrame:
    """The requests whose columns have these values, None any; the newest first, at most ``limit``."""
    import polars as pl

    from v6.data.ib_request import REQUESTS
    from v6.data.queue_log import current

    app.lake.check_no_file()
    fits = [pl.col(name) == value for name, value in conditions.items() if value is not None]
    rows = current(app.lake.scan(REQUESTS)).filter(*fits).sort("created_at", "request_id", descending=True)
    with app.lake.reading(REQUESTS.name):
        return (rows if limit is None else rows.head(limit)).collect()


def check_type(app: App, request_type: str | None) -> None:
    """Make sure that there is such a type, or that there was when somebody asked for it. Raises RequestError."""
    if request_type is None or request_type in app.catalogue.names():
        return
    if matching(app, {"request_type": request_type}, limit=1).is_empty():
        app.catalogue.get(request_type)


def chosen(option: str, text: str | None, among: type[StrEnum]) -> str | None:
    """The one of a set that an option names, in either case; None where it was not given. Raises RequestError."""
    found = next((each for each in among if text is not None and each.lower() == text.lower()), None)
    if text is not None and found is None:
        known = ", ".join(each.lower() for each in among)
        raise RequestError(f"--{option} {text} is no {option}: choose one of {known}")
    return None if found is None else str(found)
