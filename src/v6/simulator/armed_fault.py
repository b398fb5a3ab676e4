"""A fault that is armed: whether its time has come, and which messages it strikes."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from v6.simulator.faults import Fault, Scope
from v6.simulator.messages import RequestSeen


class ArmedFault:
    """One fault with its number and its past. Draws depend on seed, number, contract and how often it was asked for."""

    def __init__(self, fault: Fault, *, number: int, seed: int, now: datetime) -> None:
        self.fault = fault
        self.number = number
        self.struck = 0
        self.begins = fault.at or now + timedelta(seconds=fault.after_seconds)
        self._seed = seed
        self._passed = 0
        self._seen: Counter[object] = Counter()

    @property
    def ends(self) -> datetime | None:
        """Until when it strikes; what goes on for a time by itself is struck only once."""
        return None if self.fault.seconds is None else self.begins + timedelta(seconds=self.fault.seconds)

    def is_over(self, now: datetime) -> bool:
        """Whether it can never strike again."""
        most = self.fault.most_times
        if most is not None and self.struck >= most:
            return True
        lasts_while_armed = self.fault.kind.scope in (Scope.REQUEST, Scope.WINDOW)
        return lasts_while_armed and self.ends is not None and now >= self.ends

    def strikes(self, client: int, request: RequestSeen | None, now: datetime) -> bool:
        """Whether it strikes this message, which then counts."""
        fault = self.fault
        if now < self.begins or self.is_over(now) or not fault.waits_for_message or not fault.fits(client, request):
            return False
        self._passed += 1
        if self._passed <= fault.after_messages:
            return False
        if fault.probability < 1 and self.draw(client, request).random() >= fault.probability:
            return False
        self.struck += 1
        return True

    def draw(self, client: int, request: RequestSeen | None) -> random.Random:
        """Random numbers for one message: the same for the same contract and count, whatever the order of others."""
        if request is None:
            what: object = client
        else:
            what = (request.kind, request.con_id, request.symbol, request.sec_type, request.expiry)
        self._seen[what] += 1
        return random.Random(f"{self._seed}|{self.number}|{what}|{self._seen[what]}")

    def as_json(self) -> dict[str, Any]:
        """What a client of the control port is shown."""
        shown = {"number": self.number, "do": self.fault.do, "struck": self.struck, "begins": self.begins.isoformat()}
        return {**shown, **{name: value for name, value in self.fault.values.items() if value not in ("", None)}}
