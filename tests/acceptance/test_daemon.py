"""``make daemon``: the worker as a service where systemd runs, the foreground command named where it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The Makefile with an environment that is set up."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / ".installed").touch()
    return tmp_path


def make(project: Path, **variables: Path) -> subprocess.CompletedProcess[str]:
    given = [f"{name}={value}" for name, value in variables.items()]
    env = {**os.environ, "PATH": f"{project}:{os.environ['PATH']}"}
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        env.pop(name, None)
    return subprocess.run(
        ["make", "daemon", *given], cwd=project, env=env, capture_output=True, text=True, timeout=240, check=False
    )


def test_the_worker_is_started_by_systemd_with_exactly_this_command(project: Path) -> None:
    fake = project / "systemd-run"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" systemd-run "$@" > command.txt\n', encoding="utf-8")
    fake.chmod(0o755)
    done = make(project, SYSTEMD=project)
    assert done.returncode == 0, done.stderr
    assert (project / "command.txt").read_text(encoding="utf-8").splitlines() == [
        "systemd-run",
        "--user",
        "--collect",
        "--unit=v6-worker",
        f"--working-directory={project}",
        "--property=Restart=on-failure",
        "--property=RestartSec=5",
        "--property=TimeoutStopSec=60",
        f"{project}/.venv/bin/v6",
        "worker",
    ]


def test_where_systemd_does_not_run_the_foreground_command_is_named(project: Path) -> None:
    done = make(project, SYSTEMD=project / "absent")
    assert done.returncode != 0
    assert "systemd does not run here" in done.stdout
    assert "`make worker`" in done.stdout
