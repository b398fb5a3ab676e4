"""Starts a program that ends when its parent does: ``python -m v6.tied PARENT_PID PROGRAM ARGUMENTS``.

On Linux the kernel is asked to send SIGTERM when the parent dies, even by kill -9; the program takes this process's
place. Elsewhere the program runs untied.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # prctl(2)


def tied(program: Sequence[str]) -> list[str]:
    """The command that runs a program, given with its whole path, as a child of this process which ends with it."""
    return [sys.executable, "-m", "v6.tied", str(os.getpid()), *program]


def main(arguments: list[str]) -> None:
    """Tie this process to its parent and become the program."""
    parent, *program = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):  # it died before the kernel was asked
            sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 - no shell: the program is what the supervisor named


if __name__ == "__main__":
    main(sys.argv[1:])
