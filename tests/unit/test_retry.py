"""What becomes of a request after an error."""

from datetime import UTC, datetime, timedelta

import pytest

from v6.core.retry import SNOOZE_SECONDS, delay_seconds, outcome_of
from v6.data.outcome import FailedBecause, Outcome, RetryAt, SnoozeUntil
from v6.errors import CommitContended, ErrorCategory, GatewayError, RequestError, TableIncompatible
from v6.request_types.base import Backoff

NOON = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)


def decide(error: Exception, attempt: int = 1, attempts: int = 3) -> Outcome:
    return outcome_of(
        error, attempt=attempt, attempts=attempts, backoff=Backoff(), now=NOON, draw=lambda low, high: high
    )


@pytest.mark.parametrize("category", [ErrorCategory.PACING, ErrorCategory.SESSION])
def test_waiting_spends_no_attempt_however_often(category: ErrorCategory) -> None:
    outcome = decide(GatewayError("held", category=category), attempt=99)
    assert outcome == SnoozeUntil(at=NOON + timedelta(seconds=SNOOZE_SECONDS), reason="held")


@pytest.mark.parametrize("category", [ErrorCategory.VALIDATION, ErrorCategory.CONTRACT, ErrorCategory.ENTITLEMENT])
def test_what_cannot_succeed_fails_at_once_with_its_code(category: ErrorCategory) -> None:
    outcome = decide(GatewayError("no such contract", category=category, code=200))
    assert outcome == FailedBecause(message="no such contract", category=category, code=200)


def test_a_transient_error_backs_off_until_its_attempts_are_used_up() -> None:
    error = GatewayError("no answer", category=ErrorCategory.NETWORK, code=504)
    first = decide(error)
    assert first == RetryAt(
        at=NOON + timedelta(seconds=2), message="no answer", category=ErrorCategory.NETWORK, code=504
    )
    second = decide(error, attempt=2)
    assert isinstance(second, RetryAt)
    assert second.at == NOON + timedelta(seconds=4)
    last = decide(error, attempt=3)
    assert isinstance(last, FailedBecause)
    assert last.message == "no answer (attempt 3 of 3)"


def test_an_unknown_exception_is_internal_and_names_itself() -> None:
    outcome = decide(KeyError("strike"))
    assert isinstance(outcome, RetryAt)
    assert (outcome.category, outcome.message) == (ErrorCategory.INTERNAL, "KeyError: 'strike'")


def test_own_errors_go_by_what_they_mean() -> None:
    assert isinstance(decide(RequestError("dte must be a number")), FailedBecause)
    assert isinstance(decide(TableIncompatible("unknown columns")), FailedBecause)
    assert isinstance(decide(CommitContended("rivals")), SnoozeUntil)
    late = decide(TimeoutError())
    assert isinstance(late, RetryAt)
    assert late.category is ErrorCategory.TIMEOUT


def test_the_delay_doubles_to_its_cap_and_is_drawn_from_zero() -> None:
    backoff = Backoff(first_seconds=2, cap_seconds=60)
    longest = [delay_seconds(n, backoff, lambda low, high: high) for n in (1, 2, 3, 6, 5000)]
    assert longest == [2, 4, 8, 60, 60]
    assert delay_seconds(6, backoff, lambda low, high: low) == 0
