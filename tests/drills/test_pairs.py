"""Short form of the drill of two workers, in which one takes over from the other."""

from __future__ import annotations

import random
from pathlib import Path

from tests.drills import plan
from tests.drills.drill import LINES, NOW, gateway
from tests.drills.pair_drill import PairDrill


def test_a_worker_takes_over_from_one_of_another_name_that_was_killed(tmp_path: Path) -> None:
    requests = plan.planned(20, NOW)
    with gateway(tmp_path / "drill") as served:
        drill = PairDrill(
            folder=tmp_path / "drill", gateway=served, lines=LINES, requests=requests, kills=2, rng=random.Random(1)
        )
        found = drill.run()
    assert found.problems() + drill.problems == []
    assert drill.taken_over > 0
