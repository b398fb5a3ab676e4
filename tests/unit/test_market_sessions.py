"""Within a day: paths, bars, futures, hours and positions of the simulated market."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from v6.simulator.calendar import load_sessions
from v6.simulator.instruments import ContractQuery, Instrument, MarketBar
from v6.simulator.market import Market

NOW = datetime(2026, 11, 23, 17, 30, tzinfo=UTC)
MARKET = Market()
SESSIONS = load_sessions()


def one(now: datetime = NOW, **fields: str | int) -> Instrument:
    return MARKET.find(ContractQuery(**fields), now)[0]  # type: ignore[arg-type]


SPY = one(symbol="SPY", sec_type="STK")
ES = one(symbol="ES", sec_type="FUT")


def day_bars(
    instrument: Instrument, day: date, bar_seconds: int, what: str = "TRADES", *, regular_hours: bool = True
) -> list[MarketBar]:
    position = SESSIONS.position(day)
    start, end = (datetime.fromtimestamp(edge[position], UTC) for edge in (SESSIONS.opens, SESSIONS.closes))
    if not regular_hours:
        start, end = start - timedelta(hours=16), end + timedelta(hours=2)
    found = MARKET.bars(
        instrument,
        start=start,
        end=end,
        now=end,
        bar_seconds=bar_seconds,
        what_to_show=what,
        regular_hours=regular_hours,
    )
    return list(found)


@pytest.mark.parametrize("symbol", ["SPY", "QQQ", "IWM", "NVDA", "ES", "SPX", "VIX"])
@pytest.mark.parametrize("day", [date(2026, 11, 23), date(2026, 11, 27), date(2017, 3, 9), date(2030, 5, 6)])
@pytest.mark.parametrize("bar_seconds", [5, 60, 300, 1800, 3600, 7200])
def test_intraday_bars_make_the_daily_bar(symbol: str, day: date, bar_seconds: int) -> None:
    now = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=15)
    sec_type = {"ES": "FUT", "SPX": "IND", "VIX": "IND"}.get(symbol, "STK")
    bars = day_bars(one(now, symbol=symbol, sec_type=sec_type), day, bar_seconds)
    whole = MARKET.daily_bar(symbol, day)
    assert whole is not None
    made = (bars[0].open, max(bar.high for bar in bars), min(bar.low for bar in bars), bars[-1].close)
    assert made == (whole.open, whole.high, whole.low, whole.close)
    assert sum(bar.volume for bar in bars) == whole.volume
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)
    assert all(bar.low - 1e-6 <= bar.wap <= bar.high + 1e-6 for bar in bars)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(position=st.integers(2, len(SESSIONS) - 300), part=st.floats(0, 1), symbol=st.sampled_from(["SPY", "ES", "SPX"]))
def test_any_instant_lies_inside_its_day(position: int, part: float, symbol: str) -> None:
    first, last = SESSIONS.opens[position], SESSIONS.closes[position] - 1
    now = datetime.fromtimestamp(first + part * (last - first), UTC)
    shown = MARKET.snapshot(one(now, symbol=symbol, sec_type={"ES": "FUT", "SPX": "IND"}.get(symbol, "STK")), now)
    whole = MARKET.daily_bar(symbol, SESSIONS.dates[position])
    assert whole is not None
    assert shown.is_open
    assert shown.last is not None
    assert whole.low <= shown.last <= whole.high
    assert shown.low is not None and shown.high is not None  # noqa: PT018 narrows
    assert shown.low <= shown.last <= shown.high


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(seconds=st.integers(0, 23_399), bar_seconds=st.sampled_from([5, 10, 30, 60, 300, 900, 3600, 86_400]))
def test_the_unfinished_bar_has_what_happened_until_now(seconds: int, bar_seconds: int) -> None:
    start = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
    now = start + timedelta(seconds=seconds)
    bars = MARKET.bars(
        SPY,
        start=start,
        end=now + timedelta(days=1),
        now=now,
        bar_seconds=bar_seconds,
        what_to_show="TRADES",
        regular_hours=True,
    )
    shown = MARKET.snapshot(SPY, now)
    assert bars[-1].close == shown.last
    assert bars[0].open == shown.open
    assert max(bar.high for bar in bars) == shown.high
    assert min(bar.low for bar in bars) == shown.low
    assert sum(bar.volume for bar in bars) == shown.volume


def test_bid_and_ask_lie_around_the_middle_and_the_trade() -> None:
    day = date(2026, 11, 23)
    kinds = ("TRADES", "BID", "MIDPOINT", "ASK", "BID_ASK")
    for trade, bid, middle, ask, both in zip(*(day_bars(SPY, day, 300, kind) for kind in kinds), strict=True):
        assert bid.close < middle.close < ask.close
        assert bid.close <= trade.close <= ask.close
        assert middle.close == pytest.approx((bid.close + ask.close) / 2)
        assert (both.low, both.high) == (bid.low, ask.high)
        assert (bid.volume, bid.count) == (-1, -1)


def test_weekly_bars_are_made_of_daily_ones() -> None:
    fields = {"start": datetime(2026, 11, 9, tzinfo=UTC), "end": NOW, "now": NOW, "regular_hours": True}
    weeks, days = (
        MARKET.bars(SPY, bar_seconds=seconds, what_to_show="TRADES", **fields)  # type: ignore[arg-type]
        for seconds in (604_800, 86_400)
    )
    assert [bar.start for bar in weeks] == [date(2026, 11, 9), date(2026, 11, 16), date(2026, 11, 23)]
    assert sum(bar.volume for bar in weeks) == sum(bar.volume for bar in days)
    assert weeks[0].high == max(bar.high for bar in days[:5])


def test_bars_keep_to_the_asked_range() -> None:
    start, end = NOW - timedelta(minutes=33), NOW - timedelta(minutes=3)
    bars = MARKET.bars(SPY, start=start, end=end, now=NOW, bar_seconds=300, what_to_show="TRADES", regular_hours=True)
    assert [bar.start for bar in bars] == [NOW - timedelta(minutes=minutes) for minutes in (30, 25, 20, 15, 10, 5)]


def test_kinds_that_an_index_or_nobody_has_are_empty() -> None:
    spx = one(symbol="SPX", sec_type="IND")
    assert day_bars(spx, date(2026, 11, 23), 300, "MIDPOINT") == []
    assert day_bars(SPY, date(2026, 11, 23), 300, "FEE_RATE") == []


def test_option_bars_agree_with_their_snapshot() -> None:
    options = MARKET.find(ContractQuery(symbol="SPY", sec_type="OPT", expiry="20261218", strike=265.0), NOW)
    for option in options:
        bars = day_bars(option, date(2026, 11, 23), 300)
        assert len(bars) == 78
        assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)
        assert bars[0].open == MARKET.snapshot(option, NOW).open
        assert day_bars(option, date(2026, 11, 23), 86_400)[0].close == bars[-1].close


def test_futures_trade_from_the_evening_before() -> None:
    bars = day_bars(ES, date(2026, 11, 23), 1800, regular_hours=False)
    assert bars[0].start == datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
    assert bars[-1].start == datetime(2026, 11, 23, 21, 30, tzinfo=UTC)
    assert MARKET.snapshot(ES, datetime(2026, 11, 22, 23, 0, tzinfo=UTC)).is_open
    assert not MARKET.snapshot(ES, datetime(2026, 11, 23, 22, 0, tzinfo=UTC)).is_open
    assert not MARKET.snapshot(ES, datetime(2026, 11, 21, 12, 0, tzinfo=UTC)).is_open


def test_futures_months_are_five_quarters_and_the_continuous_one_is_the_front() -> None:
    for symbol in ("ES", "NQ", "RTY"):
        months = MARKET.find(ContractQuery(symbol=symbol, sec_type="FUT"), NOW)
        assert [month.local_symbol for month in months] == [symbol + end for end in ("Z6", "H7", "M7", "U7", "Z7")]
        assert len({month.con_id for month in months}) == 5
        assert all(MARKET.find(ContractQuery(con_id=month.con_id), NOW) == (month,) for month in months)
        assert one(symbol=symbol, sec_type="CONTFUT").expiry == months[0].expiry
        assert one(local_symbol=f"{symbol}Z6") == months[0]
    assert one(symbol="ES", sec_type="FUT", expiry="202703").expiry == date(2027, 3, 19)


def test_a_future_expires_in_the_morning_of_its_third_friday() -> None:
    last = datetime(2026, 12, 18, 14, 30, tzinfo=UTC)
    assert one(last - timedelta(seconds=1), symbol="ES", sec_type="FUT").local_symbol == "ESZ6"
    assert one(last, symbol="ES", sec_type="FUT").local_symbol == "ESH7"
    assert MARKET.find(ContractQuery(con_id=ES.con_id), last) == ()
    assert MARKET.find(ContractQuery(con_id=ES.con_id, include_expired=True), last) == (ES,)
    assert one(last, symbol="ES", sec_type="FUT", expiry="202612", include_expired=True) == ES


@pytest.mark.parametrize(
    "fields",
    [
        {"symbol": "NOSUCH", "sec_type": "STK"},
        {"symbol": "SPY", "sec_type": "FUT"},
        {"symbol": "SPY", "sec_type": "STK", "currency": "EUR"},
        {"symbol": "SPY", "sec_type": "STK", "exchange": "CME"},
        {"symbol": "SPY", "sec_type": "OPT", "right": "X"},
        {"symbol": "SPY", "sec_type": "OPT", "strike": 1.0},
        {"con_id": 1},
        {"con_id": 2**31 - 1},
        {"con_id": -5},
        {},
    ],
)
def test_what_is_not_listed_is_not_found(fields: dict[str, str | int]) -> None:
    assert MARKET.find(ContractQuery(**fields), NOW) == ()  # type: ignore[arg-type]


def test_trading_hours_show_half_days_and_holidays() -> None:
    assert "20261127:0930-20261127:1300" in MARKET.trading_hours(SPY, NOW, liquid=True)
    assert "20261126:CLOSED" in MARKET.trading_hours(SPY, NOW, liquid=False)
    assert MARKET.trading_hours(SPY, NOW, liquid=False).startswith("20261123:0400-20261123:2000;")
    assert MARKET.trading_hours(ES, NOW, liquid=False).startswith("20261122:1800-20261123:1700;")


def test_sessions_are_counted_back_over_holidays() -> None:
    monday = datetime(2026, 11, 30, 16, tzinfo=UTC)
    back = [MARKET.sessions_back(SPY, monday, count, regular_hours=True).date() for count in (1, 2, 3)]
    assert back == [date(2026, 11, 30), date(2026, 11, 27), date(2026, 11, 25)]


def test_the_last_completed_session_is_found_on_a_holiday() -> None:
    start, end = MARKET.last_completed_session(datetime(2026, 11, 26, 17, tzinfo=UTC))
    assert (start, end) == (datetime(2026, 11, 25, 14, 30, tzinfo=UTC), datetime(2026, 11, 25, 21, tzinfo=UTC))


def test_holdings_are_listed_contracts() -> None:
    for now in (NOW, datetime(2026, 11, 29, 3, tzinfo=UTC), datetime(2017, 3, 9, 3, tzinfo=UTC)):
        holdings = MARKET.holdings(now)
        assert [holding.instrument.sec_type for holding in holdings] == ["STK", "OPT", "FUT"]
        for holding in holdings:
            assert MARKET.find(ContractQuery(con_id=holding.instrument.con_id), now) == (holding.instrument,)
            assert holding.average_cost > 0


def test_the_first_instant_with_data_has_data() -> None:
    option = MARKET.find(ContractQuery(symbol="SPY", sec_type="OPT", expiry="20261218"), NOW)[0]
    for instrument in (SPY, ES, option):
        head = MARKET.head_timestamp(instrument, "TRADES")
        bars = MARKET.bars(
            instrument,
            start=head,
            end=head + timedelta(days=5),
            now=NOW,
            bar_seconds=86_400,
            what_to_show="TRADES",
            regular_hours=True,
        )
        assert bars[0].start == head.date()


NOVEMBER = datetime(2026, 11, 24, tzinfo=UTC)


def daily_bars(instrument: Instrument, start: datetime, end: datetime, now: datetime) -> list[MarketBar]:
    found = MARKET.bars(
        instrument, start=start, end=end, now=now, bar_seconds=86_400, what_to_show="TRADES", regular_hours=True
    )
    return list(found)


def test_a_future_has_the_same_bars_whenever_they_are_asked_for() -> None:
    march = one(symbol="ES", sec_type="FUT", expiry="202703")
    start, end = datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)
    early = daily_bars(march, start, end, datetime(2026, 12, 31, 3, tzinfo=UTC))
    late = daily_bars(march, start, end, datetime(2027, 2, 10, 17, tzinfo=UTC))
    assert early == late
    assert len(early) == 41


def test_the_volume_moves_to_the_next_month_before_the_nearest_expires() -> None:
    december, march = (one(NOVEMBER, symbol="ES", sec_type="FUT", expiry=month) for month in ("202612", "202703"))
    now = datetime(2026, 12, 31, tzinfo=UTC)
    start, end = datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 18, 21, tzinfo=UTC)
    volumes = [[bar.volume for bar in daily_bars(month, start, end, now)] for month in (december, march)]
    busier = [near > next_one for near, next_one in zip(*volumes, strict=True)]
    assert busier == [True] * 8 + [False] * 6  # the last six sessions up to Friday, December 18
