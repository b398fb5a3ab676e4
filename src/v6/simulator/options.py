"""How the simulated gateway behaves: limits, delays, entitlements. The command line fills it; every default is IB's."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from v6.simulator.fault_script import FaultScript

Range = tuple[float, float]
"""Smallest and largest seconds of a delay; the delay is drawn uniformly between them, seeded by request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayOptions:
    """Seconds are clock seconds unless a name says machine."""

    account: str = "SIM000001"
    seed: int = 0
    market_data_lines: int = 100
    message_limit: int | None = None  # messages a second; None: half the lines, as the gateway has it
    max_clients: int = 32
    open_history_requests: int = 50
    over_limit: Literal["reject", "queue"] = "reject"  # a message above the limit: error 100, or a wait
    message_strikes: int = 3  # rejected messages until the session is closed
    quote_delay_seconds: Range = (0.2, 1.5)
    update_interval_seconds: Range = (1.0, 3.0)
    snapshot_limit_seconds: float = 11.0
    details_delay_seconds: Range = (0.01, 0.05)
    history_delay_seconds: Range = (0.05, 0.3)
    not_subscribed: frozenset[str] = field(default_factory=frozenset)  # symbols without live data: 354, or delayed
    without_delayed: frozenset[str] = field(default_factory=frozenset)  # symbols without delayed data as well: 10168
    journal: Path | None = None
    faults: FaultScript = field(default_factory=FaultScript)
    control_port: int | None = None  # faults can be ordered here, on 127.0.0.1; 0 takes a free one

    def __post_init__(self) -> None:
        if re.fullmatch(r"SIM[A-Za-z0-9]*", self.account) is None:
            raise ValueError(f"the simulated account {self.account!r} has to start with SIM, then letters and digits")
        if self.market_data_lines < 2:
            raise ValueError(f"{self.market_data_lines} market-data lines are too few: at least 2")

    @property
    def messages_per_second(self) -> int:
        """Messages a client may send in a second: half the market-data lines unless set."""
        return self.market_data_lines // 2 if self.message_limit is None else self.message_limit
