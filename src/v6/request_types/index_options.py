"""Indices whose options are asked for by one word: SPX is no stock, and SPXW is a class of options on it."""

from __future__ import annotations

from dataclasses import dataclass

# Indices with listed options at US exchanges; none of these is the symbol of a stock there.
INDICES = frozenset({"SPX", "XSP", "NDX", "XND", "RUT", "MRUT", "VIX", "DJX", "OEX", "XEO", "RVX", "SPESG"})
# Classes of options that people name instead of the index.
INDEX_OF_CLASS = {"SPXW": "SPX", "NDXP": "NDX", "RUTW": "RUT", "VIXW": "VIX", "SPXPM": "SPX"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Meant:
    """What the options are on, and of which class where one was named."""

    symbol: str
    sec_type: str
    trading_class: str | None


def meant_by(symbol: str, sec_type: str | None, trading_class: str | None) -> Meant:
    """The underlying and the class that a symbol means when no type of it was said, or that of an index."""
    if sec_type in {None, "IND"} and symbol in INDEX_OF_CLASS:
        return Meant(symbol=INDEX_OF_CLASS[symbol], sec_type="IND", trading_class=trading_class or symbol)
    return Meant(
        symbol=symbol, sec_type=sec_type or ("IND" if symbol in INDICES else "STK"), trading_class=trading_class
    )
