"""``v6`` and ``python -m v6``. Signals wait until the command decides what they do: loading takes a while."""

from __future__ import annotations

import sys

from v6.signals import hold_signals


def main() -> None:
    """Run the command line of this process."""
    hold_signals()
    from v6.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
