"""What every command has in common: the settings as options before or after its name, ``--json``, and coroutines.

A command is a function whose first parameter is ``call``; the rest are its own arguments and options. ``command`` makes
of it what typer understands.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from v6.commands.output import Output, forget_reader
from v6.errors import ExitCode, V6Error
from v6.settings import Settings, SettingsInForce, load_settings, plain_settings
from v6.signals import release_signals

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
JSON = "as_json"
STORAGE = frozenset({"polars", "pyarrow", "pyo3_runtime", "deltalake", "_internal"})  # whose errors name no table
PANEL = "Settings (also before the command)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What a command is told beside its own options."""

    in_force: SettingsInForce
    out: Output

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.in_force.settings


def command(
    function: Callable[..., Any], *, stops_in_order: bool = False, loop: LoopFactory | None = None
) -> Callable[..., int]:
    """The function as typer calls it; its result is the exit code, None is 0. A coroutine is run to its end.

    Of one that ``stops_in_order`` signals wait until it says by ``stop_on_signals`` what they do. ``loop`` makes the
    event loop that a coroutine runs on, where it is to be another than asyncio's own.
    """
    own = inspect.signature(function, eval_str=True)
    parameters = [parameter for name, parameter in own.parameters.items() if name != "call"]

    @functools.wraps(function)
    def run(context: typer.Context, **values: Any) -> int:
        if not stops_in_order:
            release_signals()
        given = {**(context.find_root().obj or {}), **take_globals(values)}
        call = _call(given)
        try:
            result = function(call, **values)
            code = _run_to_end(result, loop) if inspect.iscoroutine(result) else result
        except BrokenPipeError:  # here, for typer would make exit code 1 of it
            return int(forget_reader())
        except BaseException as error:  # a panic of the storage's code is no Exception
            if call.settings.log_level == "debug" and isinstance(error, Exception) and not isinstance(error, V6Error):
                traceback.print_exc(file=sys.stderr)
            _name_damage(call, error)
            raise
        return int(code or ExitCode.OK)

    declare(run, [*parameters, *global_parameters()])
    return run


def _name_damage(call: Call, error: BaseException) -> None:
    """Raise TableDamaged where a library of the storage stumbled over a damaged table: looked for only then."""
    if type(error).__module__.partition(".")[0] in STORAGE:
        from v6.data.lake import Lake
        from v6.data.lake_repair import first_damage

        damage = first_damage(Lake(call.settings.lake))
        if damage is not None:
            raise damage from error


def _run_to_end(coroutine: Coroutine[Any, Any, Any], loop: LoopFactory | None) -> Any:
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(coroutine)


def group(text: str) -> typer.Typer:
    """A group of commands that takes the settings and ``--json`` after its name as well."""

    def run(context: typer.Context, **values: Any) -> None:
        context.find_root().obj = {**(context.find_root().obj or {}), **take_globals(values)}

    declare(run, global_parameters())
    made = typer.Typer(help=text)
    made.callback()(run)
    return made


def declare(function: Callable[..., Any], parameters: list[inspect.Parameter]) -> None:
    """Give a function that takes ``**values`` the parameters that typer shall offer, after the context."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    named = [parameter.replace(kind=keyword) for parameter in parameters]
    context = inspect.Parameter("context", keyword, annotation=typer.Context)
    vars(function)["__signature__"] = inspect.Signature([context, *named])
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in (context, *named)}


def global_parameters() -> list[inspect.Parameter]:
    """One option for every setting, and ``--json``."""
    settings = [
        _option(
            name, str | None, f"--{name.replace('_', '-')}", info.description or "", metavar=_metavar(info.annotation)
        )
        for name, info in plain_settings().items()
    ]
    return [*settings, _option(JSON, bool, "--json", "write JSON for programs", default=False)]


def take_globals(values: dict[str, Any]) -> dict[str, Any]:
    """Take the global options that were given out of ``values``."""
    taken = {name: values.pop(name) for name in (*plain_settings(), JSON) if name in values}
    return {name: value for name, value in taken.items() if value not in (None, False)}


def _call(given: Mapping[str, Any]) -> Call:
    flags = {name: value for name, value in given.items() if name != JSON}
    return Call(in_force=load_settings(flags), out=Output(as_json=bool(given.get(JSON))))


def _option(name: str, kind: Any, flag: str, text: str, *, default: Any = None, metavar: str | None = None) -> Any:
    option = typer.Option(
        flag, help=text.replace("[", r"\["), rich_help_panel=PANEL, show_default=False, metavar=metavar
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _metavar(kind: Any) -> str:
    return {int: "INTEGER", float: "NUMBER"}.get(kind, "TEXT")
