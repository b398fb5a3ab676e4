"""The gateway's limits, each by itself."""

from v6.simulator.limits import HistoryPacing, MarketDataLines, MessageRate


def test_one_message_too_many_within_a_second_is_a_strike_and_does_not_count() -> None:
    rate = MessageRate(limit=3)
    assert [rate.admit(0.1 * step) for step in range(4)] == [True, True, True, False]
    assert rate.strikes == 1
    assert rate.admit(1.0)
    assert not rate.admit(1.05)


def test_the_window_slides() -> None:
    rate = MessageRate(limit=2)
    assert rate.admit(0.0)
    assert rate.admit(0.75)
    assert rate.admit(1.0)
    assert not rate.admit(1.7)
    assert rate.admit(1.75)


def test_a_contract_takes_one_line_however_often_it_is_asked_for() -> None:
    lines = MarketDataLines(2)
    assert lines.take(1)
    assert lines.take(1)
    assert lines.take(2)
    assert not lines.take(3)
    lines.release(1)
    assert not lines.take(3)
    lines.release(1)
    assert lines.take(3)
    assert lines.in_use == 2


def test_an_identical_request_is_refused_for_fifteen_seconds() -> None:
    pacing = HistoryPacing()
    assert pacing.admit(request="a", contract="SPY", weight=1, now=0.0)
    assert not pacing.admit(request="a", contract="SPY", weight=1, now=14.9)
    assert pacing.admit(request="a", contract="SPY", weight=1, now=15.0)


def test_the_sixth_request_of_a_contract_within_two_seconds_is_refused() -> None:
    pacing = HistoryPacing()
    assert all(pacing.admit(request=step, contract="SPY", weight=1, now=0.1 * step) for step in range(5))
    assert not pacing.admit(request=5, contract="SPY", weight=1, now=0.5)
    assert pacing.admit(request=5, contract="QQQ", weight=1, now=0.5)
    assert pacing.admit(request=6, contract="SPY", weight=1, now=2.0)


def test_sixty_requests_in_ten_minutes_and_bid_ask_counts_twice() -> None:
    pacing = HistoryPacing()
    assert all(pacing.admit(request=step, contract=step, weight=2, now=float(step)) for step in range(30))
    assert not pacing.admit(request=30, contract=30, weight=1, now=30.0)
    assert pacing.admit(request=30, contract=30, weight=2, now=600.0)
