"""Takes account ids, names, balances, holdings and orders out of messages, so that a recording can be handed on.

What is kept is listed, not what is dropped: a message that nobody thought of is left out. Account ids become SIM900001,
SIM900002, … wherever they stand, so a lake that is fed by a replay counts as simulated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from v6.recordings.recording import GATEWAY

REDACTED = "redacted"
ACCOUNTS = 15
# An account id as IB gives them: U1234567, DU1234567, F…, DF…, I…, and those of the simulated gateway.
ACCOUNT_ID = re.compile(r"\b(?:D?[UFI]P?\d{5,9}|SIM\d{3,})\b")
NETWORK_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
HARMLESS = re.compile(r"|[A-Z]{3}|BASE|true|false")  # nothing, a currency, a switch

Fields = Sequence[str]
# Ticks, bars and contracts are everybody's.
PUBLIC = frozenset({
    1, 2, 10, 17, 18, 21, 45, 46, 47, 49, 50, 52, 57, 58, 75, 76, 79, 81, 88, 89, 90, 91, 96, 97, 98, 99, 106,
})  # fmt: skip
# Messages of the session's life: they say nothing of a person but perhaps an account's id.
KEPT_FROM_GATEWAY = frozenset({8, 9, 19, 20, 51, 53, 54, 55, 62, 64, 72, 74, 80, 82, 85, 86, 87, 93, 102})
KEPT_FROM_CLIENT = frozenset({
    1, 2, 5, 6, 7, 8, 9, 10, 11, 16, 17, 20, 22, 23, 24, 25, 49, 50, 51, 59, 61, 63, 64, 74, 75, 76, 77, 78, 79, 80, 81,
    82, 85, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 104,
})  # fmt: skip


class Redactor:
    """Knows the accounts of one gateway. ``keeps_holdings`` leaves quantities and average costs of positions."""

    def __init__(self, *, keeps_holdings: bool = False) -> None:
        self._keeps_holdings = keeps_holdings
        self._names: dict[str, str] = {}
        self._accounts = ACCOUNT_ID

    def redact(self, sender: str, fields: Fields) -> list[str] | None:
        """A message without what is personal; None where all of it is."""
        number = int(fields[0]) if fields and fields[0].isdigit() else -1
        if sender == GATEWAY and number in PUBLIC:
            return list(fields)
        if sender == GATEWAY and number == ACCOUNTS:
            self._learn(fields)
        change = (_OF_GATEWAY if sender == GATEWAY else _OF_CLIENT).get(number)
        kept = KEPT_FROM_GATEWAY if sender == GATEWAY else KEPT_FROM_CLIENT
        if change is None and number not in kept:
            return None
        changed = list(fields) if change is None else change(self, list(fields))
        return [changed[0], *(self._accounts.sub(self._renamed, text) for text in changed[1:])]

    def _learn(self, fields: Fields) -> None:
        for account in fields[2].split(",") if len(fields) > 2 else ():
            self._name_of(account.strip())

    def _name_of(self, account: str) -> str:
        if account and account not in self._names:
            self._names[account] = f"SIM{900001 + len(self._names)}"
            known = sorted(map(re.escape, self._names), key=len, reverse=True)
            self._accounts = re.compile("|".join([*known, ACCOUNT_ID.pattern]))
        return self._names.get(account, "")

    def _renamed(self, found: re.Match[str]) -> str:
        account = found.group()
        return account if account in self._names.values() else self._name_of(account)

    # --- messages that speak of a person ---

    def _account_value(self, fields: list[str]) -> list[str]:
        return _hiding(fields, 3)

    def _account_value_multi(self, fields: list[str]) -> list[str]:
        return _hiding(_with(fields, {4: ""}), 6)

    def _summary(self, fields: list[str]) -> list[str]:
        return _hiding(fields, 5)

    def _portfolio(self, fields: list[str]) -> list[str]:
        """Contract, then position, price, value, cost and what was won with it; the price is the market's."""
        hidden = dict.fromkeys((15, 17, 18), "0")
        held = {} if self._keeps_holdings else {13: "1", 16: "0"}
        return _with(fields, {**hidden, **held})

    def _position(self, fields: list[str]) -> list[str]:
        return fields if self._keeps_holdings else _with(fields, {14: "1", 15: "0"})

    def _position_multi(self, fields: list[str]) -> list[str]:
        shown = _with(fields, {len(fields) - 1: ""})
        return shown if self._keeps_holdings else _with(shown, {len(fields) - 3: "1", len(fields) - 2: "0"})

    def _profit(self, fields: list[str]) -> list[str]:
        return [*fields[:2], *("0" for _ in fields[2:])]

    def _families(self, fields: list[str]) -> list[str]:
        return [fields[0], "0"]

    def _tiers(self, fields: list[str]) -> list[str]:
        return [*fields[:2], "0"]

    def _user(self, fields: list[str]) -> list[str]:
        return [*fields[:2], ""]

    def _error(self, fields: list[str]) -> list[str]:
        """The text may name another computer; what belongs to an order is left out."""
        text = NETWORK_ADDRESS.sub("0.0.0.0", fields[4]) if len(fields) > 4 else ""  # noqa: S104 - no address to bind
        return [*fields[:4], text, *("" for _ in fields[5:])]

    def _start(self, fields: list[str]) -> list[str]:
        """Version and client id."""
        return [*fields[:3], *("" for _ in fields[3:])]

    def _summary_request(self, fields: list[str]) -> list[str]:
        return _with(fields, {3: "All"})


def _with(fields: list[str], changes: Mapping[int, str]) -> list[str]:
    return [changes.get(position, text) for position, text in enumerate(fields)]


def _hiding(fields: list[str], position: int) -> list[str]:
    """With an account's value hidden: a number becomes 0, words go."""
    return [_hidden(text) if place == position else text for place, text in enumerate(fields)]


def _hidden(value: str) -> str:
    if HARMLESS.fullmatch(value):
        return value
    return "0" if NUMBER.fullmatch(value) else REDACTED


_Change = Callable[[Redactor, list[str]], list[str]]
_OF_GATEWAY: Mapping[int, _Change] = {
    4: Redactor._error,
    6: Redactor._account_value,
    7: Redactor._portfolio,
    15: lambda _, fields: fields,
    61: Redactor._position,
    63: Redactor._summary,
    71: Redactor._position_multi,
    73: Redactor._account_value_multi,
    77: Redactor._tiers,
    78: Redactor._families,
    94: Redactor._profit,
    95: Redactor._profit,
    107: Redactor._user,
}
_OF_CLIENT: Mapping[int, _Change] = {62: Redactor._summary_request, 71: Redactor._start}
