"""What v6 is told from outside: one frozen record, read once and passed down.

A flag beats an environment variable (``V6_`` and the name in capitals), which beats ``v6.toml`` in the current folder
(or the file that ``V6_CONFIG`` names), which beats the default. Unknown names are refused, so that a misspelt setting
never passes in silence. docs/settings.md lists every setting and a test compares. The numbers of request types have
names of three parts, ``request_types.market_bars.limit``, and no flags.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from v6.clock import ClockSetting
from v6.errors import SettingsError
from v6.type_settings import Checked, TypeSettings

PREFIX = "V6_"
CONFIG_VARIABLE = "V6_CONFIG"
CONFIG_FILE = "v6.toml"
SECTIONS = frozenset({"schedules", "freshness", "alerts"})  # tables of the file that the scheduler reads itself
TYPES = "request_types"
SEPARATOR = "__"  # between the parts of a name in the environment: V6_REQUEST_TYPES__MARKET_BARS__LIMIT

FLAG = "flag"
ENVIRONMENT = "environment"
DEFAULT = "default"


def _clock_text(text: str) -> str:
    """The clock's text, when it can be read; with an anchor, so that every process it is handed to agrees."""
    try:
        return str(ClockSetting.parse(text)) if text.strip() else ""
    except SettingsError as error:
        raise ValueError(str(error)) from error


def _lake_text(text: str) -> str:
    if not text.strip():
        raise ValueError("it must name a folder or a URL")
    return text


class Settings(Checked):
    """Every setting with its default. Seconds are clock seconds but for those that docs/settings.md names."""

    lake: Annotated[str, AfterValidator(_lake_text)] = Field(
        default="data/lake", description="folder or URL of the lake: one folder a table"
    )
    flush_commits: bool = Field(
        default=True,
        description="on a local lake a commit counts only when it is flushed to the disk, which survives power cuts",
    )
    gateway_host: str = Field(
        default="127.0.0.1", min_length=1, description="host of IB Gateway or of the simulated gateway"
    )
    gateway_port: int = Field(default=4002, ge=1, le=65535, description="its port")
    client_id: int = Field(
        default=1,
        ge=0,
        le=2**31 - 1,
        description="client id of the one session; when it is in use, one of the next three",
    )
    worker_name: str = Field(
        default="worker",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=64,
        description="stable name of the worker; one worker a name, letters, digits, dot, dash and underscore",
    )
    poll_seconds: float = Field(default=0.25, gt=0, le=60, description="how often an idle worker looks at the queue")
    batch_size: int = Field(default=50, ge=1, le=50, description="requests claimed and in flight at once, at most 50")
    urgent_places: int = Field(default=5, ge=0, le=49, description="how many of those places are for priority 1 alone")
    grace_seconds: float = Field(
        default=20.0, ge=0, le=600, description="how long a stopping worker lets requests finish"
    )
    lease_seconds: float = Field(
        default=30.0, ge=1, le=3600, description="how long a worker may be silent before another takes over its claims"
    )
    crash_limit: int = Field(
        default=3,
        ge=1,
        description="worker crashes while it runs a request, after which the request runs alone; one more is poison",
    )
    aging_seconds: float = Field(
        default=21_600.0, gt=0, description="background that is so old is served as normal work, never as immediate"
    )
    key_lifetime_seconds: float = Field(
        default=600.0, ge=0, description="how long an idempotency key holds after its request's SUCCESS"
    )
    market_data_lines: int = Field(
        default=100, ge=2, le=10_000, description="market-data lines of the account; messages per second are half of it"
    )
    market_data_type: int = Field(
        default=1, ge=1, le=4, description="asked from the gateway: 1 live, 2 frozen, 3 delayed, 4 delayed and frozen"
    )
    gateway_region: Literal["america", "europe", "asia"] = Field(
        default="america", description="whose planned resets apply to the gateway: america, europe or asia"
    )
    open_historical: int = Field(default=50, ge=1, le=50, description="historical requests open at once")
    connect_timeout_seconds: float = Field(
        default=10.0, gt=0, le=600, description="how long the gateway may take to answer"
    )
    derive_processes: int = Field(
        default=1, ge=1, le=64, description="processes of low priority that derive statistics beside the worker"
    )
    scheduler_name: str = Field(
        default="scheduler",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=64,
        description="name of the scheduler; two with different names may run side by side",
    )
    tick_seconds: float = Field(default=1.0, gt=0, le=60, description="how often the scheduler looks what is due")
    freshness_seconds: float = Field(
        default=15.0, gt=0, le=3600, description="how often freshness is looked at; two looks agree before an alert"
    )
    backfill_cron: str = Field(
        default="30 18 * * *", description="when the scheduler fills holes, cron in New York's time; empty is never"
    )
    maintenance: bool = Field(
        default=True, description="the worker looks after the lake's tables beside its work; see also `v6 maintain`"
    )
    maintenance_seconds: float = Field(
        default=300.0,
        gt=0,
        le=86_400,
        description="how often it does, machine seconds; a busy queue is looked after more often",
    )
    retention: str = Field(
        default="",
        description="days that rows are kept, TABLE=DAYS, … (0 is for ever); unless set: ib_requests=90, "
        "worker_state=30, scheduler_state=30, the rest for ever",
    )
    reader_hours: float = Field(
        default=24.0, ge=0, le=168, description="how long a reader may go on with what it opened of a result table"
    )
    queue_reader_hours: float = Field(
        default=1.0, ge=0, le=24, description="the same for ib_requests, worker_state and scheduler_state"
    )
    clock: Annotated[str, AfterValidator(_clock_text)] = Field(
        default="", description="ORIGIN[@ANCHOR][*SPEED]: another now and another pace; empty is the machine's time"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least level that is logged"
    )
    log_format: Literal["console", "json"] = Field(default="console", description="how log lines are written to stderr")
    request_types: Mapping[str, TypeSettings] = Field(default_factory=dict, description="numbers of request types")

    @model_validator(mode="after")
    def _places_fit(self) -> Self:
        if self.urgent_places >= self.batch_size:
            raise ValueError(
                f"urgent_places ({self.urgent_places}) must be smaller than batch_size ({self.batch_size})"
            )
        return self


def plain_settings() -> dict[str, FieldInfo]:
    """Every setting that has one value, and therefore a flag; the numbers of request types are not among them."""
    return {name: info for name, info in Settings.model_fields.items() if name != TYPES}


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingsInForce:
    """The settings and, by name, where each came from: flag, environment, the path of the file, or default. Of request
    types only those numbers have an entry that somebody set."""

    settings: Settings
    sources: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layer:
    source: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def spelling(self, name: str) -> str:
        """The setting's name as the user of this layer wrote it."""
        if self.source == FLAG:
            return f"--{name.replace('_', '-')}"
        return _variable(name) if self.source == ENVIRONMENT else f"{name} in {self.source}"


def load_settings(
    flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> SettingsInForce:
    """Read and check every setting. ``flags`` are values by setting name; None is not given.

    Raises:
        SettingsError: a setting is unknown, cannot be read or has a wrong value; the one line names it.
    """
    variables = os.environ if environment is None else environment
    layers = (
        _Layer(source=FLAG, values={name: value for name, value in (flags or {}).items() if value is not None}),
        _environment_layer(variables),
        _file_layer(variables.get(CONFIG_VARIABLE)),
    )
    origin = {name: layer for layer in reversed(layers) for name in layer.values}
    try:
        settings = Settings(**_nested({name: layer.values[name] for name, layer in origin.items()}))
    except ValidationError as error:
        raise SettingsError(_complaint(error, origin)) from error
    return SettingsInForce(
        settings=settings,
        sources={**dict.fromkeys(plain_settings(), DEFAULT), **{name: layer.source for name, layer in origin.items()}},
    )


def as_environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, for a child process that shall have the same."""
    values = {name: value for name, value in settings.model_dump(exclude={TYPES}).items() if value != ""}
    for kind, numbers in settings.request_types.items():
        values |= {f"{TYPES}.{kind}.{name}": number for name, number in numbers.model_dump(exclude_none=True).items()}
    return {_variable(name): str(value) for name, value in values.items()}


def _variable(name: str) -> str:
    return f"{PREFIX}{name.replace('.', SEPARATOR).upper()}"


def _environment_layer(variables: Mapping[str, str]) -> _Layer:
    given = {name: text for name, text in variables.items() if name.startswith(PREFIX) and name != CONFIG_VARIABLE}
    known = {_variable(name): name for name in plain_settings()}
    for variable in given:
        parts = variable.split(SEPARATOR)
        if parts[0] == _variable(TYPES) and len(parts) == 3:
            of_type = {_variable(f"{TYPES}.{parts[1]}.{name}"): name for name in TypeSettings.model_fields}
            known |= {key: f"{TYPES}.{parts[1].lower()}.{name}" for key, name in of_type.items()}
        if variable not in known:
            raise SettingsError(f"the environment variable {variable} is no setting of v6{_guess(variable, known)}")
    return _Layer(source=ENVIRONMENT, values={known[name]: text for name, text in given.items() if text != ""})


def _file_layer(named: str | None) -> _Layer:
    path = Path(named or CONFIG_FILE)
    if not named and not path.is_file():
        return _Layer(source=CONFIG_FILE)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"the settings file {path} cannot be read: {error.strerror} (see {CONFIG_VARIABLE})"
        ) from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise SettingsError(f"the settings file {path} is not TOML: {error}") from error
    for name in values:
        if name not in Settings.model_fields and name not in SECTIONS:
            raise SettingsError(f"{name} in {path} is no setting of v6{_guess(name, Settings.model_fields)}")
    plain = {name: value for name, value in values.items() if name not in SECTIONS | {TYPES}}
    return _Layer(source=str(path), values={**plain, **_numbers_of_types(values.get(TYPES, {}), path)})


def _numbers_of_types(tables: Any, path: Path) -> dict[str, Any]:
    """The file's numbers of request types, by their names of three parts."""
    numbers: dict[str, Any] = {}
    for kind, table in tables.items() if isinstance(tables, dict) else [("NAME", None)]:
        if not isinstance(table, dict):
            raise SettingsError(f"{TYPES}.{kind} in {path} must be a table: write [{TYPES}.{kind}] above its numbers")
        for name in table:
            if name not in TypeSettings.model_fields:
                known = ", ".join(TypeSettings.model_fields)
                raise SettingsError(f"{TYPES}.{kind}.{name} in {path} is no setting of v6: a request type has {known}")
        numbers |= {f"{TYPES}.{kind}.{name}": value for name, value in table.items()}
    return numbers


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with those of names in three parts put below ``request_types``, by type."""
    plain = {name: value for name, value in values.items() if "." not in name}
    types: dict[str, dict[str, Any]] = {}
    for name in values.keys() - plain.keys():
        kind, number = name.removeprefix(f"{TYPES}.").rsplit(".", 1)
        types.setdefault(kind, {})[number] = values[name]
    return {**plain, TYPES: types}


def config_path(environment: Mapping[str, str] | None = None) -> Path | None:
    """The settings file that is in force; None where there is none."""
    named = (os.environ if environment is None else environment).get(CONFIG_VARIABLE)
    path = Path(named or CONFIG_FILE)
    return path if named or path.is_file() else None


def _guess(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f": did you mean {near[0]}?" if near else ": `v6 settings` lists them"


def _complaint(error: ValidationError, origin: Mapping[str, _Layer]) -> str:
    """One line for the first thing that is wrong."""
    first = error.errors(include_url=False)[0]
    reason = first["msg"].removeprefix("Value error, ").replace("\n", " ")
    reason = f"{reason[:1].lower()}{reason[1:]}"
    if not first["loc"]:
        return f"the settings do not fit together: {reason}"
    name = ".".join(str(part) for part in first["loc"])
    layer = origin.get(name, _Layer(source=DEFAULT))
    return f"{layer.spelling(name)} is wrong ({first['input']!r}): {reason}"
