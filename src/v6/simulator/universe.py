"""What the simulated market trades: a fixed list. How each price follows from the history stands in every entry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from v6.simulator.pricing import RATE


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionRules:
    """How options on an underlying are listed, counted in strikes at the listing of an expiry."""

    trading_class: str
    exchanges: tuple[str, ...]
    weekly_days: int  # Fridays up to so many days ahead
    below: int  # strikes of a weekly or monthly expiry below the money
    above: int
    daily_each_side: int = 0  # strikes of a daily expiry on each side of the money; 0: no daily expiries
    step: float = 0.007  # the strike step is the largest of 1, 2, 5 x 10^n not above this part of the price
    weekly_class: str = ""  # the class of expiries that are no month's, where it is another one
    weekday: int = 4  # on which a week's and a month's options expire: 4 is Friday, 2 (of VIX) Wednesday
    multiplier: str = "100"


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """One traded name. Its price is ``spx`` x S&P 500 + ``comp`` x NASDAQ Composite, times the noise of a stock."""

    code: int  # never reused: contract ids are made of it
    class_of: str = ""  # only a further class of options on that symbol
    symbol: str
    sec_type: str
    long_name: str
    exchange: str
    tick: Fraction
    spx: Fraction
    comp: Fraction
    noise: float = 0.0  # standard deviation of a session's own logarithmic return
    volume_divisor: int = 0  # of the volume of ``volume_of``; 0: nothing trades (an index)
    volume_of: str = "SPX"
    volatility: float = 1.0  # at-the-money volatility over VIX
    dividend: float = 0.0
    options: OptionRules | None = None
    multiplier: str = ""
    industry: str = ""
    category: str = ""
    stock_type: str = ""

    @property
    def mover(self) -> str:
        """What moves it within a day: products of one index, or of one mix of both, move together."""
        if self.noise or self.symbol == "VIX":
            return self.symbol
        return f"{self.comp / (self.spx + self.comp)}"


_CENT = Fraction(1, 100)
_QUARTER = Fraction(1, 4)
_OPTION_EXCHANGES = ("SMART", "CBOE", "AMEX", "ISE", "PHLX")
_INDEX_EXCHANGES = ("SMART", "CBOE")
_EPOCH_SPX, _EPOCH_COMP = Fraction("2506.850098"), Fraction("6635.279785")


def _etf_rules(symbol: str, *, weekly_days: int, below: int, above: int, daily: int) -> OptionRules:
    return OptionRules(
        trading_class=symbol,
        exchanges=_OPTION_EXCHANGES,
        weekly_days=weekly_days,
        below=below,
        above=above,
        daily_each_side=daily,
    )


def _etf(
    code: int, symbol: str, name: str, *, mix: tuple[str, str], volume: tuple[str, int], rules: OptionRules, vol: float
) -> Product:
    return Product(
        code=code,
        symbol=symbol,
        sec_type="STK",
        long_name=name,
        exchange="ARCA" if symbol != "QQQ" else "NASDAQ",
        tick=_CENT,
        spx=Fraction(mix[0]),
        comp=Fraction(mix[1]),
        volume_of=volume[0],
        volume_divisor=volume[1],
        volatility=vol,
        dividend=0.015,
        options=rules,
        industry="Funds",
        category="Equity Fund",
        stock_type="ETF",
    )


def _index(
    code: int, symbol: str, name: str, mix: tuple[str, str], *, vol: float, rules: OptionRules | None = None
) -> Product:
    usual = OptionRules(trading_class=symbol, exchanges=_INDEX_EXCHANGES, weekly_days=63, below=35, above=25)
    return Product(
        code=code,
        symbol=symbol,
        sec_type="IND",
        long_name=name,
        exchange="CBOE" if symbol != "NDX" else "NASDAQ",
        tick=_CENT,
        spx=Fraction(mix[0]),
        comp=Fraction(mix[1]),
        volatility=vol,
        dividend=0.015,
        options=rules or usual,
        industry="Indices",
        category="Broad Range Equity Index",
    )


def _future(
    code: int,
    symbol: str,
    name: str,
    *,
    mix: tuple[str, str],
    tick: Fraction,
    multiplier: str,
    volume: tuple[str, int],
    vol: float = 1.0,
) -> Product:
    return Product(
        code=code,
        symbol=symbol,
        sec_type="FUT",
        long_name=name,
        exchange="CME",
        tick=tick,
        spx=Fraction(mix[0]),
        comp=Fraction(mix[1]),
        volume_of=volume[0],
        volume_divisor=volume[1],
        volatility=vol,
        multiplier=multiplier,
        industry="Indices",
        category="Broad Range Equity Index",
    )


def _stock(code: int, row: tuple[str, str, str, float, float, int, str]) -> Product:
    symbol, name, price, share, noise, divisor, exchange = row
    part = Fraction(str(share))
    rules = OptionRules(
        trading_class=symbol, exchanges=_OPTION_EXCHANGES, weekly_days=35, below=12, above=12, step=0.025
    )
    return Product(
        code=code,
        symbol=symbol,
        sec_type="STK",
        long_name=name,
        exchange=exchange,
        tick=_CENT,
        spx=Fraction(price) * part / _EPOCH_SPX,
        comp=Fraction(price) * (1 - part) / _EPOCH_COMP,
        noise=noise,
        volume_divisor=divisor,
        volatility=1.0 + 50 * noise,
        dividend=0.01,
        options=rules,
        industry="Common stock",
        stock_type="COMMON",
    )


_FIXED = (
    _etf(
        1,
        "SPY",
        "SPDR S&P 500 ETF TRUST",
        mix=("1/10", "0"),
        volume=("SPX", 30),
        rules=_etf_rules("SPY", weekly_days=63, below=84, above=60, daily=15),
        vol=1.0,
    ),
    _etf(
        2,
        "QQQ",
        "INVESCO QQQ TRUST SERIES 1",
        mix=("0", "1/40"),
        volume=("COMP", 40),
        rules=_etf_rules("QQQ", weekly_days=63, below=68, above=50, daily=10),
        vol=1.2,
    ),
    _etf(
        3,
        "IWM",
        "ISHARES RUSSELL 2000 ETF",
        mix=("3/100", "9/1000"),
        volume=("SPX", 150),
        rules=_etf_rules("IWM", weekly_days=42, below=60, above=42, daily=7),
        vol=1.25,
    ),
    _etf(
        4,
        "DIA",
        "SPDR DJIA TRUST",
        mix=("93/1000", "0"),
        volume=("SPX", 700),
        rules=_etf_rules("DIA", weekly_days=35, below=20, above=20, daily=0),
        vol=0.95,
    ),
    _index(
        5,
        "SPX",
        "S&P 500 Stock Index",
        ("1", "0"),
        vol=1.0,
        rules=OptionRules(trading_class="SPX", exchanges=_INDEX_EXCHANGES, weekly_days=0, below=35, above=25),
    ),
    _index(6, "NDX", "NASDAQ 100 Stock Index", ("0", "1"), vol=1.2),
    _index(
        7,
        "VIX",
        "CBOE Volatility Index",
        ("0", "0"),
        vol=5.0,
        rules=OptionRules(
            trading_class="VIX",
            exchanges=_INDEX_EXCHANGES,
            weekly_days=42,
            below=16,
            above=24,
            step=0.03,
            weekly_class="VIXW",
            weekday=2,
        ),
    ),
    _future(8, "ES", "E-mini S&P 500", mix=("1", "0"), tick=_QUARTER, multiplier="50", volume=("SPX", 2_000)),
    _future(
        9, "NQ", "E-mini NASDAQ 100", mix=("0", "1"), tick=_QUARTER, multiplier="20", volume=("COMP", 4_000), vol=1.2
    ),
    _future(
        10,
        "RTY",
        "E-Mini Russell 2000 Index",
        mix=("3/10", "9/100"),
        tick=Fraction(1, 10),
        multiplier="50",
        volume=("SPX", 20_000),
        vol=1.25,
    ),
)

# symbol, name, price at the epoch, part of it that moves with the S&P 500 (the rest with the NASDAQ), noise, volume
_STOCKS: tuple[tuple[str, str, str, float, float, int, str], ...] = (
    ("AAPL", "APPLE INC", "157.74", 0.3, 0.011, 90, "NASDAQ"),
    ("MSFT", "MICROSOFT CORP", "101.57", 0.3, 0.009, 100, "NASDAQ"),
    ("NVDA", "NVIDIA CORP", "133.50", 0.1, 0.018, 250, "NASDAQ"),
    ("AMZN", "AMAZON.COM INC", "150.19", 0.1, 0.013, 150, "NASDAQ"),
    ("GOOGL", "ALPHABET INC-CL A", "104.49", 0.2, 0.010, 200, "NASDAQ"),
    ("META", "META PLATFORMS INC-CLASS A", "131.09", 0.2, 0.014, 180, "NASDAQ"),
    ("TSLA", "TESLA INC", "332.80", 0.1, 0.025, 300, "NASDAQ"),
    ("JPM", "JPMORGAN CHASE & CO", "97.62", 0.9, 0.010, 220, "NYSE"),
    ("BAC", "BANK OF AMERICA CORP", "64.64", 0.9, 0.013, 60, "NYSE"),
    ("WMT", "WALMART INC", "93.15", 0.9, 0.008, 400, "NYSE"),
    ("JNJ", "JOHNSON & JOHNSON", "129.05", 0.9, 0.007, 450, "NYSE"),
    ("PG", "PROCTER & GAMBLE CO/THE", "91.92", 0.9, 0.007, 350, "NYSE"),
    ("XOM", "EXXON MOBIL CORP", "68.19", 0.9, 0.009, 280, "NYSE"),
    ("CVX", "CHEVRON CORP", "108.79", 0.9, 0.010, 420, "NYSE"),
    ("UNH", "UNITEDHEALTH GROUP INC", "249.12", 0.8, 0.010, 900, "NYSE"),
    ("HD", "HOME DEPOT INC", "171.82", 0.8, 0.009, 700, "NYSE"),
    ("V", "VISA INC-CLASS A SHARES", "131.94", 0.6, 0.008, 400, "NYSE"),
    ("MA", "MASTERCARD INC - A", "188.65", 0.6, 0.009, 800, "NYSE"),
    ("KO", "COCA-COLA CO/THE", "47.35", 0.9, 0.006, 300, "NYSE"),
    ("PEP", "PEPSICO INC", "110.48", 0.9, 0.006, 650, "NASDAQ"),
    ("DIS", "WALT DISNEY CO/THE", "109.65", 0.8, 0.010, 350, "NYSE"),
    ("NFLX", "NETFLIX INC", "267.66", 0.1, 0.020, 330, "NASDAQ"),
    ("AMD", "ADVANCED MICRO DEVICES", "78.46", 0.1, 0.024, 70, "NASDAQ"),
    ("INTC", "INTEL CORP", "46.93", 0.3, 0.012, 120, "NASDAQ"),
    ("CSCO", "CISCO SYSTEMS INC", "43.33", 0.3, 0.009, 140, "NASDAQ"),
    ("ORCL", "ORACLE CORP", "45.15", 0.3, 0.010, 200, "NYSE"),
    ("BA", "BOEING CO/THE", "322.50", 0.8, 0.012, 600, "NYSE"),
    ("CAT", "CATERPILLAR INC", "127.07", 0.8, 0.011, 700, "NYSE"),
    ("GS", "GOLDMAN SACHS GROUP INC", "167.05", 0.8, 0.011, 850, "NYSE"),
    ("MCD", "MCDONALD'S CORP", "177.57", 0.9, 0.007, 800, "NYSE"),
)

PRODUCTS: tuple[Product, ...] = _FIXED + tuple(_stock(11 + number, row) for number, row in enumerate(_STOCKS))


def _class_on(symbol: str, code: int, rules: OptionRules, **changes: float) -> Product:
    """A further class of options on a product, under a code whose own product has no options."""
    product = next(product for product in PRODUCTS if product.symbol == symbol)
    return replace(product, code=code, class_of=symbol, options=rules, **changes)  # type: ignore[arg-type]


# Classes of options beside a product's own. An option on a future has no cost of carry: its yield is the rate.
CLASSES: tuple[Product, ...] = (
    _class_on(
        "SPX",
        9,
        OptionRules(
            trading_class="SPXW", exchanges=_INDEX_EXCHANGES, weekly_days=63, below=35, above=25, daily_each_side=15
        ),
    ),
    _class_on(
        "ES",
        8,
        OptionRules(
            trading_class="ES",
            exchanges=("CME",),
            weekly_days=28,
            below=30,
            above=20,
            weekly_class="EW",
            multiplier="50",
        ),
        dividend=RATE,
    ),
    # Adjusted after a spin-off: 150 of the stock for each contract.
    _class_on(
        "BAC",
        10,
        OptionRules(
            trading_class="BAC1",
            exchanges=_OPTION_EXCHANGES,
            weekly_days=0,
            below=4,
            above=4,
            step=0.025,
            multiplier="150",
        ),
    ),
)
