"""Greeks computed from mid prices: compared with vollib, and with what the gateway's model says."""

from __future__ import annotations

import math
import warnings
from datetime import UTC, date, datetime

import pytest

from v6.derivations.expiry_time import years_to
from v6.request_types.base import Contract, Greeks, MarketDataType, Quote
from v6.request_types.computed_greeks import RATE, computed_greeks, needs_greeks
from v6.request_types.option_rows import is_adjusted

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from vollib.black_scholes_merton import black_scholes_merton
    from vollib.black_scholes_merton.greeks import analytical as greeks_of

NOW = datetime(2026, 11, 23, 17, 30, tzinfo=UTC)
EXPIRY = date(2026, 12, 18)
SPOT, DIVIDEND, VOLATILITY = 600.0, 0.015, 0.18


def quote(strike: float, right: str, *, model: Greeks | None = None, spread: float = 0.02) -> Quote:
    years = years_to(EXPIRY, NOW)
    price = black_scholes_merton(right.lower(), SPOT, strike, years, RATE, VOLATILITY, DIVIDEND)
    contract = Contract(
        symbol="SPY", sec_type="OPT", con_id=int(strike * 10) + (right == "P"), expiry=EXPIRY, strike=strike,
        right=right, multiplier=100.0, trading_class="SPY",
    )  # fmt: skip
    return Quote(
        contract=contract, requested_type=MarketDataType.LIVE, received_type=MarketDataType.LIVE, started_at=NOW,
        finished_at=NOW, bid=price - spread / 2, ask=price + spread / 2, model=model,
    )  # fmt: skip


def chain() -> list[Quote]:
    return [quote(float(strike), right) for strike in range(560, 641, 5) for right in "CP"]


def test_volatility_and_greeks_are_those_of_vollib() -> None:
    quotes = chain()
    found = computed_greeks(quotes, SPOT)
    assert len(found) == len(quotes)
    years = years_to(EXPIRY, NOW)
    for one in quotes:
        strike, flag = one.contract.strike or 0.0, one.contract.right.lower()
        terms = (flag, SPOT, strike, years, RATE, VOLATILITY, DIVIDEND)
        got = found[one.contract.con_id]
        assert got.iv == pytest.approx(VOLATILITY, abs=2e-4)
        assert got.delta == pytest.approx(greeks_of.delta(*terms), abs=1e-3)
        assert got.gamma == pytest.approx(greeks_of.gamma(*terms), abs=1e-4)
        assert got.vega == pytest.approx(greeks_of.vega(*terms), abs=1e-3)
        assert got.theta == pytest.approx(greeks_of.theta(*terms), abs=2e-3)
        assert got.underlying_price == SPOT


def test_only_what_the_model_left_out_is_computed() -> None:
    whole = quote(600.0, "C", model=Greeks(iv=0.2, delta=0.5))
    without_delta = quote(605.0, "C", model=Greeks(iv=0.2))
    assert not needs_greeks(whole)
    assert set(computed_greeks([whole, without_delta], SPOT)) == {without_delta.contract.con_id}


def test_a_price_that_tells_nothing_gives_nothing() -> None:
    below_intrinsic = quote(560.0, "C")
    worthless = Quote(
        contract=below_intrinsic.contract, requested_type=MarketDataType.LIVE, received_type=None, started_at=NOW,
        finished_at=NOW, bid=1.0, ask=1.1,
    )  # fmt: skip
    assert computed_greeks([worthless], SPOT) == {}
    assert computed_greeks(chain(), None) == {}


def test_options_on_a_future_are_priced_on_the_future_itself() -> None:
    years = years_to(EXPIRY, NOW)
    carry_free = black_scholes_merton("c", SPOT, 600.0, years, RATE, VOLATILITY, RATE)
    template = quote(600.0, "C")
    one = Quote(
        contract=template.contract, requested_type=MarketDataType.LIVE, received_type=None, started_at=NOW,
        finished_at=NOW, bid=carry_free - 0.01, ask=carry_free + 0.01,
    )  # fmt: skip
    (got,) = computed_greeks([one], SPOT, on_future=True).values()
    assert got.iv == pytest.approx(VOLATILITY, abs=1e-4)


def test_on_its_last_evening_an_option_has_a_minute_left() -> None:
    assert years_to(NOW.date(), datetime(2026, 11, 23, 23, tzinfo=UTC)) == pytest.approx(60 / (365 * 86400))
    assert math.isclose(years_to(date(2027, 11, 23), datetime(2026, 11, 23, 21, tzinfo=UTC)), 1.0)


@pytest.mark.parametrize(
    ("symbol", "trading_class", "multiplier", "expected"),
    [
        ("SPY", "SPY", 100.0, False),
        ("GE", "GE1", 100.0, True),
        ("GE", "2GE", 100.0, True),
        ("AAPL", "AAPL", 150.0, True),
        ("SPX", "SPXW", 100.0, False),
        ("VIX", "VIXW", 100.0, False),
    ],
)
def test_an_adjusted_contract_is_told_by_class_and_multiplier(
    symbol: str, trading_class: str, multiplier: float, expected: bool
) -> None:
    contract = Contract(symbol=symbol, sec_type="OPT", trading_class=trading_class, multiplier=multiplier)
    assert is_adjusted(contract) is expected
