"""Paths as people give them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fovea._kinds import fail


def path(name: str, value: Any, call: str) -> Path:
    if not isinstance(value, (str, bytes, os.PathLike)):
        fail(f"expected {name} as a path, got {type(value).__name__}", call)
    try:
        given = os.fsencode(value)
    except UnicodeEncodeError as error:
        fail(f"expected {name} as a path, got half a character at offset {error.start}", call)
    if not given:
        fail(f"expected {name} as a path, got an empty text", call)
    if b"\0" in given:
        fail(f"expected {name} as a path, got one with a zero byte at {given.index(0)}", call)
    return Path(os.fsdecode(given))
