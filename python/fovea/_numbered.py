"""Objects that operators know by number: PyTorch's take numbers and tensors alone."""

from __future__ import annotations

import itertools
import weakref
from typing import Any, Callable, TypeVar

from fovea._kinds import fail

T = TypeVar("T")

_numbers = itertools.count(1)
_alive: weakref.WeakValueDictionary[int, Numbered] = weakref.WeakValueDictionary()


class Numbered:
    """Has a number of its own as long as it lives."""

    number: int
    _recipe: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

    def _register(self, maker: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
        """`maker` of the arguments makes another such object: what a pickle holds, for numbers are a process's own."""
        self._recipe = maker, arguments, keywords
        self.number = next(_numbers)
        _alive[self.number] = self

    def __reduce__(self) -> Any:
        return _made, self._recipe

    def __copy__(self: T) -> T:
        return self  # nothing changes in it once it is made

    def __deepcopy__(self: T, memo: Any) -> T:
        return self


def _made(maker: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return maker(*arguments, **keywords)


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
