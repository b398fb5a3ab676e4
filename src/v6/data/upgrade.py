"""Bring the tables of a lake to this version: ``python -m v6.data.upgrade data/lake``.

A new version may only add columns that can be null; then the rows stored before hold null there. Whoever opens a table
for writing does the same for that table; this does it for all tables at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from v6.data import delta
from v6.data.describe import specs
from v6.data.lake import Lake
from v6.data.table_spec import TableSpec
from v6.errors import LakeError, V6Error


def upgrade(lake: Lake) -> dict[str, list[str]]:
    """Add the columns that tables of this lake lack; the names of those added, by table. Safe to repeat.

    Raises:
        TableIncompatible: a lacking column may not be null, or a stored one has another type: make a new lake.
        LakeError: there are no tables, or a commit failed: what was added before stays, and repeating does the rest.
    """
    stored = [spec for spec in specs() if lake.exists(spec.name)]
    if not stored:
        raise LakeError(f"there are no tables in {lake.url}: name the lake's folder")
    added = {spec.name: _upgrade_table(lake, spec) for spec in stored}
    return {name: columns for name, columns in added.items() if columns}


def _upgrade_table(lake: Lake, spec: TableSpec) -> list[str]:
    missing = delta.missing_columns(lake.open(spec.name), spec)
    lake.ensure(spec)
    return [column.name for column in missing]


def main(arguments: Sequence[str]) -> int:
    """Upgrade the lake that is named and say what was done."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m v6.data.upgrade LAKE\n")
        return 2
    try:
        added = upgrade(Lake(arguments[0]))
    except V6Error as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    for name, columns in added.items():
        sys.stdout.write(f"{name}: added {', '.join(columns)}\n")
    sys.stdout.write("the lake fits this version\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
