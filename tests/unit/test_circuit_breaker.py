"""The circuit breaker's states."""

from __future__ import annotations

from v6.core.circuit_breaker import BreakerState, CircuitBreaker


def opened(at: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker(failures=3, cool_down_seconds=10)
    for _ in range(3):
        breaker.fail(at)
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = CircuitBreaker(failures=3, cool_down_seconds=10)
    for _ in range(5):
        breaker.fail(0)
        breaker.fail(0)
        breaker.succeed()
    assert breaker.state(0) is BreakerState.CLOSED
    for _ in range(3):
        breaker.fail(1)
    assert breaker.state(1) is BreakerState.OPEN
    assert breaker.seconds_left(4) == 7


def test_half_open_lets_one_probe_through() -> None:
    breaker = opened()
    assert not breaker.take_probe(9)
    assert breaker.state(10) is BreakerState.HALF_OPEN
    assert breaker.take_probe(10)
    assert not breaker.take_probe(10)


def test_a_successful_probe_closes() -> None:
    breaker = opened()
    breaker.take_probe(10)
    breaker.succeed(probe=True)
    assert breaker.state(10) is BreakerState.CLOSED


def test_a_failed_probe_opens_for_twice_as_long() -> None:
    breaker = opened()
    breaker.take_probe(10)
    breaker.fail(10, probe=True)
    assert breaker.state(29) is BreakerState.OPEN
    assert breaker.take_probe(30)


def test_late_answers_of_earlier_calls_do_not_close_it() -> None:
    breaker = opened()
    breaker.succeed()
    assert breaker.state(1) is BreakerState.OPEN
