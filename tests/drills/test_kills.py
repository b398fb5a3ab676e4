"""Short form of the kills at random moments. ``make drills`` kills 300 times."""

from __future__ import annotations

import random
from pathlib import Path

from tests.drills import plan
from tests.drills.drill import LINES, NOW, gateway
from tests.drills.kill_drill import KillDrill


def test_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    requests = plan.planned(24, NOW)
    with gateway(tmp_path / "drill") as served:
        drill = KillDrill(
            folder=tmp_path / "drill", gateway=served, lines=LINES, requests=requests, kills=4, rng=random.Random(1)
        )
        drill.delay = (0.2, 1.5)
        found = drill.run()
    assert found.problems() + drill.problems == []
    assert found.requests >= len(requests)
