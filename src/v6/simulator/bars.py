"""Historical bars: aggregated from the same paths that snapshots read, so that both always agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

import numpy as np

from v6.simulator.calendar import utc
from v6.simulator.history import FloatArray, IntArray
from v6.simulator.instruments import OPTION_TYPES, Instrument, MarketBar
from v6.simulator.listing import Listing
from v6.simulator.path import DayPath
from v6.simulator.prices import Prices
from v6.simulator.snapshots import Snapshots, is_at_ask, to_cent
from v6.simulator.universe import Product

DAY_SECONDS = 86_400
WEEK_SECONDS = 604_800
FUTURE_DAYS = 460
TRADES = ("TRADES", "ADJUSTED_LAST")
KINDS = (*TRADES, "MIDPOINT", "BID", "ASK", "BID_ASK")


@dataclass(frozen=True, kw_only=True, slots=True)
class BarRequest:
    """Which bars: UTC seconds start <= bar < end, nothing after ``now``."""

    start: int
    end: int
    now: int
    bar_seconds: int
    what_to_show: str
    regular_hours: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """The part of one session that bars are made of: they begin at ``edges`` (UTC seconds), and stop at ``end``."""

    position: int
    path: DayPath
    edges: IntArray
    end: int
    day: date | None  # the trading date, for bars of a day and more
    what_to_show: str


class Bars:
    """Bars of stocks, indices, futures and options."""

    def __init__(self, prices: Prices, listing: Listing, snapshots: Snapshots) -> None:
        self._listing = listing
        self._prices = prices
        self._sessions = prices.sessions
        self._snapshots = snapshots

    def bars(self, instrument: Instrument, product: Product, request: BarRequest) -> list[MarketBar]:
        """Bars of an instrument, oldest first; none for kinds of data that it does not have."""
        if request.what_to_show not in KINDS or (product.volume_divisor == 0 and not _is_traded(instrument, request)):
            return []
        found = [
            bar
            for position in self._positions(instrument, product, request)
            for bar in self._session(instrument, product, position, request)
        ]
        if request.bar_seconds == WEEK_SECONDS:
            found = _weekly(found)
        first, last = utc(request.start), utc(request.end)
        return [bar for bar in found if first <= self._instant(bar) < last]

    def _instant(self, bar: MarketBar) -> datetime:
        """A day or week counts from the regular open of its first session."""
        if isinstance(bar.start, datetime):
            return bar.start
        return utc(self._sessions.opens[self._sessions.position(bar.start)])

    def _positions(self, instrument: Instrument, product: Product, request: BarRequest) -> range:
        """Sessions that the request touches, whole weeks for weekly bars; options from their listing on."""
        margin = 8 if request.bar_seconds == WEEK_SECONDS else 2
        stop = min(request.now, request.end + margin * DAY_SECONDS)
        first = self._sessions.last_opened(request.start - margin * DAY_SECONDS)
        last = min(self._sessions.last_opened(stop) + 2, len(self._sessions))
        return range(max(first, self.first_position(instrument, product)), last)

    def first_position(self, instrument: Instrument, product: Product) -> int:
        """The first session with data: an option's listing, 460 days before a future expires, else the very first."""
        if instrument.expiry is None or instrument.sec_type == "CONTFUT":
            return 0
        if instrument.sec_type in OPTION_TYPES:
            return self._listing.first_listed(product, instrument.expiry) or 0
        return self._sessions.on_or_after(instrument.expiry - timedelta(days=FUTURE_DAYS))

    def _session(
        self, instrument: Instrument, product: Product, position: int, request: BarRequest
    ) -> Iterator[MarketBar]:
        if instrument.expiry is not None and self._sessions.dates[position] > instrument.expiry:
            return
        month = self._month(instrument, position)
        is_daily = request.bar_seconds >= DAY_SECONDS
        start, end = self.hours(product, position, regular_hours=request.regular_hours or is_daily)
        if start > request.now or (not is_daily and (end <= request.start or start >= request.end)):
            return
        if is_daily and request.now >= end and instrument.sec_type not in OPTION_TYPES:
            yield self._finished_day(product, month, position, request.what_to_show)
            return
        edges, end = np.array([start]), min(end, request.now + 1)
        if not is_daily:
            edges, end = _asked(_edges(start, end, request.bar_seconds), end, request)
        if not len(edges):
            return
        stretch = Stretch(
            position=position,
            path=self._prices.path(product, position),
            edges=edges,
            end=end,
            day=self._sessions.dates[position] if is_daily else None,
            what_to_show=request.what_to_show,
        )
        if instrument.sec_type in OPTION_TYPES:
            yield from self._option_bars(instrument, product, stretch)
        else:
            yield from _outright_bars(product, month, stretch)

    def _month(self, instrument: Instrument, position: int) -> int:
        if instrument.sec_type != "FUT" or instrument.expiry is None:
            return 0
        return self._listing.months_behind(instrument.expiry, position)

    def _finished_day(self, product: Product, month: int, position: int, what_to_show: str) -> MarketBar:
        """A whole session without its path; the average is that of open, high, low and close."""
        daily, tick = self._prices.daily(product), float(product.tick)
        traded = what_to_show in TRADES
        bid, ask = {"BID": (-0.5, -0.5), "ASK": (0.5, 0.5), "BID_ASK": (-0.5, 0.5)}.get(what_to_show, (0.0, 0.0))
        ticks = daily.ohlc(position)
        first, high, low, last = (
            round((value + shift) * tick, 4) for value, shift in zip(ticks, (bid, ask, bid, ask), strict=True)
        )
        shares = int(daily.volume[position]) // 10**month
        return MarketBar(
            start=self._sessions.dates[position],
            open=first,
            high=high,
            low=low,
            close=last,
            volume=shares if traded else -1,
            wap=round(sum(ticks) * tick / 4, 6) if traded else -1.0,
            count=shares // 100 + (shares > 0) if traded else -1,
        )

    def hours(self, product: Product, position: int, *, regular_hours: bool) -> tuple[int, int]:
        """UTC seconds between which a session has prices. Stocks trade in regular hours only."""
        if product.sec_type == "FUT" and not regular_hours:
            return self._prices.globex_hours(position)
        return self._sessions.opens[position], self._sessions.closes[position]

    def _option_bars(self, option: Instrument, product: Product, stretch: Stretch) -> Iterator[MarketBar]:
        """Theoretical prices at the open, extremes and close of the underlying's bar."""
        traded = stretch.what_to_show in TRADES
        for start, stop in zip(stretch.edges.tolist(), [*stretch.edges[1:].tolist(), stretch.end], strict=True):
            values = self._option_values(option, product, stretch, start, stop)
            yield MarketBar(
                start=stretch.day or utc(start),
                open=values[0],
                high=max(values),
                low=min(values),
                close=values[-1],
                volume=1 + (stop - start) // 60 if traded else -1,
                wap=round(sum(values) / len(values), 4) if traded else -1.0,
                count=1 + (stop - start) // 300 if traded else -1,
            )

    def _option_values(
        self, option: Instrument, product: Product, stretch: Stretch, start: int, stop: int
    ) -> list[float]:
        path = stretch.path
        part = path.prices[start - path.start : stop - path.start]
        moments = (0, int(part.argmax()), int(part.argmin()), len(part) - 1)
        tick, position = float(product.tick), stretch.position
        return [
            to_cent(self._snapshots.option_price(option, product, int(part[at]) * tick, start + at, position))
            for at in moments
        ]


def _is_traded(instrument: Instrument, request: BarRequest) -> bool:
    return instrument.sec_type in OPTION_TYPES or request.what_to_show == "TRADES"


def _edges(start: int, end: int, bar_seconds: int) -> IntArray:
    """Where bars begin: on round times up to an hour, from the session's start above; the first may be short."""
    anchor = start - start % bar_seconds if bar_seconds <= 3_600 else start
    edges = np.arange(anchor, end, bar_seconds, dtype=np.int64)
    return np.maximum(edges, start)


def _asked(edges: IntArray, end: int, request: BarRequest) -> tuple[IntArray, int]:
    """The edges that were asked for, and where the last of their bars stops."""
    first, last = np.searchsorted(edges, [request.start, request.end])
    return edges[first:last], int(edges[last]) if last < len(edges) else end


def _outright_bars(product: Product, month: int, stretch: Stretch) -> Iterator[MarketBar]:
    path, edges = stretch.path, stretch.edges
    first, last = edges - path.start, stretch.end - path.start
    opens, highs, lows, closes = _aggregate(path.prices[:last], first, stretch.what_to_show)
    stops = np.append(first[1:], last)
    volume = (path.volume[stops] - path.volume[first]) // 10**month
    tick, traded = float(product.tick), stretch.what_to_show in TRADES
    columns = (edges, opens, highs, lows, closes, volume, _means(path, first, stops))
    for start, o, h, low, c, shares, mean in zip(*(column.tolist() for column in columns), strict=True):
        yield MarketBar(
            start=stretch.day or utc(start),
            open=round(o * tick, 4),
            high=round(h * tick, 4),
            low=round(low * tick, 4),
            close=round(c * tick, 4),
            volume=shares if traded else -1,
            wap=round(mean * tick, 6) if traded else -1.0,
            count=shares // 100 + (shares > 0) if traded else -1,
        )


def _means(path: DayPath, first: IntArray, stops: IntArray) -> FloatArray:
    """The mean price between two seconds in ticks: by volume, or by time when nothing traded."""
    weighted = np.concatenate([[0], np.cumsum(path.prices * np.diff(path.volume))])
    plain = np.concatenate([[0], np.cumsum(path.prices)])
    shares = path.volume[stops] - path.volume[first]
    by_volume = (weighted[stops] - weighted[first]) / np.maximum(shares, 1)
    means: FloatArray = np.where(shares > 0, by_volume, (plain[stops] - plain[first]) / (stops - first))
    return means


def _aggregate(prices: IntArray, first: IntArray, what: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Open, high, low and close in ticks. Bid and ask lie one tick apart, the trade is one of them."""
    if what in TRADES:
        return _extremes(prices, first)
    index = np.arange(len(prices), dtype=np.int64)
    bids = prices - is_at_ask(index)
    if what == "BID_ASK":
        counts = np.diff(np.append(first, len(prices)))
        mean = np.add.reduceat(bids, first) / counts
        _, highs, lows, _ = _extremes(bids, first)
        return mean, highs + 1, lows, mean + 1
    shift = {"BID": 0.0, "MIDPOINT": 0.5, "ASK": 1.0}[what]
    opens, highs, lows, closes = _extremes(bids, first)
    return opens + shift, highs + shift, lows + shift, closes + shift


def _extremes(prices: IntArray, first: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    closes = prices[np.append(first[1:], len(prices)) - 1]
    return prices[first], np.maximum.reduceat(prices, first), np.minimum.reduceat(prices, first), closes


def _weekly(days: list[MarketBar]) -> list[MarketBar]:
    """Weeks from Monday to Friday, dated by their first session."""
    result = []
    for _, group in groupby(days, key=lambda bar: bar.start.isocalendar()[:2]):
        week = list(group)
        shares = sum(bar.volume for bar in week)
        traded = week[0].volume >= 0
        result.append(
            MarketBar(
                start=week[0].start,
                open=week[0].open,
                high=max(bar.high for bar in week),
                low=min(bar.low for bar in week),
                close=week[-1].close,
                volume=shares if traded else -1,
                wap=round(sum(bar.wap * bar.volume for bar in week) / max(1, shares), 6) if traded else -1.0,
                count=sum(bar.count for bar in week) if traded else -1,
            )
        )
    return result
