"""Rotary positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from fovea import _fovea
from fovea._kinds import DTYPES, aligned, dtype_of, fail, from_numpy, kind_of, renamed, to_numpy, wants_gradient
from fovea._numbered import Numbered

LAYOUTS = ("half", "interleaved")
SCALINGS = ("none", "linear", "ntk", "yarn")
CALL = "Rotary"


class Rotary(Numbered):
    """Rotary positions (Su et al., "RoFormer", 2021): pair p of a head is turned by position · base^(−2p / width).

    The `rotary` keyword of :func:`fovea.attention` turns q and k by it, aligned to the last query and the last key, and
    their gradients back. Called, it turns an array by itself, which keys need before they enter a cache.

    Parameters
    ----------
    layout : ``"half"`` or ``"interleaved"``
        Pairs (p, p + width/2), as Llama and GPT-NeoX have them, or (2p, 2p + 1), as RoFormer and GPT-J.
    width : int
        How many leading elements of each head are turned, an even number; 0 turns all.
    base : float
        Default 10,000, the paper's.
    scaling : ``"none"``, ``"linear"``, ``"ntk"`` or ``"yarn"``
        How angles are stretched to read `factor` times further than trained: positions divided by it (Chen et al.,
        2023); a base grown so that the slowest pair is stretched and the fastest kept; or pairs that turn more than
        `beta_fast` times over `original_length` kept, those below `beta_slow` stretched, with q and k grown by
        0.1·ln(factor) + 1 (Peng et al., "YaRN", 2023).
    factor : float >= 1
        How many times further than trained positions reach; 1 stretches nothing.
    original_length : int
        Of ``"yarn"``: the tokens that the model was trained on; default 2048, Llama's.
    beta_fast, beta_slow : float
        Of ``"yarn"``, in turns over `original_length`; defaults 32 and 1, the paper's.

    Raises
    ------
    ValueError
        An option out of its range, an odd width, or one wider than the heads of the call.

    Examples
    --------
    >>> import numpy as np, fovea
    >>> q, k, v = np.random.default_rng(0).normal(size=(3, 1, 2, 6, 8)).astype(np.float32)
    >>> turn = fovea.Rotary(base=500_000)
    >>> out = fovea.attention(q, k, v, causal=True, rotary=turn)
    >>> bool(np.allclose(out, fovea.attention(turn(q), turn(k), v, causal=True), atol=1e-6))
    True

    Where keys are kept, each is turned by its place:

    >>> cache = fovea.KvCache(kv_heads=2, width=8)
    >>> cache.append(turn(k), v)
    >>> last = fovea.attention_decode(turn(q[:, :, -1:], first_position=5), cache)
    >>> bool(np.allclose(last, out[:, :, -1:], atol=1e-6))
    True
    """

    def __init__(
        self,
        layout: str = "half",
        *,
        width: int = 0,
        base: float = 10_000.0,
        scaling: str = "none",
        factor: float = 1.0,
        original_length: int = 2048,
        beta_fast: float = 32.0,
        beta_slow: float = 1.0,
    ):
        from fovea import _options as options

        with renamed(CALL):
            spec = _fovea.RotarySpec()
            spec.layout = getattr(_fovea.RotaryLayout, options.choice("layout", layout, LAYOUTS))
            spec.scaling = getattr(_fovea.RotaryScaling, options.choice("scaling", scaling, SCALINGS))
            spec.width = options.integer("width", width, 0, 1024)
            if spec.width % 2:
                fail(f"expected an even width, got {width}")
            spec.base = options.number("base", base)
            spec.factor = options.number("factor", factor, 1.0)
            spec.original_length = options.integer("original_length", original_length, 1, 2**31)
            spec.beta_fast = options.number("beta_fast", beta_fast)
            spec.beta_slow = options.number("beta_slow", beta_slow)
            if not spec.base > 0:
                fail(f"expected base > 0, got {base}")
            if not spec.beta_fast > spec.beta_slow > 0:
                fail(f"expected beta_fast > beta_slow > 0, got {beta_fast} and {beta_slow}")
        self._spec = spec
        self._shown = f"{layout!r}, width={width}, base={base:g}, scaling={scaling!r}, factor={factor:g}"
        self._register(
            Rotary, layout, width=width, base=base, scaling=scaling, factor=factor, original_length=original_length,
            beta_fast=beta_fast, beta_slow=beta_slow,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"Rotary({self._shown})"

    def __call__(self, x: Any, *, first_position: int = 0, offsets: Any = None) -> Any:
        """A turned copy of an array.

        Parameters
        ----------
        x : array ``[B, H, L, D]``, or packed ``[T, H, D]``
            Of any kind and type that :func:`fovea.attention` takes.
        first_position : int
            Of each sequence's first token, in tokens: the length of a cache, when decoding.
        offsets : int ``[N + 1]``
            Packed: sequence n is tokens ``offsets[n]`` to ``offsets[n + 1]``. Without, all are one sequence.

        Returns
        -------
        array
            Of the kind, type and shape of x.

        Raises
        ------
        ValueError
            Another shape, or a tensor that requires a gradient, which would be lost.
        """
        from fovea import _options as options
        from fovea._call import find_offsets, shown

        kind = kind_of(x)
        array = to_numpy(x, "x")
        dtype = dtype_of(x)
        if wants_gradient(x):
            fail("expected an array without a gradient; attention(..., rotary=...) has one", CALL)
        if array.ndim not in (3, 4):
            fail(f"expected x as [B, H, L, D] or [T, H, D], got {shown(array)}", CALL)
        with renamed(CALL):
            starts, _ = find_offsets(array, array, offsets, None)
            first = options.integer("first_position", first_position, 0, 2**31 - 1)
        inside = array if array.ndim == 3 else array.transpose(0, 2, 1, 3)
        if array.ndim == 4 and array.shape[0] > 1 and array.strides[0] == 0:
            inside = inside.copy()
        result = self._turned(inside, dtype, starts, [first] * (len(starts) - 1))
        return from_numpy(result if array.ndim == 3 else result.transpose(0, 2, 1, 3), kind, dtype, x)

    def _turned(self, x: np.ndarray, dtype: str, offsets: list[int], first: list[int], back: bool = False) -> np.ndarray:
        """A turned copy of x [T, H, D] or [B, L, H, D]; sequence n begins at position first[n]."""
        if dtype not in DTYPES:
            fail(f"expected arrays out of {', '.join(DTYPES)} with rotary, got {dtype}")
        width = self._spec.width or x.shape[-1]
        if width % 2 or width > x.shape[-1]:
            fail(f"expected rotary's width even and at most the heads' {x.shape[-1]}, got {width}")
        turn = getattr(_fovea, f"rotary_{dtype}")
        return turn(aligned(x), offsets, first, self._spec, back).reshape(x.shape)
