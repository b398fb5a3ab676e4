"""Quotes that are formally right and tell nothing: far wider than those nearer the money, and far above them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from v6.derivations.chain import Side

WIDE = 3.0  # times the bid that is asked: the quote itself leaves its price open
FAR = 2.0  # times what is asked for an option nearer the money, which is worth more


def stray_quotes(side: Side, outwards: Iterable[int]) -> Iterator[int]:
    """The places, from the money outwards, whose mid is far above the ask of the last one that was in line."""
    nearer, bids, asks = float("inf"), side.bid.tolist(), side.ask.tolist()
    for place in outwards:
        bid, ask = bids[place], asks[place]
        if not 0 < bid <= ask < float("inf"):
            continue
        if ask > WIDE * bid and (bid + ask) / 2 > FAR * nearer:
            yield place
        else:
            nearer = ask
