"""A trainable bias by distance."""

from __future__ import annotations

from typing import Any

import numpy as np

from fovea import _fovea
from fovea._kinds import fail, renamed

KINDS = ("buckets", "distances")


class Relative:
    """A bias ``table[row of the distance j − i, h]`` that is added to the scaled score; query i stands at its place
    aligned to the last key, as for causality.

    Parameters
    ----------
    table : float ``[rows, H]``
        Of any kind; the gradient of a PyTorch tensor comes by autograd, that of others is ``drelative`` of
        :func:`fovea.attention_vjp`.
    kind : ``"buckets"`` or ``"distances"``
        T5's buckets, exact for near keys and logarithmic up to `max_distance` (Raffel et al., 2020); or a row a
        distance, from −(rows − 1)/2 to (rows − 1)/2 (with ``bidirectional=False``: i − j from 0 to rows − 1), those
        beyond sharing the outermost (Shaw et al., 2018, as a bias).
    max_distance : int
        Of buckets; default 128, T5's.
    bidirectional : bool
        True, as encoders have it: keys before and after the query have rows of their own. False (decoders): keys after
        the query share row 0.

    Raises
    ------
    ValueError
        No table, or an option out of its range. A table that does not fit the call's heads is said by the call.

    Examples
    --------
    >>> import numpy as np, fovea
    >>> q, k, v = np.random.default_rng(0).normal(size=(3, 1, 2, 6, 8)).astype(np.float32)
    >>> table = np.linspace(-1, 1, 2 * 5).reshape(5, 2)      # distances −2 … 2, two heads
    >>> out = fovea.attention(q, k, v, relative=fovea.Relative(table, "distances"))
    >>> distance = np.arange(6)[None, :] - np.arange(6)[:, None]
    >>> bias = table[np.clip(distance, -2, 2) + 2].transpose(2, 0, 1)
    >>> bool(np.allclose(out, fovea.attention(q, k, v, bias=bias), atol=1e-6))
    True
    """

    def __init__(self, table: Any, kind: str = "buckets", *, max_distance: int = 128, bidirectional: bool = True):
        from fovea import _options as options

        with renamed("Relative"):
            if table is None:
                fail("expected table [rows, H], got None")
            self.table = table
            self.kind = options.choice("kind", kind, KINDS)
            self.max_distance = options.integer("max_distance", max_distance, 1, 2**31)
            self.bidirectional = options.flag("bidirectional", bidirectional)

    def __fx_create_arg__(self, tracer: Any) -> Any:
        rest = dict(max_distance=self.max_distance, bidirectional=self.bidirectional)
        return tracer.create_node("call_function", Relative, (tracer.create_arg(self.table), self.kind), rest)

    def __repr__(self) -> str:
        shape = tuple(getattr(self.table, "shape", ()))
        return f"Relative(table {shape}, {self.kind!r}, max_distance={self.max_distance}, bidirectional={self.bidirectional})"


def for_call(table: Any, kind: str, max_distance: int, bidirectional: bool, heads: int, real: type) -> Any:
    """(the table as the engine reads it, what its rows are)."""
    from fovea import _options as options

    about = _fovea.Relative()
    if table is None:
        return None, about
    table = np.ascontiguousarray(options.floats("relative's table", table, real))
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] != heads:
        fail(f"expected relative's table [rows, {heads}], got {list(table.shape)}")
    rows = table.shape[0]
    if kind == "distances":
        if bidirectional and rows % 2 == 0:
            fail(f"expected an odd number of rows in relative's table, one a distance from -r to r, got {rows}")
        max_distance = (rows - 1) // 2 if bidirectional else rows - 1
    about.buckets, about.bidirectional = kind == "buckets", bidirectional
    about.rows, about.max_distance = rows, max_distance
    return table, about
