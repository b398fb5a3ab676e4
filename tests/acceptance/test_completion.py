"""The shell completes commands, options and values: the script that v6 installs, run by a real bash."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMPLETE = """
eval "$(_V6_COMPLETE=source_bash v6)"
COMP_WORDS=({words} "{last}")
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_v6_completion v6
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
@pytest.mark.parametrize(
    ("words", "last", "offered"),
    [
        ("v6", "su", {"submit"}),
        ("v6 requests", "", {"list", "show", "cancel", "retry"}),
        ("v6 submit", "opt", {"option_chain"}),
        ("v6 submit", "--prio", {"--priority"}),
        ("v6 requests list --status", "f", {"failed"}),
    ],
)
def test_bash_completes(tmp_path: Path, words: str, last: str, offered: set[str]) -> None:
    script = COMPLETE.format(words=words, last=last)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert offered <= set(done.stdout.split())
