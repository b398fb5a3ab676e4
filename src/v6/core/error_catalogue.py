"""IB's error codes as data: what kind of error each is and what is done about it.

Nothing else in v6 compares error numbers. ``python -m v6.core.error_catalogue docs/error-codes.md`` writes the page
that shows it. Codes and meanings: IB's "TWS API Message Codes", and what gateways were seen to send.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from v6.errors import ErrorCategory

MARKET_DATA = "market_data"
HISTORY = "history"
ACCOUNT = "account"
ALL_KINDS = frozenset({MARKET_DATA, HISTORY, ACCOUNT})


class ErrorAction(StrEnum):
    """What a code asks of whoever gets it."""

    FAIL = "fail"
    EMPTY = "empty"
    RETRY = "retry"
    NEW_ID = "new_id"
    SNOOZE = "snooze"
    SLOW_DOWN = "slow_down"
    HOLD = "hold"
    RESUME = "resume"
    RESUBSCRIBE = "resubscribe"
    RECONNECT = "reconnect"
    NEXT_CLIENT_ID = "next_client_id"
    PARTIAL = "partial"
    IGNORE = "ignore"


MEANINGS = {
    ErrorAction.FAIL: "the request cannot succeed and fails at once; one contract of a chain gets a row that says why",
    ErrorAction.EMPTY: "the answer is: nothing; the request succeeds with what else it has",
    ErrorAction.RETRY: "transient: the request is tried again after a back-off, which spends an attempt",
    ErrorAction.NEW_ID: "our own bug: the call is made once more under a new id, then the request fails",
    ErrorAction.SNOOZE: "the request waits and comes again; no attempt is spent",
    ErrorAction.SLOW_DOWN: "as snooze, and no message at all goes out for a second",
    ErrorAction.HOLD: "work of these kinds is held back until the matching notice; what is in flight goes on",
    ErrorAction.RESUME: "what was held goes on; calls that were in flight are issued again",
    ErrorAction.RESUBSCRIBE: "as resume, and quotes that were being collected are asked for again",
    ErrorAction.RECONNECT: "the socket is closed and opened again; what was in flight is issued again",
    ErrorAction.NEXT_CLIENT_ID: "the session is opened with the next client id of the pool, once the socket is closed",
    ErrorAction.PARTIAL: "the quote goes on with less; the code becomes the reason of what is missing",
    ErrorAction.IGNORE: "information: logged, nothing more",
}
_GOES_ON = frozenset(
    {ErrorAction.PARTIAL, ErrorAction.IGNORE, ErrorAction.HOLD, ErrorAction.RESUME, ErrorAction.RESUBSCRIBE}
)
_FINAL = frozenset({ErrorAction.FAIL, ErrorAction.NEW_ID})


class Subject(StrEnum):
    """What a hold and the notice that ends it have in common."""

    CONNECTIVITY = "connectivity"
    MARKET_DATA_FARM = "market data farm"
    HISTORY_FARM = "historical data farm"
    DEFINITIONS_FARM = "security definition farm"
    COMPETING_SESSION = "competing session"


# What a subject's loss holds back; without contract definitions neither quotes nor bars can be asked for.
HELD_BY = {
    Subject.CONNECTIVITY: ALL_KINDS,
    Subject.MARKET_DATA_FARM: frozenset({MARKET_DATA}),
    Subject.HISTORY_FARM: frozenset({HISTORY}),
    Subject.DEFINITIONS_FARM: frozenset({MARKET_DATA, HISTORY}),
    Subject.COMPETING_SESSION: frozenset({MARKET_DATA}),
}
# While these are lost the gateway answers "no such contract" for contracts that exist.
MAKES_REFUSALS_DOUBTFUL = frozenset({Subject.CONNECTIVITY, Subject.DEFINITIONS_FARM})


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorRule:
    """How one code is taken; with ``text`` only where the message contains it (in lower case)."""

    code: int | None
    category: ErrorCategory
    action: ErrorAction
    meaning: str
    text: str = ""
    subject: Subject | None = None

    @property
    def ends_call(self) -> bool:
        """Whether a call that gets this code is over."""
        return self.action not in _GOES_ON

    @property
    def is_final(self) -> bool:
        """Whether asking again cannot help."""
        return self.action in _FINAL


_C, _A, _S = ErrorCategory, ErrorAction, Subject
_Entry = tuple[int, str] | tuple[int, str, str]  # code, meaning, and the text that decides

_GROUPS: tuple[tuple[ErrorCategory, ErrorAction, tuple[_Entry, ...]], ...] = (
    (_C.CONTRACT, _A.FAIL, (
        (200, "no security definition, or an ambiguous one; during an outage it is retried"),
        (203, "the security is not available or allowed for this account"),
        (412, "the contract is not available for trading"),
        (430, "no fundamentals for this security"),
    )),
    (_C.VALIDATION, _A.FAIL, (
        (310, "no such market depth to cancel"), (311, "scanner subscription is wrong"),
        (313, "the scan cannot be found"), (319, "the log level is wrong"), (320, "the request could not be read"),
        (321, "the request is not valid"), (336, "a time or time zone cannot be read"),
        (503, "the gateway's version is too old for this"), (505, "unknown message id"),
        (506, "the client's version is not supported"), (10299, "what_to_show does not fit"),
        (10314, "the end of the history cannot be read"), (10339, "a continuous future has no end time"),
    )),
    (_C.INTERNAL, _A.NEW_ID, (
        (102, "duplicate ticker id"),
        (322, "the request could not be processed: mostly a duplicate id"),
    )),
    (_C.INTERNAL, _A.IGNORE, (
        (300, "nothing of that id to cancel: it had ended"), (365, "no scanner of that id to cancel"),
        (366, "no history request of that id to cancel: it had ended"),
        (501, "already connected"),
    )),
    (_C.PACING, _A.SLOW_DOWN, ((100, "more messages a second than allowed"),)),
    (_C.PACING, _A.SNOOZE, (
        (101, "all market-data lines are taken"), (162, "small bars asked for too fast", "pacing violation"),
        (309, "too many market depth requests"), (322, "all open historical requests are taken", "simultaneous"),
        (420, "real-time bars asked for too fast"), (10190, "too many tick-by-tick requests"),
    )),
    (_C.NETWORK, _A.EMPTY, ((162, "there is no such history", "no data"),)),
    (_C.NETWORK, _A.RETRY, (
        (162, "the history service failed"),
        (162, "our own cancel; a call that nobody cancelled is made again", "query cancelled"),
        (165, "the history service reports"),
        (316, "market depth was halted"), (317, "market depth was reset"), (323, "the server could not read"),
        (324, "the server could not process"), (325, "the server did not answer"),
        (10182, "live updates were lost"), (10225, "a bust event ended the request"),
    )),
    (_C.NETWORK, _A.RECONNECT, (
        (502, "the gateway cannot be reached"), (504, "not connected"), (507, "a message had a wrong length"),
        (508, "a message could not be read"), (509, "a message could not be sent"),
        (1300, "the socket's port is reset"),
    )),
    (_C.SESSION, _A.NEXT_CLIENT_ID, ((326, "the client id is in use"),)),
    (_C.ENTITLEMENT, _A.FAIL, (
        (162, "no permission for this history", "permission"), (354, "market data is not subscribed"),
        (10168, "not subscribed, and delayed data is not enabled"),
        (10186, "not subscribed, and delayed data is not enabled"), (10187, "no permission for this history"),
        (10189, "no permission for tick-by-tick data"), (10276, "news feed is not allowed"),
    )),
    (_C.ENTITLEMENT, _A.PARTIAL, (
        (10089, "a part of the data needs a subscription"), (10090, "a part of the data is not subscribed"),
        (10091, "a part of the data needs a subscription"), (10167, "delayed data follow"),
    )),
    (_C.VALIDATION, _A.IGNORE, (
        (103, "duplicate order id (orders only)"), (104, "a filled order cannot be changed (orders only)"),
        (201, "order rejected (orders only)"), (202, "order cancelled (orders only)"),
        (399, "order message (orders only)"), (434, "order size is zero (orders only)"),
        (10147, "no such order (orders only)"), (10148, "the order cannot be cancelled (orders only)"),
    )),
    (_C.UNKNOWN, _A.IGNORE, (
        (2100, "account updates were taken over by another client"), (2101, "account updates ended"),
        (2102, "the order is being processed (orders only)"),
        (2107, "a history farm sleeps, and wakes on demand"),
        (2108, "a market data farm sleeps, and wakes on demand"),
        (2109, "order outside regular hours (orders only)"), (2119, "market data farm is connecting"),
        (2137, "cross side warning (orders only)"), (2150, "a position's value is not valid"),
        (2168, "etrade-only attribute is ignored"), (2169, "firm-quote-only attribute is ignored"),
    )),
)  # fmt: skip
_CONNECTIVITY: tuple[tuple[int, ErrorAction, Subject, str], ...] = (
    (1100, _A.HOLD, _S.CONNECTIVITY, "the gateway has lost IB's servers"),
    (1101, _A.RESUBSCRIBE, _S.CONNECTIVITY, "IB's servers are back, subscriptions are lost"),
    (1102, _A.RESUME, _S.CONNECTIVITY, "IB's servers are back, subscriptions are kept"),
    (2110, _A.HOLD, _S.CONNECTIVITY, "the gateway has lost IB's servers and will find them again by itself"),
    (2103, _A.HOLD, _S.MARKET_DATA_FARM, "a market data farm is disconnected"),
    (2104, _A.RESUME, _S.MARKET_DATA_FARM, "a market data farm is connected"),
    (2105, _A.HOLD, _S.HISTORY_FARM, "a historical data farm is disconnected"),
    (2106, _A.RESUME, _S.HISTORY_FARM, "a historical data farm is connected"),
    (2157, _A.HOLD, _S.DEFINITIONS_FARM, "the security definition farm is disconnected"),
    (2158, _A.RESUME, _S.DEFINITIONS_FARM, "the security definition farm is connected"),
    (10197, _A.SNOOZE, _S.COMPETING_SESSION, "another live session of this user has the market data"),
)


def _rules() -> list[ErrorRule]:
    plain = [
        ErrorRule(code=code, category=category, action=action, meaning=meaning, text="".join(text))
        for category, action, entries in _GROUPS
        for code, meaning, *text in entries
    ]
    return plain + [
        ErrorRule(code=code, category=_C.SESSION, action=action, meaning=meaning, subject=subject)
        for code, action, subject, meaning in _CONNECTIVITY
    ]


# Rules with a text come before the one without.
RULES: tuple[ErrorRule, ...] = tuple(sorted(_rules(), key=lambda rule: (rule.code or 0, rule.text == "", rule.text)))
INFORMATION = ErrorRule(code=None, category=_C.UNKNOWN, action=_A.IGNORE, meaning="another notice of 2100 to 2199")
UNKNOWN = ErrorRule(code=None, category=_C.UNKNOWN, action=_A.RETRY, meaning="any other code")
_BY_CODE = {code: tuple(rule for rule in RULES if rule.code == code) for code in {rule.code for rule in RULES}}


def rule_for(code: int, text: str = "") -> ErrorRule:
    """How to take an error; an unknown code of 2100-2199 is information, any other is retried."""
    lowered = text.lower()
    for rule in _BY_CODE.get(code, ()):
        if rule.text in lowered:
            return rule
    return INFORMATION if 2100 <= code < 2200 else UNKNOWN


def known_codes() -> frozenset[int]:
    """Every code in the catalogue."""
    return frozenset(rule.code for rule in RULES if rule.code is not None)


PAGE_HEAD = """# Error codes

What v6 does about each error and notice of the gateway. The table is data (`v6.core.error_catalogue`), nothing else in
the code compares error numbers, and this page is made from it: `python -m v6.core.error_catalogue docs/error-codes.md`.

"""


def page() -> str:
    """docs/error-codes.md."""
    actions = "\n".join(f"| `{action}` | {meaning} |" for action, meaning in MEANINGS.items())
    codes = "\n".join(_row(rule) for rule in (*RULES, INFORMATION, UNKNOWN))
    return (
        f"{PAGE_HEAD}| action | what happens |\n|---|---|\n{actions}\n\n"
        f"| code | message contains | meaning | category | action | concerns |\n|---|---|---|---|---|---|\n{codes}\n"
    )


def _row(rule: ErrorRule) -> str:
    holds = ""
    if rule.subject is not None:
        holds = f"{rule.subject}: {', '.join(sorted(HELD_BY[rule.subject]))}"
    code = "other" if rule.code is None else str(rule.code)
    return f"| {code} | {rule.text} | {rule.meaning} | {rule.category} | `{rule.action}` | {holds} |"


def main(arguments: Sequence[str]) -> None:
    """Print the page, or write it to the path that is named."""
    if arguments:
        Path(arguments[0]).write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main(sys.argv[1:])
