"""The pages say what the code does: commands, exit codes, request types, events, messages; links lead somewhere."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from v6.data.ib_request import NewRequest
from v6.errors import ExitCode
from v6.reference.commands import commands
from v6.reference.events import events
from v6.reference.pages import generated_pages, with_part
from v6.request_types.catalogue import Catalogue
from v6.simulator.lookups import REFUSALS
from v6.simulator.server import HANDLERS
from v6.simulator.session import FARMS, START_API

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
SIMULATOR = ROOT / "src" / "v6" / "simulator"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """What stands below a heading of a page, up to the next heading of its level."""
    _, found, rest = page(name).partition(f"\n## {heading}\n")
    assert found, f"{name} has no section {heading}"
    return rest.partition("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """The first column of the tables in a text, without quotes and heads."""
    lines = text.splitlines()
    heads = {index - 1 for index, line in enumerate(lines) if line.startswith("|---")}
    rows = [line for index, line in enumerate(lines) if line.startswith("| ") and index not in heads]
    return [row.split("|")[1].strip().strip("`") for row in rows]


@pytest.mark.parametrize(
    "name", ["cli.md", "events.md", "lake.md", "request-types.md", "simulated-gateway.md", "statistics.md"]
)
def test_the_generated_part_is_what_the_code_has(name: str) -> None:
    assert generated_pages(DOCS)[name] == page(name), "run: python -m v6.reference docs"


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the lines"):
        with_part("# Commands", "commands", "text")


def test_every_exit_code_is_documented() -> None:
    rows = [line.split("|")[1:3] for line in section("cli.md", "Exit codes").splitlines() if line.startswith("| ")]
    assert {(code.strip(), name.strip()) for code, name in rows[1:]} == {(str(int(c)), c.name) for c in ExitCode}


def test_every_field_of_an_event_is_explained() -> None:
    used = {field.name for event in events() for field in fields(event)}
    assert set(first_cells(section("events.md", "What the fields mean"))) == used


def test_events_have_names_of_their_own() -> None:
    names = [event.name for event in events()]
    assert len(set(names)) == len(names) >= 10


def test_every_example_of_a_request_is_accepted() -> None:
    catalogue = Catalogue.load()
    rows = [line.split("|")[2:5] for line in section("request-types.md", "Examples").splitlines() if "`{" in line]
    assert {kind.strip() for kind, _, _ in rows} >= {"option_chain", "futures_snapshot", "market_bars"}
    for kind, symbol, parameters in rows:
        new = NewRequest(
            request_type=kind.strip(), symbol=symbol.strip(), parameters=json.loads(parameters.strip().strip("`"))
        )
        assert catalogue.check(new).result_table


def test_every_message_that_is_served_is_documented() -> None:
    served = {*HANDLERS, START_API}
    assert set(map(int, first_cells(section("simulated-gateway.md", "Messages served")))) == served


def test_every_error_code_of_the_simulated_gateway_is_documented() -> None:
    assert set(map(int, first_cells(section("simulated-gateway.md", "Error codes")))) == set(error_codes())
    assert all(str(code) in section("simulated-gateway.md", "Error codes") for code, _ in FARMS)


def error_codes() -> Iterator[int]:
    """Codes that the simulator's source passes to RequestRefused or Session.error, and those of its refusals."""
    yield from (code for _, code, _ in REFUSALS.values())
    for path in SIMULATOR.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and called(node) in {"RequestRefused", "error"}:
                values = [a.value for a in node.args if isinstance(a, ast.Constant)]
                yield from (value for value in values if isinstance(value, int) and value >= 100)


def called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_every_kind_of_journal_line_is_documented() -> None:
    written = re.compile(r'(?:send_data|received|Tick)\(\s*"([a-z_]+)"')
    kinds = {kind for path in SIMULATOR.glob("*.py") for kind in written.findall(path.read_text(encoding="utf-8"))}
    documented = first_cells(section("simulated-gateway.md", "The journal"))
    assert {
        cell for cell in documented if cell not in {"time", "client", "req_id", "con_id", "kind", "values"}
    } == kinds


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_every_page_is_in_the_index() -> None:
    linked = set(re.findall(r"\]\(([a-z-]+\.md)\)", page("README.md")))
    assert linked == {path.name for path in PAGES} - {"README.md"}


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda path: path.name)
def test_commands_in_the_pages_exist(path: Path) -> None:
    known = [name for name, _ in commands()]
    blocks = re.findall(r"^```\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    written = re.findall(r"^(?:\$ |\.venv/bin/)?(v6 [a-z].*)$", "".join(blocks), re.MULTILINE)
    assert [line for line in written if not any(f"{line} ".startswith(f"{name} ") for name in known)] == []
