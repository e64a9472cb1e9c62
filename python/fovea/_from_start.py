"""Causality aligned to the first query and the first key, as PyTorch has it; the engine aligns to the last ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from fovea._kinds import fail


class FromStart:
    """Of a call ``[B, H, Lq, Lk]``: keys after the last query are seen by nobody, so that the call goes without them."""

    def __init__(self, queries: int, keys: int):
        self.keys, self.kept = keys, min(queries, keys)
        # With more queries than keys, the place of query i is i − (queries − keys): the window gives back what that took.
        self.causal, self.right = queries <= keys, queries - keys if queries > keys else -1

    def cut(self, x: np.ndarray, axis: int) -> np.ndarray:
        """x without those keys, where its axis is of keys and not of one for all."""
        if x.ndim < -axis or x.shape[axis] == 1:
            return x
        if x.shape[axis] != self.keys:
            fail(f"expected mask and bias of 1 or {self.keys} keys, got {list(x.shape)}")
        kept: tuple[Any, ...] = (..., slice(self.kept), *[slice(None)] * (-axis - 1))
        return x[kept]

    def padded(self, gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """A gradient of what was cut as one of the whole, lying in memory as it does."""
        if gradient.shape == shape:
            return gradient
        order = sorted(range(gradient.ndim), key=lambda axis: -gradient.strides[axis])
        whole = np.zeros([shape[axis] for axis in order], gradient.dtype).transpose(np.argsort(order))
        whole[tuple(slice(n) for n in gradient.shape)] = gradient
        return whole
