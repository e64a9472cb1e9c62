"""Paths as people give them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fovea._kinds import fail


def path(name: str, value: Any) -> Path:
    if isinstance(value, bytes):
        value = os.fsdecode(value)
    if not isinstance(value, (str, os.PathLike)):
        fail(f"expected {name} as a path, got {type(value).__name__}", "path")
    if not os.fspath(value):
        fail(f"expected {name} as a path, got an empty text", "path")
    return Path(os.fsdecode(value))
