"""The gateway's limits. Each is told the time (clock seconds) and answers whether a request may pass."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable

MESSAGE_SECONDS = 1.0
SMALL_BAR_SECONDS = 30
IDENTICAL_SECONDS = 15.0
BURST_SECONDS = 2.0
BURST_REQUESTS = 6
LONG_SECONDS = 600.0
LONG_REQUESTS = 60


class MessageRate:
    """Messages of one client within a sliding second. A rejected message does not count, but is a strike."""

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        self.strikes = 0
        self.largest = 0  # most messages of any sliding second, those that were rejected as well
        self._times: deque[float] = deque()
        self._arrivals: deque[float] = deque()

    def admit(self, now: float) -> bool:
        """Count a message; False when it is one too many."""
        self._arrivals.append(now)
        while now - self._arrivals[0] >= MESSAGE_SECONDS:
            self._arrivals.popleft()
        self.largest = max(self.largest, len(self._arrivals))
        self._forget(now)
        if len(self._times) >= self.limit:
            self.strikes += 1
            return False
        self._times.append(now)
        return True

    def seconds_until_free(self, now: float) -> float:
        """How long a message has to wait to be within the limit; 0 when it need not."""
        self._forget(now)
        over = len(self._times) - self.limit
        return 0.0 if over < 0 else self._times[over] + MESSAGE_SECONDS - now

    def _forget(self, now: float) -> None:
        while self._times and now - self._times[0] >= MESSAGE_SECONDS:
            self._times.popleft()


class Traffic:
    """What all clients together have sent and were refused."""

    def __init__(self) -> None:
        self.messages = 0
        self.errors: Counter[int] = Counter()  # errors sent, by code


class MarketDataLines:
    """Contracts with market data open; one contract takes one line however often it is asked for."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: Counter[int] = Counter()

    @property
    def in_use(self) -> int:
        """Lines taken."""
        return len(self._open)

    def take(self, con_id: int) -> bool:
        """Take a line for a contract; False when all are taken."""
        if con_id not in self._open and len(self._open) >= self.limit:
            return False
        self._open[con_id] += 1
        return True

    def release(self, con_id: int) -> None:
        """Give back what ``take`` took."""
        self._open[con_id] -= 1
        if self._open[con_id] <= 0:
            del self._open[con_id]


class HistoryPacing:
    """The rules for bars of 30 seconds and less. A refused request leaves no trace."""

    def __init__(self) -> None:
        self._identical: dict[Hashable, float] = {}
        self._bursts: dict[Hashable, deque[float]] = {}
        self._long: deque[tuple[float, int]] = deque()

    def admit(self, *, request: Hashable, contract: Hashable, weight: int, now: float) -> bool:
        """Whether a request passes. ``request`` is all of its parameters, ``contract`` the contract, exchange and what
        to show, ``weight`` 2 for BID_ASK."""
        self._forget(now)
        burst = self._bursts.get(contract, deque())
        if request in self._identical or len(burst) + 1 >= BURST_REQUESTS:
            return False
        if sum(weight for _, weight in self._long) + weight > LONG_REQUESTS:
            return False
        self._identical[request] = now
        self._bursts.setdefault(contract, deque()).append(now)
        self._long.append((now, weight))
        return True

    def _forget(self, now: float) -> None:
        while self._long and now - self._long[0][0] >= LONG_SECONDS:
            self._long.popleft()
        self._identical = {key: at for key, at in self._identical.items() if now - at < IDENTICAL_SECONDS}
        for key, times in list(self._bursts.items()):
            while times and now - times[0] >= BURST_SECONDS:
                times.popleft()
            if not times:
                del self._bursts[key]
