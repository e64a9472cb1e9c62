"""Which queries see which keys, by blocks: skipped tiles cost nothing."""

from __future__ import annotations

import reprlib
from typing import Any, Callable, Sequence

import numpy as np

from fovea import _fovea
from fovea._kinds import fail, renamed, to_numpy
from fovea._numbered import Numbered

CALL = "BlockMask"
MOST = 2**40
KEPT = 256  # compiled lengths of a pattern: a loop over growing ones would else fill the memory


class BlockMask(Numbered):
    """A pattern of attention for the `blocks` keyword of :func:`fovea.attention`.

    Made of a bitmap, or of the builders below; `|` and `&` combine. A pattern has no lengths: each call gives it its
    own, and the compiled tiles (skipped, full, partial) are kept for the next call of the same lengths. "Before" and
    "after" align the last query to the last key, as :func:`fovea.attention` does.

    Parameters
    ----------
    bitmap : bool ``[rows, columns]``, or one a head ``[H, rows, columns]``, or ``[B, H, rows, columns]``
        True attends. It covers ``rows·bq`` queries and ``columns·bk`` keys; the last row and column of blocks may
        overhang the call's lengths by less than a block.
    block : (bq, bk)
        Queries and keys of one block. Default 64 × 64, the tiles of the kernels, of which none is then partial.

    Raises
    ------
    ValueError
        No booleans, or another shape. What does not fit the call's lengths and heads is said by the call.

    Examples
    --------
    >>> import numpy as np, fovea
    >>> q = np.random.default_rng(0).normal(size=(1, 2, 200, 16)).astype(np.float32)
    >>> diagonal = fovea.BlockMask(np.eye(2, dtype=bool), block=(100, 100))
    >>> out = fovea.attention(q, q, q, blocks=diagonal)
    >>> bool(np.allclose(out[:, :, :100], fovea.attention(*[q[:, :, :100]] * 3), atol=1e-6))
    True
    >>> blocks = fovea.BlockMask.window(8, 8) | fovea.BlockMask.global_tokens(2)
    >>> blocks.dense(200, 200)[100].sum()  # 17 neighbours and 2 global tokens
    np.int64(19)
    """

    def __init__(self, bitmap: Any, block: tuple[int, int] = (64, 64)):
        map_ = as_bitmap(bitmap)
        if not isinstance(block, (tuple, list)) or len(block) != 2:
            fail(f"expected block as (bq, bk), got {block!r}", CALL)
        bq, bk = (_count("block", x, 1) for x in block)

        def make(lq: int, lk: int, flat: np.ndarray) -> Any:
            rows, columns = flat.shape
            if -(-lq // bq) != rows or -(-lk // bk) != columns:
                fail(
                    f"expected a bitmap of ceil({lq} / {bq}) × ceil({lk} / {bk}) blocks for {lq} queries and {lk} keys,"
                    f" got {rows} × {columns}",
                    CALL,
                )
            return _fovea.BlockMask.from_bitmap(flat, bq, bk, lq, lk)

        flats = map_.reshape(-1, *map_.shape[-2:])
        self._set(lambda lq, lk: [make(lq, lk, flat) for flat in flats], map_.shape[:-2])
        self._register(BlockMask, map_.view(bool), (bq, bk))
        self._shown = f"BlockMask({list(map_.shape)} blocks of {bq} × {bk})"

    def _set(self, make: Callable[[int, int], list[Any]], lead: tuple[int, ...] = ()) -> None:
        self._make = make
        self._lead = lead  # () for all, (H,) or (B, H)
        self._made: dict[tuple[int, int], list[Any]] = {}

    @classmethod
    def _of(cls, make: Callable[[int, int], Any], builder: str, *arguments: Any) -> BlockMask:
        self = cls.__new__(cls)
        self._set(lambda lq, lk: [make(lq, lk)])
        self._register(getattr(cls, builder), *arguments)
        self._shown = f"BlockMask.{builder}({', '.join(map(reprlib.repr, arguments))})"
        return self

    def __repr__(self) -> str:
        return self._shown

    @classmethod
    def causal(cls) -> BlockMask:
        """Keys up to the query's own place."""
        return cls._of(_fovea.BlockMask.causal, "causal")

    @classmethod
    def window(cls, left: int, right: int) -> BlockMask:
        """At most `left` keys before and `right` after the query's own place; −1 is unbounded."""
        left, right = _count("left", left, -1), _count("right", right, -1)
        return cls._of(lambda lq, lk: _fovea.BlockMask.window(lq, lk, left, right), "window", left, right)

    @classmethod
    def strided(cls, stride: int) -> BlockMask:
        """Keys at distances that are multiples of `stride`, before and after."""
        stride = _count("stride", stride, 1)
        return cls._of(lambda lq, lk: _fovea.BlockMask.strided(lq, lk, stride), "strided", stride)

    @classmethod
    def dilated(cls, left: int, right: int, dilation: int) -> BlockMask:
        """A window of `left` keys before and `right` after, of which every `dilation`-th distance is seen (Longformer,
        section 3.1, Beltagy et al., 2020); −1 is unbounded."""
        left, right, dilation = _count("left", left, -1), _count("right", right, -1), _count("dilation", dilation, 1)
        given = (left, right, dilation)
        return cls._of(lambda lq, lk: _fovea.BlockMask.dilated(lq, lk, *given), "dilated", *given)

    @classmethod
    def global_tokens(cls, count: int) -> BlockMask:
        """The first `count` queries see all keys, and all queries see the first `count` keys."""
        count = _count("count", count, 0)
        return cls._of(lambda lq, lk: _fovea.BlockMask.global_tokens(lq, lk, count), "global_tokens", count)

    @classmethod
    def random(cls, block: int, per_row: int, seed: int = 0) -> BlockMask:
        """Each row of `block` × `block` tokens sees `per_row` blocks of keys, drawn from `seed`: the same seed draws the
        same ones for the same lengths."""
        block, per_row, seed = _count("block", block, 1), _count("per_row", per_row, 0), _count("seed", seed, 0)
        return cls._of(lambda lq, lk: _fovea.BlockMask.random(lq, lk, block, per_row, seed), "random", block, per_row, seed)

    @classmethod
    def prefix(cls, length: int) -> BlockMask:
        """Prefix-LM: causal, but all queries see the first `length` keys."""
        length = _count("length", length, 0)
        return cls._of(lambda lq, lk: _fovea.BlockMask.prefix(lq, lk, length), "prefix", length)

    @classmethod
    def documents(cls, q_ids: Sequence[int], k_ids: Sequence[int] | None = None) -> BlockMask:
        """Documents packed in one row: query i sees key j if ``q_ids[i] == k_ids[j]``; `k_ids` default to `q_ids`."""
        q_list = _ids("q_ids", q_ids)
        k_list = q_list if k_ids is None else _ids("k_ids", k_ids)

        def make(lq: int, lk: int) -> Any:
            if (len(q_list), len(k_list)) != (lq, lk):
                fail(f"expected ids of {lq} queries and {lk} keys, got {len(q_list)} and {len(k_list)}", CALL)
            return _fovea.BlockMask.documents(q_list, k_list)

        return cls._of(make, "documents", q_list, k_list)

    @classmethod
    def from_function(cls, sees: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> BlockMask:
        """From a function `sees` of indices, called on NumPy arrays, i ``[n, 1]`` of queries and j ``[1, Lk]`` of keys: it
        gives booleans that broadcast to ``[n, Lk]``, True attends. It is called once for each pair of lengths.

        >>> import fovea
        >>> even = fovea.BlockMask.from_function(lambda i, j: (i + j) % 2 == 0)
        >>> even.dense(2, 3).astype(int)
        array([[1, 0, 1],
               [0, 1, 0]])
        """
        if not callable(sees):
            fail(f"expected a function of i and j, got {type(sees).__name__}", CALL)

        def make(lq: int, lk: int) -> Any:
            def rows(begin: int, end: int) -> np.ndarray:
                found = np.asarray(sees(np.arange(begin, end)[:, None], np.arange(lk)[None, :]))
                if found.dtype != bool:
                    fail(f"expected a function that gives booleans, got {found.dtype}", CALL)
                return np.ascontiguousarray(np.broadcast_to(found, (end - begin, lk))).view(np.uint8)

            return _fovea.BlockMask.from_rows(lq, lk, rows)

        return cls._of(make, "from_function", sees)

    @classmethod
    def longformer(cls, window: int, global_: int) -> BlockMask:
        """Longformer (Beltagy et al., 2020): `window` keys on each side, `global_` first tokens both ways; as many queries
        as keys."""
        window, global_ = _count("window", window, 0), _count("global_", global_, 0)
        given = (window, global_)
        return cls._of(_square(lambda length: _fovea.BlockMask.longformer(length, *given)), "longformer", *given)

    @classmethod
    def big_bird(cls, block: int, global_: int, window: int, random: int, seed: int = 0) -> BlockMask:
        """Big Bird (Zaheer et al., 2020), in blocks of `block` tokens: `global_` first ones both ways, a band of `window`
        (odd), and `random` more in each row, drawn from `seed`; as many queries as keys."""
        block, global_, window = _count("block", block, 1), _count("global_", global_, 0), _count("window", window, 0)
        random, seed = _count("random", random, 0), _count("seed", seed, 0)
        given = (block, global_, window, random, seed)
        return cls._of(_square(lambda length: _fovea.BlockMask.big_bird(length, *given)), "big_bird", *given)

    @classmethod
    def sparse_transformer(cls, stride: int, pattern: str = "strided") -> BlockMask:
        """Sparse Transformer (Child et al., 2019), causal; as many queries as keys. With the `pattern` ``"strided"`` a
        query sees the last `stride` keys and every `stride`-th before, with ``"fixed"`` its own block of `stride` and the
        last key of each block before."""
        stride = _count("stride", stride, 1)
        if not isinstance(pattern, str) or pattern not in ("strided", "fixed"):
            fail(f"expected pattern out of 'strided', 'fixed', got {pattern!r}", CALL)
        kind = getattr(_fovea.SparsePattern, pattern)
        make = _square(lambda length: _fovea.BlockMask.sparse_transformer(length, stride, kind))
        return cls._of(make, "sparse_transformer", stride, pattern)

    def __or__(self, other: BlockMask) -> BlockMask:
        return self._combined(other, "either", BlockMask.__or__, "|")

    def __and__(self, other: BlockMask) -> BlockMask:
        return self._combined(other, "both", BlockMask.__and__, "&")

    def _combined(self, other: BlockMask, how: str, operator: Callable[..., Any], sign: str) -> BlockMask:
        if not isinstance(other, BlockMask):
            return NotImplemented
        if self._lead and other._lead and self._lead != other._lead:
            fail(f"expected patterns of the same heads, got {self._lead} and {other._lead}", CALL)
        result = BlockMask.__new__(BlockMask)

        def make(lq: int, lk: int) -> list[Any]:
            a, b = self._masks(lq, lk), other._masks(lq, lk)
            count = max(len(a), len(b))
            a, b = (x * count if len(x) == 1 else x for x in (a, b))
            return [getattr(x, how)(y) for x, y in zip(a, b)]

        result._set(make, self._lead or other._lead)
        result._register(operator, self, other)
        result._shown = f"({self!r} {sign} {other!r})"
        return result

    def _masks(self, lq: int, lk: int) -> list[Any]:
        """The engine's masks for these lengths: one, or one a head."""
        made = self._made.get((lq, lk))
        if made is None:
            made = self._make(lq, lk)
            while len(self._made) >= KEPT:
                self._made.pop(next(iter(self._made)), None)
            self._made[(lq, lk)] = made
        return made

    def _for_call(self, lengths: list[tuple[int, int]], heads: int) -> list[Any]:
        """The engine's masks of a call: one for all, one a sequence, or one a sequence and head."""
        if self._lead and self._lead[-1] != heads:
            fail(f"expected blocks for {heads} heads, got {self._lead[-1]}")
        if len(self._lead) == 2 and self._lead[0] != len(lengths):
            fail(f"expected blocks for {len(lengths)} sequences, got {self._lead[0]}")
        if not self._lead and len(set(lengths)) == 1:
            return self._masks(*lengths[0])
        result: list[Any] = []
        for n, (lq, lk) in enumerate(lengths):
            masks = self._masks(lq, lk)
            result += masks[n * heads : (n + 1) * heads] if len(self._lead) == 2 else masks
        return result

    def dense(self, lq: int, lk: int) -> np.ndarray:
        """Who sees whom with `lq` queries and `lk` keys, as bool ``[Lq, Lk]`` (``[H, Lq, Lk]`` where heads differ): for
        looking at small cases."""
        lq, lk = _count("lq", lq, 0), _count("lk", lk, 0)
        masks = self._masks(lq, lk)
        seen = np.array([[[m.sees(i, j) for j in range(lk)] for i in range(lq)] for m in masks], bool)
        return seen.reshape(*self._lead, lq, lk)

    def live_tiles(self, lq: int, lk: int) -> int:
        """How many tiles of 64 × 64 pairs are not skipped with `lq` queries and `lk` keys: what a call costs."""
        return sum(m.live_tiles for m in self._masks(_count("lq", lq, 0), _count("lk", lk, 0)))


def as_bitmap(bitmap: Any) -> np.ndarray:
    with renamed(CALL):
        map_ = np.asarray(bitmap) if isinstance(bitmap, (list, tuple)) else to_numpy(bitmap, "bitmap")
    if map_.dtype != bool or map_.ndim not in (2, 3, 4) or map_.size == 0:
        fail(f"expected bitmap as booleans [rows, columns], got {map_.dtype} {map_.shape}", CALL)
    return np.array(map_, order="C").view(np.uint8)


def _count(name: str, value: Any, least: int) -> int:
    from fovea._options import integer

    with renamed(CALL):
        result = integer(name, value, least, MOST)
    return result


def _ids(name: str, value: Any) -> list[int]:
    row = np.asarray(value) if isinstance(value, (list, tuple)) else to_numpy(value, name)
    if row.ndim != 1 or (row.size > 0 and row.dtype.kind not in "iu"):
        fail(f"expected {name} as integers, got {row.dtype} {row.shape}", CALL)
    return [int(i) for i in row]


def _square(make: Callable[[int], Any]) -> Callable[[int, int], Any]:
    def made(lq: int, lk: int) -> Any:
        if lq != lk:
            fail(f"expected as many queries as keys for this pattern, got {lq} and {lk}", CALL)
        return make(lq)

    return made
