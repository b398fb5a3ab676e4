"""What is said to whoever waits for a request."""

from v6.commands.waiting import Waiting


def test_progress_has_rate_and_time_left() -> None:
    look = Waiting(
        status="PROCESSING", seconds=25, what="contracts", done=500, planned=1_660, rate=19.8, seconds_left=58.6
    )
    assert look.line() == "PROCESSING for 25 s, 500 of 1,660 contracts, 19.8/s, about 59 s left"


def test_without_progress_it_says_why() -> None:
    look = Waiting(status="PENDING", seconds=3, why="no worker has worked on this lake: start `v6 worker`")
    assert look.line() == "PENDING for 3 s, no worker has worked on this lake: start `v6 worker`"
