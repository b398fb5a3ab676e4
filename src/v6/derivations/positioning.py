"""What volume and open interest of a chain say: put/call ratios and max pain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from v6.derivations.chain import Chain, ExpiryQuotes, Floats, Side
from v6.derivations.statistic import OK, Statistic, Value

Counts = Callable[[Side], Floats]


def _volume(side: Side) -> Floats:
    return side.volume


def _open_interest(side: Side) -> Floats:
    return side.open_interest


def ratio(expiries: Sequence[ExpiryQuotes], counts: Counts, what: str, *, tenor_days: int | None = None) -> Value:
    """Sum over the puts by that over the calls; contracts that lack the count are left out."""
    puts, calls = ([counts(getattr(q, side)) for q in expiries] for side in ("puts", "calls"))
    known = sum(int(np.isfinite(one).sum()) for one in (*puts, *calls))
    total = sum(len(one) for one in (*puts, *calls))
    below = float(sum(np.nansum(one) for one in calls))
    if not below > 0:
        return Value(value=None, observations=known, quality=f"the calls have no {what}", tenor_days=tenor_days)
    value = float(sum(np.nansum(one) for one in puts)) / below
    quality = OK if known >= 0.98 * total else f"{total - known} of {total} contracts without {what}"
    return Value(value=value, observations=known, quality=quality, tenor_days=tenor_days)


def put_call_volume_ratio(chain: Chain) -> Iterator[Value]:
    """Volume of the puts by that of the calls, over all expiries that were collected.

    Formula: Σ V_put / Σ V_call, each contract's volume of the session when it was quoted last.
    Source: the definition.
    Ties: none arise.
    Null: the calls have no volume.
    """
    yield ratio(chain.expiries, _volume, "volume")


def put_call_open_interest_ratio(chain: Chain) -> Iterator[Value]:
    """Open interest of the puts by that of the calls, over all expiries that were collected.

    Formula: Σ OI_put / Σ OI_call.
    Source: the definition.
    Ties: none arise.
    Null: the calls have no open interest.
    """
    yield ratio(chain.expiries, _open_interest, "open interest")


def put_call_volume_ratio_by_expiry(chain: Chain) -> Iterator[Value]:
    """Volume of the puts by that of the calls, of each expiry.

    Formula: Σ V_put / Σ V_call.
    Source: the definition.
    Ties: none arise.
    Null: the calls have no volume.
    """
    for quotes in chain.expiries:
        yield ratio((quotes,), _volume, "volume", tenor_days=quotes.days)


def put_call_open_interest_ratio_by_expiry(chain: Chain) -> Iterator[Value]:
    """Open interest of the puts by that of the calls, of each expiry.

    Formula: Σ OI_put / Σ OI_call.
    Source: the definition.
    Ties: none arise.
    Null: the calls have no open interest.
    """
    for quotes in chain.expiries:
        yield ratio((quotes,), _open_interest, "open interest", tenor_days=quotes.days)


def max_pain_by_expiry(chain: Chain) -> Iterator[Value]:
    """The strike at which the options of each expiry would be worth least to their holders, in currency.

    Formula: the listed strike S that makes Σ OI_call max(S - K, 0) + Σ OI_put max(K - S, 0) least.
    Source: the usual definition.
    Ties: the lowest of equal strikes.
    Null: no option of the expiry has open interest.
    """
    for quotes in chain.expiries:
        calls, puts = (np.nan_to_num(side.open_interest) for side in (quotes.calls, quotes.puts))
        known = int(np.isfinite(quotes.calls.open_interest).sum() + np.isfinite(quotes.puts.open_interest).sum())
        has_any = bool(calls.sum() + puts.sum() > 0)
        yield Value(
            value=max_pain(quotes.strikes, calls, puts) if has_any else None,
            observations=known,
            quality=OK if has_any else "no option has open interest",
            tenor_days=quotes.days,
        )


def max_pain(strikes: Floats, calls: Floats, puts: Floats) -> float:
    """The strike, ascending ones given, at which these open interests are worth least; of equal ones the lowest."""
    above = np.clip(strikes[:, None] - strikes[None, :], 0, None)  # of a settlement in a row over a strike in a column
    worth = above @ calls + np.clip(strikes[None, :] - strikes[:, None], 0, None) @ puts
    return float(strikes[int(np.argmin(worth))])


STATISTICS = (
    Statistic(name="put_call_volume_ratio", unit="1", compute=put_call_volume_ratio),
    Statistic(name="put_call_open_interest_ratio", unit="1", compute=put_call_open_interest_ratio),
    Statistic(name="put_call_volume_ratio_by_expiry", unit="1", compute=put_call_volume_ratio_by_expiry),
    Statistic(name="put_call_open_interest_ratio_by_expiry", unit="1", compute=put_call_open_interest_ratio_by_expiry),
    Statistic(name="max_pain_by_expiry", unit="currency", compute=max_pain_by_expiry),
)
