"""Objects that operators know by number: PyTorch's take numbers and tensors alone."""

from __future__ import annotations

import hashlib
import io
import pickle
import secrets
import threading
import weakref
from typing import Any, Callable, TypeVar

import numpy as np

from fovea._kinds import fail

T = TypeVar("T")


class _Equals:
    """The objects of one number that live: each keeps this, and this none of them."""

    def __init__(self) -> None:
        self.objects: weakref.WeakSet[Numbered] = weakref.WeakSet()


_lock = threading.Lock()
_alive: weakref.WeakValueDictionary[int, _Equals] = weakref.WeakValueDictionary()


class Numbered:
    """Has a number of what it is made of, the same in every process: a saved graph finds its object again, or none."""

    _number: int
    _recipe: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

    def _register(self, maker: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
        """`maker` of the arguments makes another such object: what a pickle holds."""
        self._recipe = maker, arguments, keywords
        self._number = _number_of(*self._recipe)
        with _lock:
            self._equals = _alive.setdefault(self._number, _Equals())
            self._equals.objects.add(self)

    def __reduce__(self) -> Any:
        return _made, self._recipe

    def __fx_create_arg__(self, tracer: Any) -> Any:
        node = tracer.create_node("call_function", lookup, (self._number,), {})
        node.meta["fovea"] = self  # lives as long as the graph
        return node

    def __copy__(self: T) -> T:
        return self  # nothing changes in it once it is made

    def __deepcopy__(self: T, memo: Any) -> T:
        return self


class _Digested(pickle.Pickler):
    """What objects are made of as bytes: other such objects by their number, and no functions, whose names may come to
    mean others."""

    def persistent_id(self, x: Any) -> Any:
        if isinstance(x, Numbered):
            return x._number
        if isinstance(x, np.ndarray):
            return x.dtype.str, x.shape, x.tobytes()
        if callable(x) and not isinstance(x, type):
            raise pickle.PicklingError("a function")
        return None


def _number_of(maker: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> int:
    """63 bits of a digest; drawn where a function is part of the object, which no other process can know."""
    data = io.BytesIO()
    pickler = _Digested(data, protocol=4)
    pickler.fast = True  # without the memo, which tells equal objects from identical ones
    try:
        pickler.dump((arguments, sorted(keywords.items())))
    except (pickle.PicklingError, AttributeError, TypeError):
        return secrets.randbits(63) | 1
    data.write(f"{maker.__module__}.{maker.__qualname__}".encode())
    return int.from_bytes(hashlib.blake2b(data.getbuffer(), digest_size=8).digest(), "big") >> 1 | 1


def _made(maker: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return maker(*arguments, **keywords)


def number_of(name: str, value: Any, kind: type[Numbered]) -> int:
    """The number of an option that is an object; 0 for none."""
    if value is None:
        return 0
    if not isinstance(value, kind):
        fail(f"expected {name} as a fovea.{kind.__name__}, got {type(value).__name__}")
    return value._number


def lookup(number: int) -> Any:
    """The object of a number that an operator was given; 0 is none."""
    if number == 0:
        return None
    found = _alive.get(number)
    if found is None or not (objects := list(found.objects)):
        fail(
            "expected blocks, rotary and override that are kept for as long as a gradient or a graph asks for them, got "
            "one that is gone: make the same again"
        )
    return objects[0]
