"""24 minutes of a trading day with every fault of it, in a little over a minute."""

from pathlib import Path

import pytest
from tests.drills.day import SHORT, DayDrill


@pytest.mark.xdist_group("drills")
def test_every_request_ends_and_every_row_is_what_the_gateway_sent(tmp_path: Path) -> None:
    figures = DayDrill(SHORT, tmp_path).run()
    assert figures["wrong"] == []
    assert {"ready", "degraded", "held", "disconnected"} <= set(figures["states"])
    assert figures["outages"] >= len(SHORT.faults)
    assert figures["statuses"]["SUCCESS"] > 80
    assert figures["rows"]["option_snapshots"] > 300
