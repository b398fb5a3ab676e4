"""Contract ids that say by themselves what they are: any process resolves any id without a table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from v6.simulator.listing import BANDS

# A stock or index is BASE + code; a future adds its month; options fill the rest of 31 bits.
STOCK_BASE = 100_000
CONTINUOUS_BASE = 200_000
FUTURE_BASE = 1_000_000
OPTION_BASE = 10_000_000
_QUARTER_SLOTS = 1_000
_FIRST_YEAR = 1990
_DAY_SLOTS = 4_096
_STRIKE_SLOTS = 6_401
_LAST = 2**31 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractKey:
    """What an id stands for; ``kind`` is STK (an index too), CONTFUT, FUT or OPT."""

    kind: str
    code: int
    year: int = 0
    month: int = 0
    expiry: date | None = None
    strike_tenths: int = 0
    right: str = ""


def option_id(code: int, expiry: date, strike_tenths: int, right: str) -> int:
    """The id of an option: product, day modulo 4,096, strike on the grid, right."""
    number = (code - 1) * _DAY_SLOTS + expiry.toordinal() % _DAY_SLOTS
    return OPTION_BASE + (number * _STRIKE_SLOTS + _strike_code(strike_tenths)) * 2 + (right == "P")


def option_code(con_id: int) -> int:
    """The code in an option's id."""
    return (con_id - OPTION_BASE) // (2 * _STRIKE_SLOTS * _DAY_SLOTS) + 1


def future_id(code: int, year: int, month: int) -> int:
    """The id of a quarterly future."""
    return FUTURE_BASE + code * _QUARTER_SLOTS + (year - _FIRST_YEAR) * 4 + month // 3 - 1


def decode(con_id: int, today: date) -> ContractKey | None:
    """What an id stands for; an option's expiry is the day nearest to ``today`` that fits. None: no such id."""
    if not STOCK_BASE < con_id <= _LAST:
        return None
    if con_id < CONTINUOUS_BASE:
        return ContractKey(kind="STK", code=con_id - STOCK_BASE)
    if con_id < FUTURE_BASE:
        return ContractKey(kind="CONTFUT", code=con_id - CONTINUOUS_BASE)
    if con_id < OPTION_BASE:
        code, quarter = divmod(con_id - FUTURE_BASE, _QUARTER_SLOTS)
        return ContractKey(kind="FUT", code=code, year=_FIRST_YEAR + quarter // 4, month=3 * (quarter % 4) + 3)
    return _decode_option(con_id - OPTION_BASE, today)


def _decode_option(number: int, today: date) -> ContractKey | None:
    number, is_put = divmod(number, 2)
    number, strike_code = divmod(number, _STRIKE_SLOTS)
    code, day = divmod(number, _DAY_SLOTS)
    near = today.toordinal()
    ordinal = near + (day - near + _DAY_SLOTS // 2) % _DAY_SLOTS - _DAY_SLOTS // 2
    tenths = _strike_tenths(strike_code)
    if tenths == 0 or not 1 <= ordinal <= date.max.toordinal():
        return None
    return ContractKey(
        kind="OPT",
        code=code + 1,
        expiry=date.fromordinal(ordinal),
        strike_tenths=tenths,
        right="P" if is_put else "C",
    )


def _strike_code(tenths: int) -> int:
    below, code = 0, 0
    for bound, unit in BANDS:
        if tenths <= bound:
            return code + (tenths - below) // unit
        code += (bound - below) // unit
        below = bound
    raise ValueError(f"the strike {tenths / 10} is above the grid")


def _strike_tenths(code: int) -> int:
    below = 0
    for bound, unit in BANDS:
        slots = (bound - below) // unit
        if code <= slots:
            return below + code * unit
        code -= slots
        below = bound
    return 0
