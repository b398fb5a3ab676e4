"""What the gateway says of itself, and what follows from it: the session's state, holds, calls that are asked again."""

from __future__ import annotations

from v6.core.competing_session import CompetingHold
from v6.core.error_catalogue import HELD_BY, ErrorAction, ErrorRule, Subject, rule_for
from v6.core.gateway_link import GatewayLink
from v6.core.session_opener import SessionOpener
from v6.core.session_state import GatewayNotice
from v6.events import EventBus


class GatewayNotices:
    """Takes each notice of one link's sessions."""

    def __init__(
        self, link: GatewayLink, *, opener: SessionOpener, competing_hold_seconds: float, events: EventBus
    ) -> None:
        self._current = link.current
        self._status = link.status
        self._pacing = link.pacing
        self._clock = link.clock
        self._opener = opener
        self._competing = CompetingHold(competing_hold_seconds)
        self._events = events

    def take(self, call_id: int, code: int, text: str) -> None:
        """A notice came; ``call_id`` is the question it is about, -1 for none."""
        rule = rule_for(code, text)
        self._events.emit(GatewayNotice(call_id=call_id, code=code, text=text, action=str(rule.action)))
        was_held = self._status.obstacles()
        self._status.notice(rule, code, text)
        if rule.action is ErrorAction.SLOW_DOWN:
            self._pacing.messages.hold(1.0)
        elif rule.subject is Subject.COMPETING_SESSION:
            self._competing.begin(self._clock.monotonic())
        elif rule.action in {ErrorAction.RESUME, ErrorAction.RESUBSCRIBE} and was_held is not None:
            self._issue_again(rule, f"{code}: {text}")
        elif rule.action in {ErrorAction.RECONNECT, ErrorAction.NEXT_CLIENT_ID}:
            self._opener.note_refusal(rule, text)
            if self._current.session is not None:
                self._current.session.close(f"{code}: {text}")

    def _issue_again(self, rule: ErrorRule, reason: str) -> None:
        """Data are back: answers that were due in between may never come."""
        session = self._current.session
        if session is None or rule.subject is None:
            return
        receiver, kinds = session.receiver, HELD_BY[rule.subject]
        receiver.fail_calls(kinds, reason)
        if rule.action is ErrorAction.RESUBSCRIBE:
            receiver.fail_quotes(reason)

    def session_opened(self) -> None:
        """A new session begins without a hold."""
        self._competing.end()

    def whole_quote_came(self) -> None:
        """Market data are to be had: no other session takes them."""
        self._competing.forget()

    def look(self, now: float) -> None:
        """Clear what time has cleared; ``now`` is monotonic clock seconds."""
        if self._competing.is_over(now):
            self._status.clear(Subject.COMPETING_SESSION)
