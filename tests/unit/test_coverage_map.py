"""The heat map's heading: months above days, which are written downwards where a day has one place."""

from datetime import date, timedelta

from v6.commands.coverage_map import heading

DAYS = [date(2026, 9, 28) + timedelta(days=n) for n in range(5)]


def test_roomy_days_stand_below_their_months() -> None:
    assert heading(DAYS, 3) == "Sep 26   \n28 29 30 01 02 ".replace("Sep 26   ", "Sep 26   Oct 26")


def test_narrow_days_are_written_downwards_and_months_do_not_overlap() -> None:
    months, tens, ones = heading(DAYS, 1).split("\n")
    assert (months, tens, ones) == ("Sep 26", "22300", "89012")
    whole = [date(2026, 9, 28) + timedelta(days=n) for n in range(40)]
    months, tens, ones = heading(whole, 1).split("\n")
    assert months.index("Nov 26") == whole.index(date(2026, 11, 1))
    assert len(tens) == len(ones) == 40


def test_no_days_have_no_heading() -> None:
    assert heading([], 1).strip() == ""
