"""Attention from outside, in place of a head's own."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np

from fovea import _fovea
from fovea._kinds import fail, renamed
from fovea._numbered import Numbered

WAYS = ("uniform", "permuted", "frozen", "off")
CALL = "Override"


class Override(Numbered):
    """What stands in place of some heads' own attention, through the same kernels, for the `override` keyword of
    :func:`fovea.attention`: to ask what a head's pattern is worth (Michel et al., 2019), or whether an explanation
    holds (Jain & Wallace, 2019). Masks and dropout hold as ever.

    Parameters
    ----------
    heads : dict of head: way
        ``"uniform"``: equal weights on all keys that a query sees. ``"permuted"``: each key is scored as if it were
        another of the sequence; has no gradient. ``"frozen"``: `weights`, normalised over the keys that a query sees.
        ``"off"``: the head gives 0. Heads that are not named keep their own.
    weights : float >= 0, broadcastable to ``[B, H, Lq, Lk]``
        Of frozen heads; 0 hides a key.
    permutation : int ``[Lk]`` or ``[B, Lk]``, packed ``[Tk]``
        Of permuted heads: key j is scored as key permutation[j] of its sequence.

    Raises
    ------
    ValueError
        A way that is none of the four; frozen heads without weights, permuted ones without a permutation, or these
        without such heads; a negative weight. What does not fit the call's lengths and heads is said by the call.

    Examples
    --------
    >>> import numpy as np, fovea
    >>> q, k, v = np.random.default_rng(0).normal(size=(3, 1, 2, 5, 8)).astype(np.float32)
    >>> out = fovea.attention(q, k, v, override=fovea.Override({0: "uniform", 1: "off"}))
    >>> bool(np.allclose(out[0, 0], v[0, 0].mean(0), atol=1e-6)), bool((out[0, 1] == 0).all())
    (True, True)
    """

    def __init__(self, heads: Mapping[int, str], *, weights: Any = None, permutation: Any = None):
        from fovea import _options as options

        if not isinstance(heads, Mapping) or not heads:
            fail(f"expected heads as a dict of head: way, got {heads!r}", CALL)
        with renamed(CALL):
            self._heads = {
                options.integer("a head", head, 0, 2**31): options.choice("a head's way", way, WAYS)
                for head, way in heads.items()
            }
            self._weights = None if weights is None else options.floats("weights", weights, np.float32)
            self._permutation = None if permutation is None else options.list_or_array(
                "permutation", permutation, "integers"
            )
        for name, way, given in (("weights", "frozen", weights), ("permutation", "permuted", permutation)):
            if (way in self._heads.values()) != (given is not None):
                fail(f"expected {name} with {way} heads, and only with these", CALL)
        if self._weights is not None and not (self._weights >= 0).all():
            fail("expected weights >= 0, got a negative one or NaN", CALL)
        if self._permutation is not None and self._permutation.dtype.kind not in "iu":
            fail(f"expected permutation as integers, got {self._permutation.dtype}", CALL)
        self._register(Override, self._heads, weights=self._weights, permutation=self._permutation)

    def __repr__(self) -> str:
        return f"Override({self._heads})"

    def _for_call(self, heads: int, wanted: tuple[int, int, int, int], form: str, lengths: list[int]) -> Any:
        """As the engine takes it; `lengths` are those of the sequences' keys."""
        from fovea import _options as options

        for head in self._heads:
            if head >= heads:
                fail(f"expected override's heads in [0, {heads}), got {head}")
        ways = [getattr(_fovea.HeadOverride, self._heads.get(h, "none")) for h in range(heads)]
        log_weights = None
        if self._weights is not None:
            with np.errstate(divide="ignore"):
                log_weights = options.scores("override's weights", np.log(self._weights), wanted, form)
        order = [] if self._permutation is None else self._order(self._permutation, lengths)
        return _fovea.Override(ways, order, log_weights)

    @staticmethod
    def _order(given: np.ndarray, lengths: list[int]) -> list[int]:
        total = sum(lengths)
        if given.ndim == 1 and given.size != total and set(lengths) == {given.size}:
            given = np.tile(given, len(lengths))
        if given.size != total or given.ndim > 2:
            fail(f"expected override's permutation of the {total} keys, got {list(given.shape)}")
        flat = [int(j) for j in given.reshape(-1)]
        begin = 0
        for length in lengths:
            if sorted(flat[begin : begin + length]) != list(range(length)):
                fail(f"expected override's permutation to hold each of a sequence's {length} keys once")
            begin += length
        return flat
