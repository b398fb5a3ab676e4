"""The command ``v6``: puts the commands together and turns what goes wrong into one line and an exit code."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from v6.commands.command import declare, global_parameters, take_globals
from v6.commands.output import error_line
from v6.errors import ExitCode, V6Error

# The modules of v6.commands; each function in a module's COMMANDS is one command.
MODULES = ("gateway", "worker", "submit", "status", "requests", "tables", "settings", "demo")


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Nothing but one line reaches stderr when it fails."""
    try:
        code = build()(args=list(arguments), prog_name="v6", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its exit
        return ExitCode.OK
    except TyperException as error:
        error_line(f"{error.format_message().rstrip('.')}: `v6 --help` and `v6 COMMAND --help` show what there is")
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
