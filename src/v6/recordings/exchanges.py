"""A recording taken apart into exchanges: one question each, and what came back for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from v6.recordings.questions import BARS, MARKET_DATA, Key, end_of_bars, is_request, keys_of, request_id
from v6.recordings.recording import CLIENT, Frame, Recording
from v6.simulator.messages import ANSWERS, CANCELS

MARKET_DATA_TYPE, START, ERROR, TIME, TICK = 59, 71, 4, 49, 1
END_TOLERANCE_SECONDS = 600  # the end of a request for bars is often counted from now, and now is another moment
# Answers without an id: of which requests they are.
ANSWERED: dict[int, tuple[int, ...]] = {
    61: (61,), 62: (61,), 6: (6,), 7: (6,), 8: (6,), 54: (6,), 53: (5, 16), 102: (99,), 9: (8,), 15: (17,),
    78: (80,), 80: (82,), 85: (85,), 93: (91,),
}  # fmt: skip
# What ends an answer; a question without it was cut off.
ENDS = {9: {52}, 78: {76}, 20: {17}, 87: {88}, 61: {62}, 6: {54}, 74: {72}, 76: {74}, 62: {64}, 7: {55}}
# Where the id of an answer stands that the simulated gateway never sends.
OTHER_ANSWERS = {20: 2, 51: 2, 47: 2, 79: 1, 82: 1, 89: 1, 96: 1, 97: 1, 98: 1, 99: 1, 106: 1, 107: 1, 77: 1, 18: 1}
OF_AN_END = {162, 300, 366}  # errors that answer a cancel


@dataclass(kw_only=True)
class Exchange:
    """A question as it was asked, and its answers with the clock seconds after which each came."""

    fields: Sequence[str]
    asked_at: float
    keys: Sequence[Key]
    answers: list[tuple[float, Sequence[str]]] = field(default_factory=list)
    is_cancelled: bool = False

    @property
    def number(self) -> int:
        """The message id of the question."""
        return int(self.fields[0])

    @property
    def is_whole(self) -> bool:
        """Whether the answer came to its end, or an error ended it; a stream needs a price."""
        numbers = {int(fields[0]) for _, fields in self.answers}
        if self.number == MARKET_DATA:
            return bool(numbers & {TICK, ERROR})
        return bool(numbers & (ENDS.get(self.number, numbers) | {ERROR}))

    @property
    def end(self) -> datetime | None:
        """Of a question for bars: up to when."""
        return end_of_bars(self.fields)

    def take(self, frame: Frame) -> None:
        """An answer came. What only answers the cancel is no part of it: another client may not cancel."""
        is_of_cancel = self.is_cancelled and frame.number == ERROR and int(frame.fields[3]) in OF_AN_END
        if not is_of_cancel:
            self.answers.append((max(0.0, frame.at - self.asked_at), frame.fields))


@dataclass(kw_only=True)
class RecordedSession:
    """One connection: its exchanges, and what the gateway sent of its own accord, by the seconds since the start."""

    exchanges: list[Exchange] = field(default_factory=list)
    notices: list[tuple[float, Sequence[str]]] = field(default_factory=list)


def sessions_of(recording: Recording) -> list[RecordedSession]:
    """The connections of a recording in which a client started."""
    taken = [_taken_apart(frames) for frames in recording.sessions()]
    return [session for session in taken if session.notices]


def _taken_apart(frames: Sequence[Frame]) -> RecordedSession:
    found = RecordedSession()
    open_ids: dict[int, Exchange] = {}
    open_kinds: dict[int, Exchange] = {}
    data_type, started_at = 1, 0.0
    for frame in frames:
        if not frame.fields:
            continue
        if frame.sender == CLIENT:
            if frame.number == START:
                started_at = frame.at
            elif frame.number == MARKET_DATA_TYPE:
                data_type = int(frame.fields[2])
            _note_question(frame, data_type, found, open_ids, open_kinds)
        elif (exchange := _asked_for(frame, open_ids, open_kinds)) is not None:
            exchange.take(frame)
        elif frame.number != TIME:
            found.notices.append((max(0.0, frame.at - started_at), frame.fields))
    return found


def _note_question(
    frame: Frame,
    data_type: int,
    found: RecordedSession,
    open_ids: dict[int, Exchange],
    open_kinds: dict[int, Exchange],
) -> None:
    identity = request_id(frame.fields)
    if frame.number in CANCELS and identity in open_ids:
        open_ids[identity].is_cancelled = True
    if not is_request(frame.number):
        return
    exchange = Exchange(fields=frame.fields, asked_at=frame.at, keys=keys_of(frame.fields, data_type))
    found.exchanges.append(exchange)
    if identity is None:
        open_kinds[frame.number] = exchange
    else:
        open_ids[identity] = exchange


def answer_id_position(fields: Sequence[str]) -> int | None:
    """Where the request's id stands in an answer; None where it has none."""
    number = int(fields[0])
    position = ANSWERS.get(number, OTHER_ANSWERS.get(number))
    return None if position is None or position >= len(fields) else position


def _asked_for(frame: Frame, open_ids: dict[int, Exchange], open_kinds: dict[int, Exchange]) -> Exchange | None:
    position = answer_id_position(frame.fields)
    if position is not None and frame.fields[position].isdigit():
        return open_ids.get(int(frame.fields[position]))
    kinds = ANSWERED.get(frame.number, ())
    return next((open_kinds[kind] for kind in kinds if kind in open_kinds), None)


class Answers:
    """Finds for each question of one client the exchange that fits, in the order in which they were recorded."""

    def __init__(self, sessions: Sequence[RecordedSession]) -> None:
        self._by_key: dict[Key, list[Exchange]] = {}
        self._given: dict[int, int] = {}
        for exchange in (one for session in sessions for one in session.exchanges):
            for key in exchange.keys:
                self._by_key.setdefault(key, []).append(exchange)

    def to(self, fields: Sequence[str], data_type: int) -> Exchange | None:
        """The exchange that fits best; of several the first that was not given yet, then the last one again."""
        for key in keys_of(fields, data_type):
            found = [one for one in self._by_key.get(key, ()) if _is_near(one, fields)]
            if found := [one for one in found if one.is_whole] or found:
                chosen = min(found, key=lambda one: self._given.get(id(one), 0))
                if self._given.get(id(chosen), 0):
                    chosen = found[-1]
                self._given[id(chosen)] = self._given.get(id(chosen), 0) + 1
                return chosen
        return None


def _is_near(exchange: Exchange, fields: Sequence[str]) -> bool:
    """Whether two requests for bars end at about the same moment."""
    if exchange.number != BARS:
        return True
    asked, recorded = end_of_bars(fields), exchange.end
    if asked is None or recorded is None:
        return asked is recorded
    return abs((asked - recorded).total_seconds()) <= END_TOLERANCE_SECONDS
