"""Execute every notebook on the lake of V6_LAKE (data/lake without it); the executed copies go into build/notebooks.

The notebooks themselves stay without outputs. Exits with 1 when a cell raised, and names the notebook; with 3 when
there is no lake.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from v6.errors import LakeError
from v6.readers.where import lake_of

ROOT = Path(__file__).parents[1]
SOURCES, EXECUTED = ROOT / "notebooks", ROOT / "build" / "notebooks"
TIMEOUT_SECONDS = 600


def execute(path: Path) -> str | None:
    """Run one notebook in its folder and write the executed copy; what went wrong, if anything."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=TIMEOUT_SECONDS, kernel_name="python3", resources=resources)
    kernel = client.create_kernel_manager()
    try:
        with tempfile.TemporaryDirectory() as sockets:  # no port: nobody else can reach the kernel, or take its port
            kernel.transport, kernel.ip = "ipc", f"{sockets}/kernel"
            client.execute()
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    finally:
        nbformat.write(notebook, EXECUTED / path.name)  # type: ignore[no-untyped-call]
    return None


def main() -> int:
    try:
        lake_of(os.environ.setdefault("V6_LAKE", str(ROOT / "data" / "lake")))
    except LakeError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    EXECUTED.mkdir(parents=True, exist_ok=True)
    failures = 0
    for path in sorted(SOURCES.glob("*.ipynb")):
        trouble = execute(path)
        failures += trouble is not None
        print(f"{path.name}: {trouble or 'executed into ' + str(EXECUTED / path.name)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
