"""Tensors as a call's arguments, and its results as tensors."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor

from fovea import _options as options
from fovea._call import Call
from fovea._kinds import dtype_of, fail, to_numpy
from fovea.torch._watched import quiet_while_traced


@quiet_while_traced  # of constants: numbers that the caller wrote are meant so
def as_tensor(name: str, x: Any) -> Tensor:
    if isinstance(x, Tensor):
        return x
    if isinstance(x, np.ndarray) and torch.compiler.is_compiling():
        return torch.as_tensor(x)
    row = options.list_or_array(name, x, "an array")
    try:
        return torch.from_numpy(np.array(row))
    except TypeError:
        fail(f"expected {name} as numbers, got {row.dtype}")


def make_call(q: Tensor, k: Tensor, v: Tensor, given: options.Options, tensors: dict[str, Tensor]) -> Call:
    return Call(to_numpy(q, "q"), to_numpy(k, "k"), to_numpy(v, "v"), dtype_of(q), given, **tensors)


def arrays_of(*tensors: Optional[Tensor]) -> dict[str, Tensor]:
    return {name: x for name, x in zip(options.ARRAYS, tensors) if x is not None}


def placed(call: Call, name: str, x: np.ndarray) -> np.ndarray:
    """As the operator gives it: in the caller's layout; block masses of packed calls as the engine has them."""
    if name == "block_mass":
        return x if call.packed else call.block_maps(x)
    return call.keys_first(x) if name == "key_mass" else call.rows_first(x)
