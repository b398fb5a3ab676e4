"""What the worker's command does beside running the worker."""

from __future__ import annotations

import gc

from v6.commands.worker import spare_loaded


def test_what_is_loaded_is_no_longer_looked_through_for_garbage() -> None:
    try:
        spare_loaded()
        assert len(gc.get_objects()) < gc.get_freeze_count()
    finally:
        gc.unfreeze()
