"""IB's error codes: what kind of error each is and what to do about it. Data, not if-statements."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from v6.errors import ErrorCategory


class ErrorAction(StrEnum):
    """What a code asks of whoever gets it."""

    FAIL = "fail"  # this request cannot succeed
    EMPTY = "empty"  # the answer is: nothing
    RETRY = "retry"  # transient: ask again
    SNOOZE = "snooze"  # too fast or in use: wait, spend no attempt
    HOLD = "hold"  # connectivity: hold what needs it until it is back
    RESUME = "resume"  # connectivity is back
    RECONNECT = "reconnect"  # the socket is of no use any more
    PARTIAL = "partial"  # the request goes on with less
    IGNORE = "ignore"  # information


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorRule:
    """How one code is taken."""

    category: ErrorCategory
    action: ErrorAction

    @property
    def ends_call(self) -> bool:
        """Whether a call that gets this code is over."""
        return self.action not in _GOES_ON


_GOES_ON = frozenset({ErrorAction.PARTIAL, ErrorAction.IGNORE, ErrorAction.HOLD, ErrorAction.RESUME})

_GROUPS: tuple[tuple[ErrorCategory, ErrorAction, tuple[int, ...]], ...] = (
    (ErrorCategory.CONTRACT, ErrorAction.FAIL, (200, 430)),
    (ErrorCategory.VALIDATION, ErrorAction.FAIL, (320, 321, 503)),
    (ErrorCategory.INTERNAL, ErrorAction.FAIL, (102, 322)),
    (ErrorCategory.INTERNAL, ErrorAction.IGNORE, (300, 366)),
    (ErrorCategory.PACING, ErrorAction.SNOOZE, (100, 101, 309, 420, 10190)),
    (ErrorCategory.NETWORK, ErrorAction.RETRY, (162, 165, 316, 317, 10182, 10225)),
    (ErrorCategory.SESSION, ErrorAction.HOLD, (1100, 2103, 2105, 2110, 2157)),
    (ErrorCategory.SESSION, ErrorAction.RESUME, (1101, 1102, 2104, 2106, 2158)),
    (ErrorCategory.SESSION, ErrorAction.RECONNECT, (326, 502, 504, 507, 1300)),
    (ErrorCategory.SESSION, ErrorAction.SNOOZE, (10197,)),
    (ErrorCategory.ENTITLEMENT, ErrorAction.FAIL, (354, 10168, 10186, 10187, 10189)),
    (ErrorCategory.ENTITLEMENT, ErrorAction.PARTIAL, (10089, 10090, 10091, 10167)),
)
_RULES = {code: ErrorRule(category=category, action=action) for category, action, codes in _GROUPS for code in codes}
# 162 says four different things; the text tells which.
_TEXTS_OF_162: tuple[tuple[str, ErrorRule], ...] = (
    ("no data", ErrorRule(category=ErrorCategory.NETWORK, action=ErrorAction.EMPTY)),
    ("pacing violation", ErrorRule(category=ErrorCategory.PACING, action=ErrorAction.SNOOZE)),
    ("permission", ErrorRule(category=ErrorCategory.ENTITLEMENT, action=ErrorAction.FAIL)),
)
_UNKNOWN = ErrorRule(category=ErrorCategory.UNKNOWN, action=ErrorAction.RETRY)
_INFORMATION = ErrorRule(category=ErrorCategory.UNKNOWN, action=ErrorAction.IGNORE)


def rule_for(code: int, text: str = "") -> ErrorRule:
    """How to take an error; an unknown code of 2100–2199 is information, any other is retried."""
    if code == 162:
        lowered = text.lower()
        for part, rule in _TEXTS_OF_162:
            if part in lowered:
                return rule
    return _RULES.get(code, _INFORMATION if 2100 <= code < 2200 else _UNKNOWN)


def known_codes() -> frozenset[int]:
    """Every code in the catalogue."""
    return frozenset(_RULES)
