"""The demo ends with one clear error when one of its processes is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from v6.demo.children import running, until_over
from v6.errors import SettingsError
from v6.settings import load_settings


async def test_it_ends_when_its_gateway_is_gone_and_says_what_the_gateway_said(tmp_path: Path) -> None:
    settings = load_settings(environment={}).settings

    async def look() -> bool:
        """Nothing has ended."""
        return False

    async with (
        running("worker", ["gateway", "--port", "0"], settings, tmp_path / "worker.log") as worker,
        running("gateway", ["gateway", "--account", "LIVE"], settings, tmp_path / "gateway.log") as gateway,
    ):
        with pytest.raises(SettingsError, match=r"the demo's gateway: .*LIVE"):
            await until_over(worker, gateway, look)
