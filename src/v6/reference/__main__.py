"""``python -m v6.reference docs`` writes the generated part of every page that has one."""

from __future__ import annotations

import sys
from pathlib import Path

from v6.reference.pages import write_pages

if __name__ == "__main__":
    write_pages(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
