"""The notebooks, cell by cell, on a lake with something in it and on one with next to nothing."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from tests.notebook_lake import fill

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}
DAYS = [date(2026, 11, 18), date(2026, 11, 19), date(2026, 11, 20)]
PICTURES = {
    "first_steps": 2,
    "chain_and_smile": 2,
    "surface_over_time": 3,
    "realised_against_implied": 3,
    "coverage_and_quality": 3,
    "futures_curve": 3,
}
MODULES = {"os", "altair as alt", "polars as pl", "v6"}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    fill(folder, DAYS)
    return folder


def run(name: str) -> list[dict[str, Any]]:
    """Execute a notebook in its folder; the outputs of its cells. A cell that raises raises here."""
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook, timeout=240, startup_timeout=240, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    )
    kernel = client.create_kernel_manager()
    with tempfile.TemporaryDirectory() as sockets:  # a port is chosen before it is bound: another test may get it
        kernel.transport, kernel.ip = "ipc", f"{sockets}/kernel"
        client.execute()
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures(outputs: list[dict[str, Any]]) -> list[bytes]:
    found = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return [base64.b64decode(text) for text in found]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_draws_on_a_lake_with_some_days(
    name: str, lake: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("V6_LAKE", str(lake))
    outputs = run(name)
    assert not [output for output in outputs if output["output_type"] == "stream"], "a cell warns or prints"
    drawn = pictures(outputs)
    for number, picture in enumerate(drawn):
        (tmp_path / f"{name}_{number}.png").write_bytes(picture)
    assert len(drawn) >= PICTURES[name]
    assert all(len(picture) > 5000 for picture in drawn)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_on_an_empty_lake_it_says_what_to_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("V6_LAKE", str(tmp_path))
    outputs = run(name)
    assert not pictures(outputs)
    assert any("v6 " in output["data"].get("text/plain", "") for output in outputs)


def test_without_a_lake_it_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("V6_LAKE", str(tmp_path / "nowhere"))
    with pytest.raises(CellExecutionError, match=r"there is no lake at .*nowhere: give lake=") as caught:
        run("first_steps")
    assert "Traceback" not in str(caught.value)
    assert "lake_of" not in str(caught.value)


def test_without_a_lake_the_script_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("V6_LAKE", str(tmp_path / "nowhere"))
    script = [sys.executable, str(FOLDER.parent / "scripts/run_notebooks.py")]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, "", 1)
    assert done.stderr.startswith(f"there is no lake at {tmp_path / 'nowhere'}: give lake=")


def test_the_issues_notebooks_are_there() -> None:
    assert set(NOTEBOOKS) == set(PICTURES)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_is_stored_without_outputs_and_imports_only_readers(name: str) -> None:
    cells = json.loads(NOTEBOOKS[name].read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    lines = "".join("".join(cell["source"]) + "\n" for cell in code).splitlines()
    imports = {line.removeprefix("import ") for line in lines if line.startswith(("import ", "from "))}
    assert imports <= MODULES
    assert not [line for line in lines if "http" in line]
