"""The numbers of a request type as they are in force: what the type declares, and what the settings say instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Self

from v6.errors import SettingsError
from v6.request_types.base import Backoff, Limiter, RequestType
from v6.type_settings import TypeSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How requests of one type run: how many at once, how often and when they are tried again, how many may begin in a
    period, and how long one part may take (clock seconds)."""

    concurrency: int
    attempts: int
    backoff: Backoff
    limiter: Limiter | None
    timeout_seconds: float

    @classmethod
    def of(cls, kind: RequestType[Any], said: TypeSettings) -> Self:
        """What a type declares, where the settings say nothing else."""
        return cls(
            concurrency=said.concurrency or kind.concurrency,
            attempts=said.attempts or kind.attempts,
            backoff=Backoff(
                first_seconds=said.backoff_first_seconds or kind.backoff.first_seconds,
                cap_seconds=said.backoff_cap_seconds or kind.backoff.cap_seconds,
            ),
            limiter=_limiter(kind.limiter, said),
            timeout_seconds=said.timeout_seconds or kind.timeout_seconds,
        )

    def as_settings(self) -> dict[str, float | None]:
        """The numbers by the names of the settings that change them; a limit of None is none."""
        return {
            "concurrency": self.concurrency,
            "attempts": self.attempts,
            "backoff_first_seconds": self.backoff.first_seconds,
            "backoff_cap_seconds": self.backoff.cap_seconds,
            "limit": None if self.limiter is None else self.limiter.requests,
            "limit_seconds": None if self.limiter is None else self.limiter.seconds,
            "timeout_seconds": self.timeout_seconds,
        }


@dataclass(frozen=True, slots=True)
class Policies:
    """The policy of every type, by what the settings say of each."""

    settings: Mapping[str, TypeSettings] = field(default_factory=dict)

    def of(self, kind: RequestType[Any]) -> Policy:
        """A type's policy."""
        return Policy.of(kind, self.settings.get(kind.name, TypeSettings()))

    def check(self, names: Sequence[str]) -> None:
        """Make sure that every type that the settings name is one of these. Raises SettingsError."""
        for name in self.settings:
            if name not in names:
                near = get_close_matches(name, names, n=1)
                guess = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
                raise SettingsError(f"request_types.{name}: no request type has that name: {guess}")


def _limiter(declared: Limiter | None, said: TypeSettings) -> Limiter | None:
    default = declared or Limiter(requests=0)
    requests = default.requests if said.limit is None else said.limit
    return Limiter(requests=requests, seconds=said.limit_seconds or default.seconds) if requests else None
