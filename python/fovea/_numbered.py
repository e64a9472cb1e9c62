"""Objects that operators know by number: PyTorch's take numbers and tensors alone."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

from fovea._kinds import fail

_numbers = itertools.count(1)
_alive: weakref.WeakValueDictionary[int, Numbered] = weakref.WeakValueDictionary()


class Numbered:
    """Has a number of its own as long as it lives."""

    number: int

    def _register(self) -> None:
        self.number = next(_numbers)
        _alive[self.number] = self


def number_of(name: str, value: Any, kind: type[Numbered]) -> int:
    """The number of an option that is an object; 0 for none."""
    if value is None:
        return 0
    if not isinstance(value, kind):
        fail(f"expected {name} as a fovea.{kind.__name__}, got {type(value).__name__}")
    return value.number


def lookup(number: int) -> Any:
    """The object of a number that an operator was given; 0 is none."""
    if number == 0:
        return None
    if number not in _alive:
        fail("expected blocks, rotary and override that are kept until the gradient is computed, got one that is gone")
    return _alive[number]
