"""The ledger as a picture: a heat map with a row a series, a column a day, and what is missing written into it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from v6.errors import RequestError, SettingsError

if TYPE_CHECKING:
    from v6.scheduler.heat_map import Cell, Strip

KINDS = (".png", ".svg", ".html")
AWAITED = "#9db8d6"
SHARES, COLOURS = [0.0, 0.5, 0.95, 1.0], ["#b3263a", "#e8a33d", "#cfe39a", "#2a8f57"]  # dark enough apart in grey too
ROW_HEIGHT, CELL_WIDTH, NUMBERED_DAYS = 22, 30, 40  # pixels, pixels, and days up to which cells are numbered


def draw(strips: Sequence[Strip], days: tuple[date, date], path: Path) -> None:
    """Write the picture.

    Raises:
        RequestError: the file's name has another ending than .png, .svg or .html.
        SettingsError: the packages for pictures are not installed.
    """
    if path.suffix not in KINDS:
        raise RequestError(f"--picture {path} must end in .png, .svg or .html")
    try:
        import altair
    except ModuleNotFoundError as error:
        raise SettingsError(f"a picture needs the package {error.name}: pip install 'v6[charts]'") from error
    cells = [_values(strip, cell) for strip in strips for cell in strip.cells]
    count = len({cell["day"] for cell in cells})
    chart = _chart(altair, {"values": cells}, is_numbered=count <= NUMBERED_DAYS).properties(
        title=f"Coverage {days[0]} to {days[1]}: what is there of what was expected; numbers are missing intervals",
        height=ROW_HEIGHT * max(1, len(strips)),
        width=(CELL_WIDTH if count <= NUMBERED_DAYS else CELL_WIDTH // 3) * max(1, count),
    )
    chart.save(str(path), **({"inline": True} if path.suffix == ".html" else {}))


def _values(strip: Strip, cell: Cell) -> dict[str, Any]:
    missing = sum(cell.counts.get(state, 0) for state in ("failed", "never_asked", "lost"))
    return {
        "of": f"{strip.symbol or 'all'}  {strip.request_type} {strip.series}",
        "day": cell.day.isoformat(),
        "share": cell.share,
        "awaited": cell.is_awaited,
        "missing": f"{missing:,}" if missing else "",
        **{state: cell.counts.get(state, 0) for state in ("fetched", "empty", "failed", "never_asked", "lost")},
    }


def _chart(altair: Any, data: Any, *, is_numbered: bool) -> Any:
    days = altair.X("day:O", title="trading date", axis=altair.Axis(labelOverlap=True))
    rows = altair.Y("of:N", title=None, axis=altair.Axis(labelLimit=420))
    colour = altair.condition(
        "datum.awaited",
        altair.value(AWAITED),
        altair.Color(
            "share:Q",
            title="there",
            scale=altair.Scale(domain=SHARES, range=COLOURS),
            legend=altair.Legend(format=".0%"),
        ),
    )
    names = ("of", "day", "fetched", "empty", "failed", "never_asked", "lost")
    base = altair.Chart.from_dict({"data": data, "mark": "rect"}).encode(x=days, y=rows)
    cells = base.mark_rect(stroke="white").encode(
        color=colour, tooltip=[altair.Tooltip(f"{name}:{'N' if name in ('of', 'day') else 'Q'}") for name in names]
    )
    numbers = base.mark_text(fontSize=9).encode(
        text="missing:N", color=altair.condition("datum.share < 0.5", altair.value("white"), altair.value("black"))
    )
    return cells + numbers if is_numbered else cells
