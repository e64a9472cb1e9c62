"""What a call was made of, to make it again in another process."""

from __future__ import annotations

import dataclasses
from typing import Any

from fovea._numbered import lookup

NUMBERED = ("blocks", "rotary", "override")


class Pickled:
    """The arguments of a Call; arrays are kept without the graph of their gradient."""

    def __init__(self, q: Any, k: Any, v: Any, dtype: str, given: Any, arrays: dict[str, Any]):
        self.arrays = q, k, v
        self.dtype, self.given = dtype, given
        self.rest = {name: x.detach() if hasattr(x, "detach") else x for name, x in arrays.items() if x is not None}
        self.objects = [lookup(getattr(given, name)) for name in NUMBERED]


def again(call: Any, of: Pickled) -> Any:
    numbers = {name: x._number if x is not None else 0 for name, x in zip(NUMBERED, of.objects)}
    return call(*of.arrays, of.dtype, dataclasses.replace(of.given, **numbers), **of.rest)
