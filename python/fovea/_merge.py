"""Attention over keys that lie in several places."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, Sequence

import numpy as np

from fovea import _fovea
from fovea import _options as options
from fovea._insight import Insight
from fovea._kinds import bits, fail, from_numpy, kind_of, to_numpy
from fovea._types import A, Numbers

CALL = "merge"


def merge(parts: Sequence[tuple[A, Insight[A]]], *, sinks: Numbers | None = None) -> tuple[A, Insight[A]]:
    """Attention over the keys of all parts, from the answer of each: splits, shards, caches that lie apart.

    With the lse of each part, ``out = Σ_p e^(lse_p − lse)·out_p`` and ``lse = ln Σ_p e^lse_p`` (Milakov & Gimelshein,
    "Online normalizer calculation for softmax", 2018), from maximum and log-sum apart, so that scores may be of any size.

    Parameters
    ----------
    parts : list of (array, Insight)
        What :func:`fovea.attention` or :func:`fovea.attention_decode` gave with `observe`, an empty list at least, for the
        same queries and disjoint keys, in the keys' order: the first part's keys are the first ones. A part sees its keys
        at places of its own: causality, which is aligned to the last key, belongs to the last part alone, which then has
        as many keys as there are queries at least; windows and biases by distance belong to none. No dropout, no top_k, no
        gradient.
    sinks : ``[H]``
        Those of the whole call; the parts are computed without, for each would count them again.

    Returns
    -------
    (array, Insight)
        As of one call over all keys, up to rounding, with lse, entropy, max, top_k, effective_keys, set_mass and key_mass
        where all parts observed them. Exact `rows` run over all keys; key_mass takes a second pass over the scores.

    Raises
    ------
    ValueError
        Parts do not fit together, or observed what cannot be merged: distance, first_key, near, block_mass.

    Examples
    --------
    >>> import numpy as np, fovea
    >>> q, k, v = np.random.default_rng(0).normal(size=(3, 1, 2, 50, 16)).astype(np.float32)
    >>> halves = [fovea.attention(q, k[:, :, s], v[:, :, s], observe=["entropy"]) for s in (slice(30), slice(30, 50))]
    >>> out, seen = fovea.merge(halves)
    >>> whole, inside = fovea.attention(q, k, v, observe=["entropy"])
    >>> bool(np.allclose(out, whole, atol=1e-6)), bool(np.allclose(seen.entropy, inside.entropy, atol=1e-5))
    (True, True)
    """
    given = _checked(parts)
    outs = [out for out, _ in given]
    calls = [seen._call for _, seen in given]
    call = _Merged(calls)
    raw = [dict(seen._raw) for _, seen in given]
    with_mass = ["key_mass" in seen for seen in raw]
    if any(with_mass) and not all(with_mass):
        fail("expected key_mass observed of all parts or of none, got a mixture", CALL)
    row = options.heads_row("sinks", sinks, call.q_shape[1], np.float32)
    kind = getattr(_fovea.DType, call.dtype)
    arrays = [bits(to_numpy(out, "a part's output")) for out in outs]
    if any(x.shape != arrays[0].shape for x in arrays):
        fail(f"expected outputs of equal shape, got {[list(x.shape) for x in arrays]}", CALL)
    sets = max((seen["set_mass"].shape[-1] for seen in raw if "set_mass" in seen), default=0)
    for seen in raw:
        if "set_mass" in seen:  # a part names the sets that its own keys are in
            seen["set_mass"] = np.pad(seen["set_mass"], ((0, 0), (0, 0), (0, sets - seen["set_mass"].shape[-1])))
    pieces = [
        _fovea.Part(
            out=np.ascontiguousarray(call.rows_first_undone(x)),
            seen={name: np.ascontiguousarray(a) for name, a in seen.items() if name != "key_mass"},
            first_key=first,
            type=kind,
        )
        for x, seen, first in zip(arrays, raw, call.first_keys)
    ]
    merged, seen = _fovea.merge(pieces, call.q_offsets, row, kind)
    call.shares = [_share(part["saved"], seen["saved"]) for part in raw]
    if all(with_mass):
        seen["key_mass"] = call.key_mass(seen["saved"])
    arrays_of = kind_of(outs[0])
    result = from_numpy(call.rows_first(merged), arrays_of, call.dtype, outs[0])
    return result, Insight(call, seen, partial(from_numpy, kind=arrays_of))


def _checked(parts: Any) -> list[tuple[Any, Insight[Any]]]:
    if not isinstance(parts, (list, tuple)) or not parts:
        fail(f"expected parts as a list of (output, Insight), got {type(parts).__name__}", CALL)
    for part in parts:
        if not isinstance(part, tuple) or len(part) != 2 or not isinstance(part[1], Insight):
            fail("expected parts as (output, Insight), as attention gives them with observe=[...]", CALL)
        if kind_of(part[0]) is None or kind_of(part[0]) != kind_of(parts[0][0]):
            fail("expected outputs all as NumPy, all as PyTorch or all as JAX arrays", CALL)
        if getattr(part[0], "requires_grad", False):
            fail("expected outputs without a gradient, which merging has not: call under torch.no_grad()", CALL)
        call = part[1]._call
        if isinstance(call, _Merged):
            fail("expected parts of attention's own calls, got merged ones: merge all parts at once", CALL)
        if call.dtype not in ("float32", "bfloat16", "float16"):
            fail(f"expected float32, bfloat16 or float16 arrays, got {call.dtype}", CALL)
    return list(parts)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """[T, H]: how much of a row's weights falls on a part, from what its softmax left and the whole's [T, H, (max, log2 sum)]."""
    with np.errstate(invalid="ignore"):  # of rows without keys, −∞ − −∞
        share = np.exp2((part[..., 0] - whole[..., 0]) + (part[..., 1] - whole[..., 1]))
    return np.where(np.isneginf(part[..., 0]), np.float32(0), share)


class _Merged:
    """The calls of all parts as one call, as an Insight asks it."""

    shares: list[np.ndarray]  # of each part, [T, H]

    def __init__(self, calls: list[Any]):
        self._calls = calls
        first = calls[0]
        self.packed, self.q_shape, self.dtype, self.q_offsets = first.packed, first.q_shape, first.dtype, first.q_offsets
        for call in calls:
            if call.q_shape != self.q_shape or call.dtype != self.dtype or call.q_offsets != self.q_offsets:
                fail(
                    f"expected parts of the same queries, got {list(self.q_shape)} {self.dtype} and "
                    f"{list(call.q_shape)} {call.dtype}",
                    CALL,
                )
        lengths = [[b - a for a, b in zip(call.k_offsets, call.k_offsets[1:])] for call in calls]
        # of each part, of each sequence: the place of its first key
        self.first_keys = [[sum(x) for x in zip(*lengths[:i])] if i else [0] * len(lengths[0]) for i in range(len(calls))]
        self._lengths = [sum(x) for x in zip(*lengths)]
        self.k_offsets = [0, *itertools.accumulate(self._lengths)]

    @property
    def query_count(self) -> int:
        return self._calls[0].query_count

    def rows_first(self, x: np.ndarray) -> np.ndarray:
        return self._calls[0].rows_first(x)

    def rows_first_undone(self, x: np.ndarray) -> np.ndarray:
        return x if self.packed else x.swapaxes(1, 2).reshape(x.shape[0] * x.shape[2], x.shape[1], *x.shape[3:])

    def keys_first(self, x: np.ndarray) -> np.ndarray:
        equal = len(set(self._lengths)) <= 1 and all(hasattr(call, "k_shape") for call in self._calls)
        if self.packed or not equal:
            return x
        return x.reshape(self.q_shape[0], -1, *x.shape[1:]).swapaxes(1, 2)

    def key_mass(self, whole: np.ndarray) -> np.ndarray:
        """[Σ Lk, H], sequence by sequence, the parts' keys one after the other."""
        masses = [call.key_mass_of(whole, shares) for call, shares in zip(self._calls, self.shares)]
        pieces = []
        for n in range(len(self._lengths)):
            pieces += [mass[call.k_offsets[n] : call.k_offsets[n + 1]] for mass, call in zip(masses, self._calls)]
        return np.concatenate(pieces) if pieces else masses[0]

    def token_rows(self, tokens: list[int]) -> list[np.ndarray]:
        found = [call.token_rows(tokens, shares) for call, shares in zip(self._calls, self.shares)]
        return [np.concatenate(pieces, axis=1) for pieces in zip(*found)]

    def weight_rows(self, queries: list[int]) -> Any:
        found = [call.weight_rows(queries, shares) for call, shares in zip(self._calls, self.shares)]
        if any(isinstance(x, list) for x in found):  # caches: a piece for each sequence
            return [np.concatenate(pieces, axis=-1) for pieces in zip(*found)]
        return np.concatenate(found, axis=-1)

    def sampled_mass(self, samples: int, seed: int) -> Any:
        found = [call.sampled_mass(samples, seed, shares) for call, shares in zip(self._calls, self.shares)]
        pieces = [
            [x[i][call.k_offsets[n] : call.k_offsets[n + 1]] for x, call in zip(found, self._calls)]
            for i in range(2)
            for n in range(len(self._lengths))
        ]
        joined = [np.concatenate(piece) for piece in pieces]
        count = len(self._lengths)
        return np.concatenate(joined[:count]), np.concatenate(joined[count:])
