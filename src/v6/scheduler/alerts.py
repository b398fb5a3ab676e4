"""Takes a message to a person: by webhook, command or mail. ``[alerts]`` in ``v6.toml`` says which."""

from __future__ import annotations

import asyncio
import json
import os
import smtplib
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from typing import Annotated, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from v6.clock import Clock
from v6.errors import SettingsError
from v6.events import EventBus
from v6.scheduler.config_file import ConfigFile, complaints
from v6.scheduler.scheduler_events import AlertFailed, AlertSent

SECTION = "alerts"
TIMEOUT_SECONDS = 15.0
TRIES = 3
PAUSE_SECONDS = 5.0  # machine seconds between tries


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What a person is told. ``kind`` is opened or recovered; instants in ISO 8601, UTC."""

    kind: str
    incident_id: str
    cause: str
    detail: str
    advice: str
    affected: tuple[str, ...]
    opened_at: str
    lake: str

    @property
    def subject(self) -> str:
        """One line."""
        what = "recovered from" if self.kind == "recovered" else "not collecting:"
        return f"v6 {what} {self.cause} ({len(self.affected)} affected)"

    @property
    def text(self) -> str:
        """The whole message."""
        lines = [self.subject, "", self.detail, f"since {self.opened_at}", f"affected: {', '.join(self.affected)}"]
        return "\n".join([*lines, f"lake: {self.lake}", *([f"what to do: {self.advice}"] if self.advice else [])])


class AlertSettings(BaseModel):
    """``[alerts]`` as written; nothing set means that alerts go to the log alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    webhook: str | None = Field(
        None, pattern=r"^https?://", description="URL that gets the message as a JSON object by POST"
    )
    command: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="program and arguments; the message comes on stdin as JSON, its text in V6_ALERT"
    )
    mail_to: list[str] = Field(default=[], description="addresses that get a mail")
    mail_from: str = Field("v6@localhost", description="its sender")
    smtp_host: str = Field("localhost", description="host of the mail server")
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = Field(25, description="its port")
    smtp_starttls: bool = Field(False, description="encrypt the connection")
    smtp_user: str | None = Field(None, description="who logs in, where the server wants it")
    smtp_password_variable: str = Field(
        "SMTP_PASSWORD", description="environment variable that holds the password: it never stands in the file"
    )

    @model_validator(mode="after")
    def _has_addresses(self) -> Self:
        if any("@" not in address for address in self.mail_to):
            raise ValueError(f"mail_to {self.mail_to} must be mail addresses")
        return self


class Sender(Protocol):
    """One way to a person. Blocks."""

    name: str

    def send(self, message: Message) -> None:
        """Send it. Raises OSError or an error of its protocol when it did not arrive."""
        ...


class Webhook:
    """POSTs the message as JSON."""

    name = "webhook"

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, message: Message) -> None:
        """Any answer of 200 to 299 will do."""
        body = json.dumps({**asdict(message), "text": message.text}).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "v6"}
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")  # noqa: S310 - http(s) only
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            answer.read(1024)


class Mail:
    """Sends a mail."""

    name = "mail"

    def __init__(self, settings: AlertSettings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._password = environment.get(settings.smtp_password_variable, "")

    def send(self, message: Message) -> None:
        """One mail to all addresses."""
        mail = EmailMessage()
        mail["Subject"], mail["From"] = message.subject, self._settings.mail_from
        mail["To"] = ", ".join(self._settings.mail_to)
        mail.set_content(message.text)
        with smtplib.SMTP(self._settings.smtp_host, self._settings.smtp_port, timeout=TIMEOUT_SECONDS) as server:
            if self._settings.smtp_starttls:
                server.starttls()
            if self._settings.smtp_user is not None:
                server.login(self._settings.smtp_user, self._password)
            server.send_message(mail)


class Command:
    """Runs a program."""

    name = "command"

    def __init__(self, program: Sequence[str]) -> None:
        self._program = list(program)

    def send(self, message: Message) -> None:
        """The program must end with 0."""
        import subprocess

        try:
            subprocess.run(  # noqa: S603 - the program that the user named
                self._program,
                input=json.dumps({**asdict(message), "text": message.text}).encode(),
                env={**os.environ, "V6_ALERT": message.text},
                check=True,
                capture_output=True,
                timeout=TIMEOUT_SECONDS,
            )
        except subprocess.SubprocessError as error:
            raise OSError(str(error)) from error


class Alerts:
    """Every configured way to a person."""

    def __init__(self, senders: Sequence[Sender], *, clock: Clock, events: EventBus) -> None:
        self._senders = tuple(senders)
        self._clock = clock
        self._events = events

    async def send(self, message: Message) -> None:
        """Take it to every way; one that fails thrice is reported and given up."""
        await asyncio.gather(*(self._send(sender, message) for sender in self._senders))

    async def _send(self, sender: Sender, message: Message) -> None:
        failure = ""
        for attempt in range(TRIES):
            try:
                await asyncio.to_thread(sender.send, message)
            except (OSError, smtplib.SMTPException, urllib.error.URLError, ValueError) as error:
                failure = f"{type(error).__name__}: {error}"
                if attempt < TRIES - 1:
                    await self._clock.sleep(PAUSE_SECONDS * self._clock.speed)
                continue
            self._events.emit(AlertSent(by=sender.name, kind=message.kind, cause=message.cause))
            return
        self._events.emit(AlertFailed(by=sender.name, kind=message.kind, cause=message.cause, message=failure))


def load_senders(config: ConfigFile, environment: Mapping[str, str] | None = None) -> list[Sender]:
    """The ways that ``[alerts]`` names. Raises SettingsError with everything that is wrong, each with file and line."""
    try:
        settings = AlertSettings.model_validate(config.table(SECTION))
    except ValidationError as error:
        wrong = complaints(error, config, SECTION)
        raise SettingsError(f"{len(wrong)} things are wrong with alerts: " + "; ".join(wrong)) from error
    senders: list[Sender] = []
    if settings.webhook is not None:
        senders.append(Webhook(settings.webhook))
    if settings.command is not None:
        senders.append(Command(settings.command))
    if settings.mail_to:
        senders.append(Mail(settings, os.environ if environment is None else environment))
    return senders
