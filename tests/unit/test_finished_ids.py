"""The set of finished ids agrees with a plain set, whatever is put in, taken out and put in again."""

import random
import uuid

import polars as pl

from v6.data.finished_ids import SHARDS, FinishedIds


def ids(seed: int, number: int) -> list[str]:
    """Some of them with zeros at their ends."""
    seeded = random.Random(seed)
    return [str(uuid.UUID(int=seeded.getrandbits(112) << 8 * seeded.randrange(3))) for _ in range(number)]


def test_what_was_put_in_is_there_and_nothing_else() -> None:
    some, more, never = ids(1, 30_000), ids(2, 5_000), ids(3, 5_000)
    finished = FinishedIds()
    finished.extend(pl.Series(some[:20_000]))
    for each in some[20_000:]:
        finished.add(each)
    finished.extend(pl.Series(more))
    assert all(each in finished for each in [*some, *more])
    assert not any(each in finished for each in set(never) - {*some, *more})


def test_an_id_that_was_taken_out_is_there_again_when_it_is_put_in_again() -> None:
    finished = FinishedIds()
    old, new = ids(4, 2)
    finished.extend(pl.Series([old]))
    finished.add(new)
    for each in (old, new):
        finished.discard(each)
        assert each not in finished
        finished.add(each)
        assert each in finished


def test_an_id_that_somebody_wrote_past_the_queue_is_one_too() -> None:
    finished = FinishedIds()
    finished.extend(pl.Series(["mine", *ids(5, SHARDS)]))
    finished.add("yours")
    assert ["mine" in finished, "yours" in finished, "his" in finished] == [True, True, False]
    finished.extend(pl.Series([], dtype=pl.String))
    assert "mine" in finished
