"""What put-call parity tells of each expiry: the forward price and the rate."""

from __future__ import annotations

from collections.abc import Iterator

from v6.derivations.chain import Chain
from v6.derivations.statistic import Statistic, Value, joined


def implied_forward_by_expiry(chain: Chain) -> Iterator[Value]:
    """The forward price of the underlying that each expiry's calls and puts imply, in currency.

    Formula: the median of K + (C - P) / D over the nine strikes with the smallest |C - P|, C and P the mids, D the
    discount of the implied rate; each strike counts with the price that the underlying had when it was quoted, and the
    forward is that of the median price.
    Source: put-call parity; Hull, ch. 11.
    Ties: of equal |C - P| the lower strike.
    Null: no strike has a call and a put with a bid above zero and an ask not below it, or the underlying's price is
    missing.
    """
    for quotes in chain.expiries:
        forward = quotes.forward
        known = not forward.obstacle and quotes.spot > 0
        yield Value(
            value=forward.ratio * quotes.spot if known else None,
            observations=forward.pairs,
            quality=joined(quotes.doubts) if known else forward.obstacle or "the underlying's price is missing",
            tenor_days=quotes.days,
        )


def implied_rate_by_expiry(chain: Chain) -> Iterator[Value]:
    """The continuously compounded rate that each expiry's calls and puts imply.

    Formula: -ln(D) / T, -D the slope of C - P on K by least squares weighted with 1 / spread, over the strikes within
    12 % of spot, those left out that lie further than four robust standard deviations off the line.
    Source: put-call parity; Hull, ch. 11.
    Ties: none arise.
    Null: it expires within a week, fewer than six strikes have both mids, or the slope gives no rate between -5 % and
    25 %. Other statistics then use the median rate of the expiries from 21 days on, or 4 % where there is none.
    """
    for quotes in chain.expiries:
        forward = quotes.forward
        yield Value(
            value=forward.rate,
            observations=forward.pairs,
            quality=joined(quotes.doubts) if forward.rate is not None else forward.rate_note,
            tenor_days=quotes.days,
        )


STATISTICS = (
    Statistic(name="implied_forward_by_expiry", unit="currency", compute=implied_forward_by_expiry),
    Statistic(name="implied_rate_by_expiry", unit="1/year", compute=implied_rate_by_expiry),
)
