"""Options of the simulated market: listings, ids, quotes, parity and greeks."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from vollib.black_scholes_merton import black_scholes_merton
from vollib.black_scholes_merton.greeks.analytical import delta, gamma, theta, vega

from v6.simulator.instruments import ContractQuery, Instrument
from v6.simulator.market import Market
from v6.simulator.pricing import RATE

NOW = datetime(2026, 11, 23, 17, 30, tzinfo=UTC)
# Ordinary days; the lowest and the highest prices of history; a half day; a weekend; a holiday; past both ends.
INSTANTS = [
    NOW,
    datetime(2017, 3, 9, 17, 30, tzinfo=UTC),
    datetime(2026, 9, 21, 17, 30, tzinfo=UTC),
    datetime(2026, 11, 27, 16, 0, tzinfo=UTC),
    datetime(2026, 11, 28, 16, 0, tzinfo=UTC),
    datetime(2026, 12, 25, 16, 0, tzinfo=UTC),
    datetime(2031, 7, 8, 16, 0, tzinfo=UTC),
    datetime(2004, 7, 8, 16, 0, tzinfo=UTC),
]
LEAST_NEAREST_45 = {"SPY": 290, "QQQ": 238, "IWM": 206}
DIVIDEND = 0.015  # of the index funds


@pytest.fixture(scope="module")
def market() -> Market:
    return Market()


def chain(market: Market, symbol: str, now: datetime, **fields: object) -> list[Instrument]:
    return list(market.find(ContractQuery(symbol=symbol, sec_type="OPT", **fields), now))  # type: ignore[arg-type]


def expiry_of(option: Instrument) -> date:
    assert option.expiry is not None
    return option.expiry


def years(option: Instrument, now: datetime) -> float:
    end = datetime.combine(expiry_of(option), time(16), ZoneInfo("America/New_York"))
    return (end - now).total_seconds() / (365 * 86_400)


@pytest.mark.parametrize("now", INSTANTS, ids=lambda now: f"{now:%Y-%m-%d}")
def test_enough_is_listed_on_any_date(market: Market, now: datetime) -> None:
    total = 0
    for symbol, least in LEAST_NEAREST_45.items():
        found = chain(market, symbol, now)
        days = [(expiry_of(option) - now.date()).days for option in found]
        nearest = min(days, key=lambda left: abs(left - 45))
        assert days.count(nearest) >= least
        total += sum(left <= 60 for left in days)
    assert 5_400 <= total <= 9_000


@pytest.mark.parametrize("now", INSTANTS, ids=lambda now: f"{now:%Y-%m-%d}")
def test_every_id_of_a_chain_is_its_own_and_finds_its_contract(market: Market, now: datetime) -> None:
    for symbol in ("SPY", "TSLA", "NDX"):
        found = chain(market, symbol, now)
        assert len({option.con_id for option in found}) == len(found)
        assert all(0 < option.con_id < 2**31 for option in found)
        assert all(market.find(ContractQuery(con_id=option.con_id), now) == (option,) for option in found)


def test_contracts_come_in_order(market: Market) -> None:
    found = chain(market, "QQQ", NOW)
    assert found == sorted(found, key=lambda option: (expiry_of(option), option.strike, option.right))


def test_a_listed_contract_stays_listed_until_it_expires(market: Market) -> None:
    before = {option.con_id: option for option in chain(market, "IWM", NOW)}
    for days in (1, 3, 8, 30, 120):
        later = NOW + timedelta(days=days)
        still = {option.con_id for option in chain(market, "IWM", later)}
        assert {con_id for con_id, option in before.items() if expiry_of(option) > later.date()} <= still


def test_an_expiry_enumerates_its_chain_and_a_month_its_expiries(market: Market) -> None:
    day = chain(market, "SPY", NOW, expiry="20261218")
    assert {option.expiry for option in day} == {date(2026, 12, 18)}
    assert {option.right for option in day} == {"C", "P"}
    month = {option.expiry for option in chain(market, "SPY", NOW, expiry="202612")}
    assert date(2026, 12, 18) in month
    assert all(expiry is not None and (expiry.year, expiry.month) == (2026, 12) for expiry in month)


def test_good_friday_moves_an_expiry_to_thursday(market: Market) -> None:
    expiries = {option.expiry for option in chain(market, "AAPL", datetime(2027, 3, 1, 15, tzinfo=UTC))}
    assert date(2027, 3, 25) in expiries
    assert date(2027, 3, 26) not in expiries


def test_an_expired_contract_is_found_only_on_request(market: Market) -> None:
    option = chain(market, "SPY", NOW, expiry="20261127")[0]
    after = datetime(2026, 11, 27, 18, 0, tzinfo=UTC)  # a half day: it closes at 13:00
    assert market.find(ContractQuery(con_id=option.con_id), after - timedelta(seconds=1)) == (option,)
    assert market.find(ContractQuery(con_id=option.con_id), after) == ()
    assert chain(market, "SPY", after, expiry="20261127") == []
    assert option in chain(market, "SPY", after, expiry="20261127", include_expired=True)
    assert market.find(ContractQuery(con_id=option.con_id, include_expired=True), after) == (option,)


@pytest.mark.parametrize("text", ["x", "2026", "20261301", "20260230", "00000101"])
def test_a_malformed_expiry_finds_nothing_and_fails_nothing(market: Market, text: str) -> None:
    assert all(option.expiry for option in chain(market, "SPY", NOW, expiry=text, include_expired=True))


def test_the_listing_is_the_union_of_the_chain(market: Market) -> None:
    found = chain(market, "QQQ", NOW)
    (listing,) = market.option_listings(found[0].under_con_id, NOW)
    assert set(listing.strikes) == {option.strike for option in found}
    assert set(listing.expiries) == {option.expiry for option in found}


@pytest.mark.parametrize("now", INSTANTS, ids=lambda now: f"{now:%Y-%m-%d}")
def test_quotes_are_complete_and_in_order(market: Market, now: datetime) -> None:
    for option in chain(market, "IWM", now) + chain(market, "META", now):
        shown = market.snapshot(option, now)
        model = shown.model_greeks
        assert shown.bid is not None and shown.ask is not None and shown.last is not None  # noqa: PT018 narrows
        assert shown.low is not None and shown.high is not None and shown.volume is not None  # noqa: PT018 narrows
        assert model is not None and model.price is not None and model.iv is not None  # noqa: PT018 narrows
        assert 0.01 <= shown.bid < shown.ask
        assert shown.low <= shown.last <= shown.high
        assert shown.volume >= 1
        assert (shown.open_interest or 0) > 0
        assert 0.03 < model.iv < 8
        assert model.price <= shown.ask
        for value in (shown.bid, shown.ask, shown.last):
            assert value * 100 == pytest.approx(round(value * 100), abs=1e-6)
        assert None not in (model.delta, model.gamma, model.vega, model.theta, model.underlying, model.pv_dividend)


def test_put_call_parity_holds_within_the_half_spreads(market: Market) -> None:
    found = {(option.expiry, option.strike, option.right): option for option in chain(market, "SPY", NOW)}
    for (expiry, strike, right), call in found.items():
        if right == "P":
            continue
        left, other = market.snapshot(call, NOW), market.snapshot(found[expiry, strike, "P"], NOW)
        assert left.bid and left.ask and other.bid and other.ask and left.model_greeks  # noqa: PT018 narrows
        gap = (left.bid + left.ask - other.bid - other.ask) / 2
        spot, term = left.model_greeks.underlying or 0.0, years(call, NOW)
        fair = spot * math.exp(-DIVIDEND * term) - strike * math.exp(-RATE * term)
        assert abs(gap - fair) <= (left.ask - left.bid + other.ask - other.bid) / 2 + 1e-9


def test_greeks_agree_with_vollib(market: Market) -> None:
    for option in chain(market, "SPY", NOW)[::17]:
        model = market.snapshot(option, NOW).model_greeks
        assert model is not None and model.iv and model.underlying  # noqa: PT018 narrows
        flag = option.right.lower()
        terms = (flag, model.underlying, option.strike, years(option, NOW), RATE, model.iv, DIVIDEND)
        assert model.price == pytest.approx(black_scholes_merton(*terms), abs=1e-9)
        assert model.delta == pytest.approx(delta(*terms), abs=1e-9)
        assert model.gamma == pytest.approx(gamma(*terms), abs=1e-9)
        assert model.vega == pytest.approx(vega(*terms), abs=1e-9)
        assert model.theta == pytest.approx(theta(*terms), abs=1e-9)


def test_the_volatility_of_a_side_prices_that_side(market: Market) -> None:
    checked = 0
    for option in chain(market, "QQQ", NOW)[::13]:
        shown = market.snapshot(option, NOW)
        for side, price in ((shown.bid_greeks, shown.bid), (shown.ask_greeks, shown.ask), (shown.last_greeks, None)):
            if side is None:
                continue
            assert side.underlying and side.iv  # noqa: PT018 narrows
            terms = (option.right.lower(), side.underlying, option.strike, years(option, NOW), RATE, side.iv, DIVIDEND)
            assert black_scholes_merton(*terms) == pytest.approx(side.price if price is None else price, abs=1e-6)
            checked += 1
    assert checked > 300


def test_volume_grows_through_the_day_and_nothing_moves_after_the_close(market: Market) -> None:
    for option in chain(market, "SPY", NOW, expiry="20261218")[100:220:20]:
        shown = [market.snapshot(option, NOW + timedelta(minutes=minutes)) for minutes in range(0, 200, 10)]
        assert [one.volume or 0 for one in shown] == sorted(one.volume or 0 for one in shown)
        assert len({one.open_interest for one in shown}) == 1
    evening, night = (market.snapshot(option, NOW + timedelta(hours=hours)) for hours in (4, 9))
    assert not evening.is_open
    assert (evening.bid, evening.ask, evening.last, evening.volume) == (night.bid, night.ask, night.last, night.volume)
