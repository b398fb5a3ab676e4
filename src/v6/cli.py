"""The command ``v6``: puts the commands together and turns what goes wrong into one line and an exit code."""

from __future__ import annotations

import inspect
import sys
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from v6.commands.command import command, declare, global_parameters, take_globals
from v6.commands.output import error_line, forget_reader
from v6.errors import ExitCode, V6Error

# The modules of v6.commands; each function in a module's COMMANDS is one command.
MODULES = (
    *("gateway", "worker", "scheduler", "up"),
    *("submit", "status", "requests", "queue", "tables", "sql", "settings"),
    *("schedule", "coverage", "backfill", "quality", "freshness", "doctor"),
    *("maintain", "backup", "import_tables", "demo"),
)


def run_script(function: Callable[..., Any]) -> NoReturn:
    """Run a script whose one command is ``function``, as ``v6`` runs its own."""
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode="rich", add_completion=False)
    app.command()(command(function))
    sys.exit(run(sys.argv[1:], app, name=Path(sys.argv[0]).name))


def run(arguments: Sequence[str], app: typer.Typer | None = None, *, name: str = "v6") -> int:
    """Run one command line and return its exit code. Nothing but one line reaches stderr when it fails."""
    try:
        code = (app or build())(args=list(arguments), prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, CancelledError):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return forget_reader()
    except TyperException as error:
        help_line = "`v6 --help` and `v6 COMMAND --help` show" if app is None else f"`{name} --help` shows"
        error_line(f"{error.format_message().rstrip('.')}: {help_line} what there is")
        return ExitCode.USAGE
    except V6Error as error:
        error_line(str(error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the boundary: a person sees one line, never a traceback
        error_line(f"{type(error).__name__}: {error} (not foreseen; --log-level debug shows where)")
        return ExitCode.INTERNAL
    return int(code or ExitCode.OK)


def build() -> typer.Typer:
    """The commands as typer knows them."""
    app = typer.Typer(name="v6", pretty_exceptions_enable=False, rich_markup_mode="rich")
    app.callback(invoke_without_command=True)(_root())
    for module in MODULES:
        import_module(f"v6.commands.{module}").register(app)
    return app


def _root() -> Any:
    def v6(context: typer.Context, **values: Any) -> None:
        """Market data from Interactive Brokers: requests go into a queue, rows come out in tables."""
        if values.pop("version"):
            typer.echo(f"v6 {version('v6')}")
            raise typer.Exit
        context.obj = take_globals(values)
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    option = typer.Option("--version", help="show the version and exit")
    shown = inspect.Parameter(
        "version", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option]
    )
    declare(v6, [shown, *global_parameters()])
    return v6
