"""A package's public names, each imported when it is first asked for: importing the package stays cheap."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any


def load(package: str, exports: Mapping[str, str], name: str) -> Any:
    """The public name of a package from the module that ``exports`` gives. Raises AttributeError when there is none."""
    if name not in exports:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    value = getattr(import_module(exports[name]), name)
    setattr(sys.modules[package], name, value)
    return value
