"""The catalogue of IB's error codes."""

from __future__ import annotations

import tokenize
from pathlib import Path

import pytest

from v6.core.error_catalogue import ErrorAction, known_codes, page, rule_for
from v6.errors import ErrorCategory


@pytest.mark.parametrize(
    ("code", "category", "action"),
    [
        (200, ErrorCategory.CONTRACT, ErrorAction.FAIL),
        (321, ErrorCategory.VALIDATION, ErrorAction.FAIL),
        (322, ErrorCategory.INTERNAL, ErrorAction.NEW_ID),
        (100, ErrorCategory.PACING, ErrorAction.SLOW_DOWN),
        (101, ErrorCategory.PACING, ErrorAction.SNOOZE),
        (420, ErrorCategory.PACING, ErrorAction.SNOOZE),
        (354, ErrorCategory.ENTITLEMENT, ErrorAction.FAIL),
        (10168, ErrorCategory.ENTITLEMENT, ErrorAction.FAIL),
        (10089, ErrorCategory.ENTITLEMENT, ErrorAction.PARTIAL),
        (1100, ErrorCategory.SESSION, ErrorAction.HOLD),
        (1101, ErrorCategory.SESSION, ErrorAction.RESUBSCRIBE),
        (1102, ErrorCategory.SESSION, ErrorAction.RESUME),
        (2104, ErrorCategory.SESSION, ErrorAction.RESUME),
        (326, ErrorCategory.SESSION, ErrorAction.NEXT_CLIENT_ID),
        (10197, ErrorCategory.SESSION, ErrorAction.SNOOZE),
    ],
)
def test_a_code_has_its_category_and_action(code: int, category: ErrorCategory, action: ErrorAction) -> None:
    rule = rule_for(code)
    assert (rule.category, rule.action) == (category, action)


@pytest.mark.parametrize(
    ("text", "category", "action"),
    [
        ("HMDS query returned no data: SPY@SMART Trades", ErrorCategory.NETWORK, ErrorAction.EMPTY),
        ("Historical data request pacing violation", ErrorCategory.PACING, ErrorAction.SNOOZE),
        ("No market data permissions for ISLAND STK", ErrorCategory.ENTITLEMENT, ErrorAction.FAIL),
        ("Unable to reach the data farm", ErrorCategory.NETWORK, ErrorAction.RETRY),
    ],
)
def test_162_is_told_apart_by_its_text(text: str, category: ErrorCategory, action: ErrorAction) -> None:
    rule = rule_for(162, f"Historical Market Data Service error message:{text}")
    assert (rule.category, rule.action) == (category, action)


def test_an_unknown_code_ends_its_call_and_is_retried() -> None:
    rule = rule_for(99999)
    assert rule.ends_call
    assert rule.category is ErrorCategory.UNKNOWN


def test_unknown_notices_end_nothing() -> None:
    assert not rule_for(2199).ends_call


def test_what_ib_async_calls_a_warning_ends_its_call_all_the_same() -> None:
    assert all(rule_for(code).ends_call for code in (321, 165))


def test_every_code_is_taken_one_way() -> None:
    assert len(known_codes()) >= 40


def test_322_for_too_many_open_histories_is_pacing() -> None:
    rule = rule_for(322, "cause - Only 50 simultaneous API historical data requests allowed.")
    assert (rule.category, rule.action) == (ErrorCategory.PACING, ErrorAction.SNOOZE)


def test_the_page_shows_the_catalogue() -> None:
    written = Path("docs/error-codes.md").read_text(encoding="utf-8")
    assert written == page(), "python -m v6.core.error_catalogue docs/error-codes.md"


def test_nothing_else_compares_error_numbers() -> None:
    """No code of the catalogue that could be nothing else stands anywhere else in the core."""
    telling = {str(code) for code in known_codes() if code > 1000} | {"326", "354", "162", "420"}
    for path in Path("src/v6/core").glob("*.py"):
        if path.name != "error_catalogue.py":
            numbers = {token.string for token in tokens(path) if token.type == tokenize.NUMBER}
            assert not numbers & telling, f"{path.name}: {numbers & telling}"


def tokens(path: Path) -> list[tokenize.TokenInfo]:
    with path.open("rb") as file:
        return list(tokenize.tokenize(file.readline))
